import IR
import PassKit
import Support

/// Folds batch normalizations into the linear operations around them.
///
///     %y = conv2d(%x, %w, %b)                                %z = conv2d(%x, %w', %b')
///     %z = batch-norm(%y, γ, β, μ, σ²)             ->        w' = f·w, b' = f·(b - μ) + β, f = γ / √(σ² + ε)
///
///     %y = batch-norm(%x, γ, β, μ, σ²)
///     %z = conv2d(%y, %w, %b)                      ->        %z = conv2d(%x, %w', %b')
///
/// Behind conv2d, conv-transpose2d and gemm whose weights are constant and whose result nothing else reads.
/// Before conv2d and gemm when every reader is one: there a convolution with padding needs β - f·μ = 0 for
/// all channels, since its border is zero behind the normalization, not before. Factors are computed in
/// double precision; results differ by the rounding of the weights. The result keeps the mean and the
/// deviation of each channel as its statistics, from which ranges can be estimated without data. Everything
/// that stays is counted by its reason.
///
/// Behind training (`restore-batch-norm`) weights are fake-quantized: their steps take the factor up, the stored integers
/// stay, and a clamp behind the normalization becomes the convolution's.
package let foldBatchNorm = Pass(
  "fold-batch-norm", "fold batch normalization into the convolution or gemm before or behind it",
  accepts: .imported ... .assigned
) { rewriter, _ in
  for op in rewriter.ops where rewriter.isAlive(op) {
    let node = rewriter.graph[op]
    guard case .batchNorm(let batchNorm) = node.op else { continue }
    guard node.operands.dropFirst().allSatisfy({ rewriter.graph.constant($0) != nil }) else {
      rewriter.count("kept: parameters are not constant")
      continue
    }
    guard let affine = ChannelAffine(batchNorm, node.operands, in: rewriter.graph) else {
      throw CompilerError(
        "the batch normalization's factors are not finite; variance + epsilon must be positive",
        at: "node '\(node.name)'")
    }
    let producer = rewriter.graph.node(defining: node.operands[0])?.op.mnemonic ?? "input"
    let statistics = ChannelStatistics(batchNorm, node.operands, in: rewriter.graph)
    if rewriter.graph.stage >= .elastic {
      guard
        try rewriter.fold(affine, behindQuantized: node.operands[0], insteadOf: op, statistics: statistics)
      else {
        rewriter.count("kept: nothing to fold it into")
        continue
      }
      rewriter.count("folded behind quantized \(producer)")
      continue
    }
    if try rewriter.fold(affine, behind: node.operands[0], insteadOf: op, statistics: statistics) {
      rewriter.count("folded behind \(producer)")
      continue
    }
    switch try rewriter.fold(affine, ofResult: op, of: node.operands[0]) {
    case .folded: rewriter.count("folded into its readers")
    case .padded: rewriter.count("kept: a padded convolution reads its shift")
    case .impossible: rewriter.count("kept: nothing to fold it into")
    }
  }
  let isFloat = rewriter.graph.stage < .elastic
  if !isFloat { try fuseClamps(&rewriter) }
  let graph = rewriter.graph
  // In float those that have to stay do so.
  let isDone = isFloat || !graph.order.contains { if case .batchNorm = graph[$0].op { true } else { false } }
  if isDone, graph.hasSeparateBatchNorms { rewriter.setMetadata(batchNormKey, "folded") }
}
