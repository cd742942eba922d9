import IR
import PassKit

/// How folding an affine into the operations that read its result went.
enum ReaderFolding {
  case folded
  /// A convolution with padding reads a shift: its border is zero behind the affine, not before it.
  case padded
  case impossible
}

extension Rewriter {
  /// Folds `affine`, which `op` applies to `input`, into all readers of its result, or into none.
  ///
  ///     conv2d(f·x + s, w, b)  ->  conv2d(x, f·w, b + Σ s·w)
  mutating func fold(
    _ affine: ChannelAffine, ofResult op: OpID, of input: ValueID
  ) throws(VerificationError) -> ReaderFolding {
    let result = graph[op].results[0], uses = graph.uses(of: result)
    guard !uses.isEmpty, !graph.isOutput(result) else { return .impossible }
    var foldings: [(user: OpID, folded: FoldedLinear)] = []
    for use in uses {
      guard use.operand == 0 else { return .impossible }
      if affine.hasShift, case .conv2d(let conv) = graph[use.user].op, conv.pads.contains(where: { $0 != 0 })
      {
        return .padded
      }
      guard let folded = graph.absorbing(affine, before: use.user) else { return .impossible }
      foldings.append((use.user, folded))
    }
    guard takeStep() else { return .impossible }
    for (user, folded) in foldings {
      var operands = graph[user].operands
      operands[0] = input
      if let weights = folded.weights { operands[1] = constant(weights, replacing: operands[1], of: user) }
      if let bias = folded.bias {
        if operands.count == 3 {
          operands[2] = constant(bias, replacing: operands[2], of: user)
        } else {
          operands.append(constant(bias))
        }
      }
      try replace(user, with: folded.op, operands)
    }
    return .folded
  }
}

extension Graph {
  /// The linear operation that computes `op(affine(x))`: weights scaled per input channel, and a bias that
  /// takes up the shift. Nil unless `op` is a conv2d or a canonical gemm with constant weights and bias.
  ///
  /// - Requires: a conv2d with padding meets no shift.
  func absorbing(_ affine: ChannelAffine, before op: OpID) -> FoldedLinear? {
    let node = self[op]
    guard affine.isFinite, node.operands.count >= 2, let weights = floats(node.operands[1]),
      let sizes = shape(node.operands[1]).sizes
    else { return nil }
    let groups: Int
    if case .conv2d(let conv) = node.op {
      groups = conv.groups
    } else if case .gemm(let gemm) = node.op, gemm.isCanonical {
      groups = 1
    } else {
      return nil
    }
    let outputs = sizes[0], inputs = sizes[1], area = sizes.dropFirst(2).reduce(1, *)
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
