import IR
import PassKit

/// Erases operations whose results nothing reads.
///
///     %a = shape(%x)
///     %b = gather(%a, %zero)         ->
///     return %y                           return %y
///
/// Inputs stay, used or not: they are the network's interface. Exact. Not an optional rewrite: what nothing
/// reads need not be something that later stages know.
package let eliminateDeadCode = Pass(
  "eliminate-dead-code", "erase operations whose results nothing reads", accepts: .imported ... .lowered
) { rewriter, _ in
  let before = rewriter.ops.count
  for op in rewriter.ops.reversed() where rewriter.isAlive(op) {
    let results = rewriter.graph[op].results
    guard results.allSatisfy({ rewriter.graph.uses(of: $0).isEmpty && !rewriter.graph.isOutput($0) })
    else { continue }
    rewriter.eraseWithDeadProducers(op)
  }
  if rewriter.ops.count < before { rewriter.count("erased", before - rewriter.ops.count) }
}
