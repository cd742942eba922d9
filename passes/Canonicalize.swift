import IR
import PassKit

/// One local rewrite: looks at one operation and what feeds it, and says whether it changed anything.
struct Simplification: Sendable {
  let name: String
  let apply: @Sendable (OpID, inout Rewriter) throws(VerificationError) -> Bool

  init(_ name: String, _ apply: @escaping @Sendable (OpID, inout Rewriter) throws(VerificationError) -> Bool)
  {
    self.name = name
    self.apply = apply
  }
}

/// Brings what exporters write in many ways into one form, so that later passes know one.
///
///     %a = identity(%x)
///     %b = pad(%a){pads = [0, 0, 1, 1, 0, 0, 1, 1]}        %c = conv2d(%x, %w, %bias){pads = [1, 1, 1, 1]}
///     %c = conv2d(%b, %w)                           ->     %e = silu(%c)
///     %d = add(%c, %bias)                                  %f = global-average-pool(%e)
///     %e = multiply(%d, sigmoid(%d))                       %g = flatten(%f)
///     %f = reduce-mean(%e){axes = [2, 3]}
///     %g = reshape(%f){shape = [N, 16]}
///
/// The rules lie in `simplify/`, one file per kind with its own before and after; they run until none
/// applies. Each is exact or differs by the rounding of a few operations, as its file says. Every rule counts
/// its uses.
package let canonicalize = Pass(
  "canonicalize",
  "bring operators into one form each: no identities, merged reshapes, pads, biases, activations",
  accepts: .imported ... .canonical
) { rewriter, _ in
  // Every rule shrinks the graph or moves it towards one form, so a few rounds suffice; the bound guards
  // against a pair of rules that undo each other.
  for _ in 0..<64 {
    var hasChanged = false
    for op in rewriter.ops {
      for rule in simplifications where rewriter.isAlive(op) {
        if try rule.apply(op, &rewriter) {
          rewriter.count(rule.name)
          hasChanged = true
        }
      }
    }
    if !hasChanged { break }
  }
}

private let simplifications = reshapeRules + sliceAndPadRules + linearRules + poolingRules + activationRules
