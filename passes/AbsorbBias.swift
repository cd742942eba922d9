import IR
import PassKit
import Support

package struct AbsorbBiasOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute(
      "deviations", \.deviations, help: "a relu's channels are lowered to so many deviations below the mean"),
    Attribute("linear", \.linear, help: "also move the means of channels without activation"),
  ]
  package var deviations: Float = 3
  package var linear = true
  package init() {}
}

/// Moves what all values of a channel have in common into the biases of the layers that read it.
///
///     %y = conv2d(%x, %w, %b){activation = relu}            %y' = conv2d(%x, %w, %b - c){activation = relu}
///     %z = conv2d(%y, %v, %d)                         ->    %z  = conv2d(%y', %v, %d + Σ v·c)
///
/// High-bias absorption (Nagel et al., arXiv 1906.04721): c = max(0, β - 3γ) from batch normalization statistics, so that
/// channels far above zero need no wide range; right for all but the 0.1 % of values below c. A clip from 0 counts as a
/// relu in channels that stay 6 deviations below its bound. Without an activation c = β is exact, also through sums. The
/// readers must be convolutions without padding, whose border would be zero and not -c, or gemms, behind pools and
/// flattening at most. Statistics lose c.
package let absorbBias = Pass(
  "absorb-bias", "move the common part of a channel's values into the biases of its readers",
  accepts: .canonical ... .canonical, options: AbsorbBiasOptions.self
) { rewriter, _, options in
  guard options.deviations >= 0 else {
    throw CompilerError("absorb-bias: deviations must not be negative", status: .usage)
  }
  for op in rewriter.ops where integerRole(of: rewriter.graph[op].op) == .weighted {
    let result = rewriter.graph[op].results[0]
    guard let statistics = rewriter.graph[result].statistics else {
      rewriter.count("kept: no statistics")
      continue
    }
    let activation = rewriter.graph[op].op.activation ?? .none
    let common: [Float]
    if activation == .none {
      guard options.linear else { continue }
      common = statistics.means
    } else if activation.bounds.lowerBound == 0 {
      common = zip(statistics.means, statistics.deviations).map { mean, deviation in
        let isBelowClip = mean + 6 * deviation < activation.bounds.upperBound
        return isBelowClip ? max(0, mean - options.deviations * deviation) : 0
      }
    } else {
      continue
    }
    guard common.contains(where: { $0 != 0 }) else { continue }
    guard let readers = rewriter.graph.shiftReaders(of: result, isLinear: activation == .none),
      Set(readers.map(\.op)).count == readers.count,
      let lowered = rewriter.graph.bias(of: op, loweredBy: common)
    else {
      rewriter.count("kept: not every reader can take a shift")
      continue
    }
    let foldings = readers.compactMap { reader, copies -> (OpID, Constant)? in
      let shifts = common.flatMap { Array(repeating: $0, count: copies) }
      let folded = rewriter.graph.absorbing(.shifting(shifts), before: reader)
      return folded?.bias.map { (reader, $0) }
    }
    guard foldings.count == readers.count else {
      rewriter.count("kept: not every reader can take a shift")
      continue
    }
    guard rewriter.takeStep() else { return }
    for (reader, bias) in foldings + [(op, lowered)] {
      let constant = rewriter.constant(bias, replacing: rewriter.graph[reader].operands[2], of: reader)
      rewriter.setOperand(reader, 2, to: constant)
    }
    rewriter.setStatistics(result, ChannelAffine.shifting(common.map(-)).applied(to: statistics))
    rewriter.count(activation == .none ? "means moved" : "high biases absorbed")
  }
}

extension Graph {
  /// The layers that read `value`, also behind pools, flattening and, if it is linear, sums, and into how many features
  /// each channel is spread there; nil where something else reads it or a layer cannot take a shift of its input.
  fileprivate func shiftReaders(of value: ValueID, isLinear: Bool) -> [(op: OpID, copies: Int)]? {
    guard !isOutput(value), let channels = shape(value).size(1) else { return nil }
    var result: [(op: OpID, copies: Int)] = []
    for use in uses(of: value) {
      let node = self[use.user]
      let isPassed: Bool
      switch node.op {
      case .conv2d(let conv):
        guard use.operand == 0, node.operands.count == 3, conv.pads.allSatisfy({ $0 == 0 }) else {
          return nil
        }
        result.append((use.user, 1))
        continue
      case .gemm:
        guard use.operand == 0, node.operands.count == 3 else { return nil }
        result.append((use.user, 1))
        continue
      case .maxPool, .globalAveragePool, .identity: isPassed = true
      case .averagePool(let pool): isPassed = !pool.countPads || pool.pads.allSatisfy { $0 == 0 }
      case .flatten, .reshape: isPassed = (shape(node.results[0]).size(1) ?? 0) % max(channels, 1) == 0
      case .binary(let binary):
        isPassed =
          isLinear && binary.function == .add && binary.activation == .none
          && node.operands[0] != node.operands[1]
          && node.operands.allSatisfy { shape($0) == shape(value) && constant($0) == nil }
      case .convTranspose2d, .matMul, .batchNorm, .layerNorm, .unary, .select, .reduce, .softmax, .transpose,
        .squeeze, .unsqueeze, .concat, .split, .slice, .pad, .gather, .expand, .resize, .shapeOf, .cast,
        .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear, .integerConv2d, .integerGemm,
        .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
        isPassed = false
      }
      guard isPassed, let passed = node.results.first, [2, 4].contains(shape(passed).rank),
        shape(passed)[0] == shape(value)[0], let features = shape(passed).size(1),
        let behind = shiftReaders(of: passed, isLinear: isLinear)
      else { return nil }
      result += behind.map { ($0.op, $0.copies * (features / channels)) }
    }
    return result
  }

  fileprivate func bias(of op: OpID, loweredBy shifts: [Float]) -> Constant? {
    let node = self[op]
    guard node.operands.count == 3, let bias = biasFloats(of: node), bias.count == shifts.count else {
      return nil
    }
    if case .gemm(let gemm) = node.op, !gemm.isCanonical { return nil }
    return Constant(
      self[node.operands[2]].name, [bias.count], zip(bias, shifts).map { Float(Double($0) - Double($1)) })
  }
}
