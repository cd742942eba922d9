import Glibc
import IR
import PassKit
import Support

/// How samples fit what the network's first batch normalization recorded: behind its convolution each channel had a mean
/// and a deviation over the training data, and inputs that were scaled or shifted otherwise have others.
package struct InputCheck: Sendable {
  /// The convolution's name.
  package let layer: String
  package let channels: Int
  /// The middle one of the channels' deviations, and of those that batch normalization recorded.
  package let deviation: Double
  package let expectedDeviation: Double
  /// The middle one of the ratios of both.
  package let ratio: Double
  /// The root mean square of the distances between the channels' means and the recorded ones, in recorded deviations.
  package let shift: Double
  /// Of the samples themselves.
  package let inputRange: ClosedRange<Float>

  /// Of five trained networks, right inputs have ratios of 0.85 to 1.1 and shifts below 0.25; ones without their mean
  /// shifts of 1.1 to 2.1; ones without their deviation ratios of 0.22; pixels that were not divided by 255 ratios of 55
  /// to 245.
  package static let largestRatio = 2.0
  package static let largestShift = 1.0

  /// - Returns: nil where no convolution right behind the input knows its statistics.
  package init?(_ graph: Graph, _ data: any CalibrationData, samples: Int = 64, _ context: PassContext) throws
  {
    guard data.count > 0, let (id, head) = try graph.normalizedHead(),
      let recorded = graph[graph[id].results[0]].statistics
    else { return nil }
    var quiet = context
    quiet.progress = { _, _, _ in }
    let observed = try observe(
      [head.inputs[0], head.outputs[0]], in: head, FirstSamples(data: data, count: min(samples, data.count)),
      quiet)
    guard let input = observed[head.inputs[0]]?.histogram, let own = observed[head.outputs[0]]?.channels,
      input.minimum <= input.maximum, own.means.count == recorded.means.count
    else { return nil }
    let largest = recorded.deviations.reduce(0) { max($0, $1) }
    // Channels that batch normalization all but switched off tell nothing.
    let live = recorded.deviations.indices.filter { recorded.deviations[$0] > largest / 100 }
    guard !live.isEmpty, largest > 0 else { return nil }
    func middle(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    layer = graph[id].name
    channels = live.count
    deviation = middle(live.map { Double(own.deviations[$0]) })
    expectedDeviation = middle(live.map { Double(recorded.deviations[$0]) })
    ratio = middle(live.map { Double(own.deviations[$0]) / Double(recorded.deviations[$0]) })
    shift =
      (live.reduce(0.0) {
        let distance = Double(own.means[$1] - recorded.means[$1]) / Double(recorded.deviations[$1])
        return $0 + distance * distance
      } / Double(live.count)).squareRoot()
    inputRange = input.minimum...input.maximum
  }

  package var contradicts: Bool {
    ratio > InputCheck.largestRatio || ratio < 1 / InputCheck.largestRatio || shift > InputCheck.largestShift
  }

  /// What was seen, what was expected, and which keys to look at; nil where the inputs fit.
  package var diagnostic: Diagnostic? {
    guard contradicts else { return nil }
    let isScaled = ratio > InputCheck.largestRatio || ratio < 1 / InputCheck.largestRatio
    let seen =
      "behind '\(layer)' the deviation of the middle one of \(channels) channels is \(short(deviation)), "
      + "batch normalization recorded \(short(expectedDeviation)); means are \(short(shift)) deviations off"
    let factor =
      ratio > 1
      ? "about \(short(ratio)) times too large" : "about \(short(1 / max(ratio, 1e-6))) times too small"
    return .warning(
      isScaled
        ? "the samples do not look as the network expects: values are \(factor)"
        : "the samples do not look as the network expects: values are shifted",
      notes: [
        seen,
        "input values reach from \(short(Double(inputRange.lowerBound))) to \(short(Double(inputRange.upperBound)))",
        isScaled
          ? "check the keys scale, mean and std of --preprocess (pixels are 0…255 before scale; layout and color matter too)"
          : "check the key mean of --preprocess, then scale, std, color and layout",
      ])
  }
}

private func short(_ value: Double) -> String {
  guard value.isFinite, value != 0 else { return value == 0 ? "0" : "\(value)" }
  let digits = max(0, 2 - Int(floor(log10(abs(value))))), scale = pow(10, Double(min(digits, 6)))
  let rounded = (value * scale).rounded() / scale
  return rounded == rounded.rounded() && abs(rounded) < 1e15 ? "\(Int(rounded))" : "\(rounded)"
}

private struct FirstSamples: CalibrationData {
  let data: any CalibrationData
  let count: Int
  func sample(_ index: Int) throws -> [Float] { try data.sample(index) }
}

extension Graph {
  /// The first convolution with statistics that only moves of elements part from the input, and a network of nothing
  /// else, without the convolution's activation: statistics are those before it.
  fileprivate func normalizedHead() throws -> (layer: OpID, head: Graph)? {
    guard inputs.count == 1, let input = inputs.first, self[input].type.element == .f32 else { return nil }
    var head = Graph(name: name, stage: .canonical)
    var copies = [input: head.addInput(self[input].name, self[input].type)]
    for id in order {
      let node = self[id]
      for operand in node.operands where copies[operand] == nil {
        if let constant = constant(operand) { copies[operand] = head.addConstant(constant) }
      }
      guard let first = node.operands.first, let source = copies[first] else { continue }
      if case .quantize = node.op {
        copies[node.results[0]] = source
        continue
      }
      let operands = node.operands.compactMap { copies[$0] }
      guard operands.count == node.operands.count else { continue }
      if case .conv2d(var conv) = node.op, self[node.results[0]].statistics != nil {
        conv.activation = .none
        let added = try head.append(.conv2d(conv), operands, name: node.name)
        head.addOutput(head[added].results[0])
        return (id, head)
      }
      switch node.op {
      case .pad, .transpose, .reshape, .identity, .slice, .squeeze, .unsqueeze, .flatten:
        let added = try head.append(node.op, operands, name: node.name)
        for (old, new) in zip(node.results, head[added].results) { copies[old] = new }
      case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select,
        .maxPool,
        .averagePool, .globalAveragePool, .reduce, .softmax, .concat, .split, .gather, .expand, .resize,
        .shapeOf,
        .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear, .integerConv2d, .integerGemm,
        .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
        continue
      }
    }
    return nil
  }
}
