import IR
import PassKit

/// Turns per-channel scales and shifts that no neighbour absorbed into depthwise 1x1 convolutions.
///
///     %y = batch-norm(%x, γ, β, μ, σ²) : [N, C, H, W]   ->   %y = conv2d(%x, %f, %s){groups = C}
///                                                            f = γ / √(σ² + ε), s = β - f·μ
///     %a = multiply(%x, %f : [C, 1])                         %a = reshape(%x){shape = [N, C, L, 1]}
///     %y = add(%a, %s : [C, 1]) : [N, C, L]             ->   %b = conv2d(%a, %f, %s){groups = C}
///                                                            %y = reshape(%b){shape = [N, C, L]}
///
/// A depthwise convolution has the integer kernels, the fused activation and the weights per channel that a
/// product with a constant lacks. Runs behind fold-batch-norm. For batch normalizations with constant
/// parameters, and for constants that are added or multiplied and differ along the channels at most. Factors
/// are computed in double precision and rounded once. The result keeps the statistics of a batch
/// normalization. Not an optional rewrite: no later stage knows these operations.
package let convolveAffine = Pass(
  "convolve-affine",
  "turn scales and shifts per channel that could not be folded into depthwise convolutions",
  accepts: .imported ... .canonical
) { rewriter, _ in
  for op in rewriter.ops where rewriter.isAlive(op) {
    let node = rewriter.graph[op]
    if case .batchNorm(let batchNorm) = node.op {
      guard let affine = ChannelAffine(batchNorm, node.operands, in: rewriter.graph) else { continue }
      let statistics = ChannelStatistics(batchNorm, node.operands, in: rewriter.graph)
      try convolve(affine, node.operands[0], insteadOf: op, statistics, &rewriter)
      rewriter.count("batch-norm to depthwise conv2d")
    } else if let (affine, input) = affineChain(endingIn: op, rewriter.graph), affine.isFinite {
      try convolve(affine, input, insteadOf: op, nil, &rewriter)
      rewriter.count("\(node.op.mnemonic) to depthwise conv2d")
    }
  }
}

/// All that constants in a row do to the first one's operand; nil when the row goes on behind `op`.
private func affineChain(endingIn op: OpID, _ graph: Graph) -> (affine: ChannelAffine, input: ValueID)? {
  guard var (affine, input) = channelAffine(of: graph[op], graph) else { return nil }
  if let user = graph.soleUser(of: graph[op].results[0]), channelAffine(of: graph[user], graph) != nil {
    return nil
  }
  while let producer = graph.soleProducer(of: input), let inner = channelAffine(of: graph[producer], graph) {
    affine = affine.composed(with: inner.affine)
    input = inner.input
  }
  return (affine, input)
}

private func convolve(
  _ affine: ChannelAffine, _ input: ValueID, insteadOf op: OpID, _ statistics: ChannelStatistics?,
  _ rewriter: inout Rewriter
) throws(VerificationError) {
  let node = rewriter.graph[op], shape = rewriter.graph.shape(input)
  let weights = rewriter.constant(
    Constant(node.name + ".weight", [affine.channels, 1, 1, 1], affine.factors.map { Float($0) }))
  var operands = [input, weights]
  if affine.hasShift {
    operands.append(
      rewriter.constant(Constant(node.name + ".bias", [affine.channels], affine.shifts.map { Float($0) })))
  }
  var conv = Conv2D()
  conv.groups = affine.channels
  guard shape.rank != 4 else {
    let result = try rewriter.replace(op, with: .conv2d(conv), operands)[0]
    rewriter.setStatistics(result, statistics)
    return
  }
  guard let area = checkedProduct(shape.extents.dropFirst(2).compactMap(\.value)) else {
    throw VerificationError("'\(node.name)': the size of \(shape) overflows")
  }
  let map = Shape([shape[0], shape[1], .known(area), .known(1)])
  let mapped = try rewriter.insert(reshaping(shape, to: map), [input], name: node.name + ".map", before: op)
  operands[0] = mapped[0]
  let convolved = try rewriter.insert(.conv2d(conv), operands, name: node.name + ".convolved", before: op)
  rewriter.setStatistics(convolved[0], statistics)
  try rewriter.replace(op, with: reshaping(map, to: shape), convolved)
}
