import IR
import PassKit

/// Turns batch normalizations that no neighbour absorbed into plain linear operations.
///
///     %y = batch-norm(%x, γ, β, μ, σ²) : [N, C, H, W]   ->   %y = conv2d(%x, %f, %s){groups = C}, f = γ / √(σ² + ε)
///     %y = batch-norm(%x, γ, β, μ, σ²) : [N, C]         ->   %y = add(multiply(%x, %f), %s), s = β - f·μ
///
/// A depthwise 1x1 convolution has the integer kernels, the fused activation and the per-channel weights that a product
/// of tensors lacks. Runs after fold-batch-norm. For constant parameters; factors are computed in double precision and
/// rounded once. The result keeps the normalization's statistics. Not an optional rewrite: no later stage knows the
/// operation.
package let expandBatchNorm = Pass(
  "expand-batch-norm", "turn batch normalization that could not be folded into a depthwise convolution",
  accepts: .imported ... .canonical
) { rewriter, _ in
  for op in rewriter.ops where rewriter.isAlive(op) {
    let node = rewriter.graph[op]
    guard case .batchNorm(let batchNorm) = node.op,
      let affine = ChannelAffine(batchNorm, node.operands, in: rewriter.graph)
    else { continue }
    let rank = rewriter.graph.shape(node.results[0]).rank
    let statistics = ChannelStatistics(batchNorm, node.operands, in: rewriter.graph)
    let factors = affine.factors.map { Float($0) }, shifts = affine.shifts.map { Float($0) }
    let result: ValueID
    if rank == 4 {
      let weights = rewriter.constant(Constant(node.name + ".weight", [affine.channels, 1, 1, 1], factors))
      let bias = rewriter.constant(Constant(node.name + ".bias", [affine.channels], shifts))
      var conv = Conv2D()
      conv.groups = affine.channels
      result = try rewriter.replace(op, with: .conv2d(conv), [node.operands[0], weights, bias])[0]
      rewriter.count("to depthwise conv2d")
    } else {
      let sizes = [affine.channels] + Array(repeating: 1, count: rank - 2)
      let scale = rewriter.constant(Constant(node.name + ".scale", sizes, factors))
      let shift = rewriter.constant(Constant(node.name + ".shift", sizes, shifts))
      let scaled = try rewriter.insert(
        .binary(Binary(.multiply)), [node.operands[0], scale], name: node.name + ".scaled", before: op)
      result = try rewriter.replace(op, with: .binary(Binary(.add)), scaled + [shift])[0]
      rewriter.count("to multiply and add")
    }
    rewriter.setStatistics(result, statistics)
  }
}
