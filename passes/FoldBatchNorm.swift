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
/// Behind conv2d, conv-transpose2d and gemm whose weights are constant and whose result nothing else reads. Before
/// conv2d and gemm when every reader is one: there a convolution with padding needs β - f·μ = 0 for all channels, since
/// its border is zero behind the normalization, not before. Factors are computed in double precision; results differ
/// by the rounding of the weights. The result keeps the mean and the deviation of each channel as its statistics, from
/// which ranges can be estimated without data. Everything that stays is counted by its reason.
package let foldBatchNorm = Pass(
  "fold-batch-norm", "fold batch normalization into the convolution or gemm before or behind it",
  accepts: .imported ... .canonical
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
        "the batch normalization has factors that are not finite; variance + epsilon must be positive and all parameters finite",
        at: "node '\(node.name)'")
    }
    let producer = rewriter.graph.node(defining: node.operands[0])?.op.mnemonic ?? "input"
    let statistics = ChannelStatistics(batchNorm, node.operands, in: rewriter.graph)
    if try rewriter.fold(affine, behind: node.operands[0], insteadOf: op, statistics: statistics) {
      rewriter.count("folded behind \(producer)")
      continue
    }
    switch try foldIntoReaders(affine, op, &rewriter) {
    case .folded(let count): rewriter.count("folded before its readers", count)
    case .padded: rewriter.count("kept: a padded convolution reads its shift")
    case .impossible: rewriter.count("kept: nothing to fold it into")
    }
  }
}

private enum Outcome { case folded(Int), padded, impossible }

/// Folds the normalization `op` into all its readers, or into none.
private func foldIntoReaders(
  _ affine: ChannelAffine, _ op: OpID, _ rewriter: inout Rewriter
) throws(VerificationError) -> Outcome {
  let node = rewriter.graph[op], result = node.results[0], uses = rewriter.graph.uses(of: result)
  guard !uses.isEmpty, !rewriter.graph.isOutput(result) else { return .impossible }
  var foldings: [(user: OpID, folded: FoldedLinear)] = []
  for use in uses {
    let user = rewriter.graph[use.user]
    if affine.hasShift, case .conv2d(let conv) = user.op, conv.pads.contains(where: { $0 != 0 }) { return .padded }
    guard use.operand == 0, let folded = rewriter.graph.absorbing(affine, before: use.user) else { return .impossible }
    foldings.append((use.user, folded))
  }
  guard rewriter.takeStep() else { return .impossible }
  for (user, folded) in foldings {
    var operands = rewriter.graph[user].operands
    operands[0] = node.operands[0]
    if let weights = folded.weights { operands[1] = rewriter.constant(weights, replacing: operands[1], of: user) }
    if let bias = folded.bias {
      if operands.count == 3 {
        operands[2] = rewriter.constant(bias, replacing: operands[2], of: user)
      } else {
        operands.append(rewriter.constant(bias))
      }
    }
    try rewriter.replace(user, with: folded.op, operands)
  }
  return .folded(foldings.count)
}

extension Graph {
  /// The linear operation that computes `op(affine(x))`: weights scaled per input channel, and a bias that takes up the
  /// shift. Nil unless `op` is a conv2d or a canonical gemm with constant weights and bias.
  ///
  /// - Requires: a conv2d with padding meets no shift.
  fileprivate func absorbing(_ affine: ChannelAffine, before op: OpID) -> FoldedLinear? {
    let node = self[op]
    guard affine.isFinite, node.operands.count >= 2, let weights = floats(node.operands[1]),
      let sizes = shape(node.operands[1]).sizes
    else { return nil }
    let outputs = sizes[0], inputs = sizes[1], area = sizes.dropFirst(2).reduce(1, *), groups: Int
    if case .conv2d(let conv) = node.op {
      groups = conv.groups
    } else if case .gemm(let gemm) = node.op, gemm.isCanonical {
      groups = 1
    } else {
      return nil
    }
    guard inputs * groups == affine.channels, outputs % groups == 0 else { return nil }

    var bias = [Double](repeating: 0, count: outputs), biasName = node.name + ".bias"
    if node.operands.count == 3 {
      guard let old = biasFloats(of: node) else { return nil }
      bias = old.map(Double.init)
      biasName = self[node.operands[2]].name
    }
    var scaled = weights
    for output in 0..<outputs {
      let firstChannel = output / (outputs / groups) * inputs
      for input in 0..<inputs {
        let factor = affine.factors[firstChannel + input], shift = affine.shifts[firstChannel + input]
        let start = (output * inputs + input) * area
        for i in start..<start + area {
          bias[output] += Double(weights[i]) * shift
          scaled[i] = Float(Double(weights[i]) * factor)
        }
      }
    }
    let newBias = bias.map { Float($0) }
    guard newBias.allSatisfy(\.isFinite) else { return nil }
    var folded = FoldedLinear(op: node.op, weights: Constant(self[node.operands[1]].name, sizes, scaled))
    if node.operands.count == 3 || newBias.contains(where: { $0 != 0 }) {
      folded.bias = Constant(biasName, [outputs], newBias)
    }
    return folded
  }
}
