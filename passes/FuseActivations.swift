import IR
import PassKit

/// Makes a clamp part of the operation that produces its operand.
///
///     %y = conv2d(%x, %w, %b){activation = none}      ->   %z = conv2d(%x, %w, %b){activation = relu}
///     %z = relu(%y)
///
/// For relu and clip behind conv2d, conv-transpose2d, gemm and add whose result nothing else reads. A
/// producer that already clamps gets the clamp that equals both in a row. Exact. The channel statistics of
/// the producer stay: they describe the value before its activation.
package let fuseActivations = Pass(
  "fuse-activations", "make relu and clip part of the convolution, gemm or add before them",
  accepts: .imported ... .canonical, produces: .canonical
) { rewriter, _ in try fuseClamps(&rewriter) }

func fuseClamps(_ rewriter: inout Rewriter) throws(VerificationError) {
  for op in rewriter.ops where rewriter.isAlive(op) {
    let node = rewriter.graph[op]
    guard case .unary(let unary) = node.op, let clamp = unary.activation,
      let producer = rewriter.graph.soleProducer(of: node.operands[0]),
      let inner = rewriter.graph[producer].op.activation, rewriter.takeStep()
    else { continue }
    let fused = rewriter.graph[producer], statistics = rewriter.graph[node.operands[0]].statistics
    let results = try rewriter.replace(
      op, with: fused.op.with(activation: inner.followed(by: clamp)), fused.operands, name: fused.name)
    rewriter.setStatistics(results[0], statistics)
    rewriter.count("\(unary.mnemonic) into \(fused.op.mnemonic)")
  }
}
