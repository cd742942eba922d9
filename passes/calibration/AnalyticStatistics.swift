import Glibc
import IR
import PassKit

/// Mean and variance of every channel of a value, as far as they can be told without data.
struct ChannelMoments: Sendable {
  var means: [Double]
  var variances: [Double]

  var statistics: ChannelStatistics {
    ChannelStatistics(means: means.map { Float($0) }, deviations: variances.map { Float($0.squareRoot()) })
  }
  /// The interval of `spread` deviations around the means of all channels, within `bounds`.
  func range(spread: Double, within bounds: ClosedRange<Float>) -> ClosedRange<Float> {
    var low = 0.0, high = 0.0
    for (mean, variance) in zip(means, variances) {
      low = min(low, mean - spread * variance.squareRoot())
      high = max(high, mean + spread * variance.squareRoot())
    }
    return max(Float(low), bounds.lowerBound)...min(max(Float(high), bounds.lowerBound), bounds.upperBound)
  }
  func mapped(_ transform: (Double, Double) -> (Double, Double)) -> ChannelMoments {
    let pairs = zip(means, variances).map(transform)
    return ChannelMoments(means: pairs.map(\.0), variances: pairs.map(\.1))
  }
}

/// Propagates channel moments through the float network: batch normalization statistics where there are any (their mean
/// is β, their deviation |γ|; DFQ, arXiv 1906.04721), else weights times the moments of the inputs, taken as
/// independent. Activations clip normal distributions.
struct AnalyticStatistics {
  private(set) var moments: [ValueID: ChannelMoments] = [:]
  /// The real interval of each value, derived with the moments.
  private(set) var ranges: [ValueID: ClosedRange<Float>] = [:]
  /// Deviations on either side of the mean that a range covers.
  let spread: Double

  /// - Parameter inputRange: the interval of the network's input values, from its preprocessing.
  init(_ graph: Graph, inputRange: ClosedRange<Float>, spread: Double) {
    self.spread = spread
    for input in graph.inputs {
      let channels = graph[input].type.shape.size(1) ?? 1
      let middle = Double(inputRange.lowerBound + inputRange.upperBound) / 2
      // Natural images spread over about a quarter of the range on either side.
      let deviation = Double(inputRange.upperBound - inputRange.lowerBound) / 4
      moments[input] = ChannelMoments(
        means: Array(repeating: middle, count: channels),
        variances: Array(repeating: deviation * deviation, count: channels))
      ranges[input] = inputRange
    }
    for id in graph.order { visit(graph[id], graph) }
  }

  private mutating func visit(_ node: Graph.Node, _ graph: Graph) {
    guard let result = node.results.first else { return }
    let channels = graph[result].type.shape.size(1) ?? 1
    let operand = node.operands.first.flatMap { moments[$0] }
    switch node.op {
    case .conv2d(let conv): weighted(node, result, graph, operand, activation: conv.activation)
    case .gemm(let gemm): weighted(node, result, graph, operand, activation: gemm.activation)
    case .binary(let binary) where binary.function == .add:
      let sum = node.operands.compactMap { moments[$0] }
      guard sum.count == 2, sum[0].means.count == sum[1].means.count else {
        return fallBack(result, channels, node)
      }
      let before = ChannelMoments(
        means: zip(sum[0].means, sum[1].means).map(+),
        variances: zip(sum[0].variances, sum[1].variances).map(+))
      activated(result, before, binary.activation)
    case .unary(let unary):
      guard let operand, let activation = unary.activation else { return fallBack(result, channels, node) }
      activated(result, operand, activation)
    case .averagePool, .globalAveragePool:
      guard let operand else { return fallBack(result, channels, node) }
      // Neighbouring positions are correlated: the variance of a mean is taken as unchanged, which errs on the wide side.
      moments[result] = operand
      ranges[result] = node.operands.first.flatMap { ranges[$0] }
    case .concat:
      let parts = node.operands.compactMap { moments[$0] }
      moments[result] = ChannelMoments(means: parts.flatMap(\.means), variances: parts.flatMap(\.variances))
      let intervals = node.operands.compactMap { ranges[$0] }
      ranges[result] = (intervals.map(\.lowerBound).min() ?? 0)...(intervals.map(\.upperBound).max() ?? 0)
    case .pad(let pad) where pad.pads.count == 8 && pad.pads[1] + pad.pads[5] > 0:
      guard let operand else { return fallBack(result, channels, node) }
      let before = Array(repeating: 0.0, count: max(pad.pads[1], 0)),
        behind = Array(repeating: 0.0, count: max(pad.pads[5], 0))
      moments[result] = ChannelMoments(
        means: before + operand.means + behind, variances: before + operand.variances + behind)
      ranges[result] = node.operands.first.flatMap { ranges[$0] }
    case .maxPool, .pad, .slice, .quantize, .identity, .reshape, .flatten, .squeeze, .unsqueeze, .transpose:
      guard var operand else { return }  // weights
      if operand.means.count != channels { operand = expanded(operand, channels) }
      moments[result] = operand
      ranges[result] = node.operands.first.flatMap { ranges[$0] }
    case .binary, .convTranspose2d, .matMul, .batchNorm, .layerNorm, .select, .reduce, .softmax, .split,
      .gather, .expand,
      .resize, .shapeOf, .cast, .constantOfShape, .quantizeLinear, .dequantizeLinear, .integerConv2d,
      .integerGemm,
      .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      fallBack(result, channels, node)
    }
  }

  /// A flattened image: every channel's moments repeated over its positions; otherwise the average of all.
  private func expanded(_ operand: ChannelMoments, _ channels: Int) -> ChannelMoments {
    let count = operand.means.count
    guard count > 0, channels % count == 0 else {
      let mean = operand.means.reduce(0, +) / Double(max(count, 1)),
        variance = operand.variances.reduce(0, +) / Double(max(count, 1))
      return ChannelMoments(
        means: Array(repeating: mean, count: channels), variances: Array(repeating: variance, count: channels)
      )
    }
    return ChannelMoments(
      means: operand.means.flatMap { Array(repeating: $0, count: channels / count) },
      variances: operand.variances.flatMap { Array(repeating: $0, count: channels / count) })
  }

  private mutating func fallBack(_ result: ValueID, _ channels: Int, _ node: Graph.Node) {
    let widest =
      node.operands.compactMap { ranges[$0] }.max {
        $0.upperBound - $0.lowerBound < $1.upperBound - $1.lowerBound
      } ?? -1...1
    ranges[result] = widest
    let deviation = Double(widest.upperBound - widest.lowerBound) / 4
    moments[result] = ChannelMoments(
      means: Array(repeating: 0, count: channels),
      variances: Array(repeating: deviation * deviation, count: channels))
  }

  private mutating func weighted(
    _ node: Graph.Node, _ result: ValueID, _ graph: Graph, _ input: ChannelMoments?, activation: Activation
  ) {
    if let statistics = graph[result].statistics {
      let before = ChannelMoments(
        means: statistics.means.map { Double($0) },
        variances: statistics.deviations.map { Double($0) * Double($0) })
      return activated(result, before, activation)
    }
    let weightValue = graph.definingOp(of: node.operands[1]).map { graph[$0].operands[0] } ?? node.operands[1]
    guard let input, let weights = graph.constant(weightValue), let shape = weights.type.shape.sizes,
      shape.count >= 2,
      shape[0] > 0
    else { return fallBack(result, graph[result].type.shape.size(1) ?? 1, node) }
    let values = weights.floats, rowLength = values.count / shape[0], taps = shape[2...].reduce(1, *)
    let bias = node.operands.count > 2 ? graph.constant(node.operands[2])?.floats : nil
    let groups = max(input.means.count / max(shape[1], 1), 1), perGroup = max(shape[0] / groups, 1)
    var before = ChannelMoments(means: [], variances: [])
    for channel in 0..<shape[0] {
      var mean = Double(bias.map { $0[min(channel, $0.count - 1)] } ?? 0), variance = 0.0
      let base = min(channel / perGroup, groups - 1) * shape[1]
      for index in 0..<rowLength {
        let weight = Double(values[channel * rowLength + index]),
          source = min(base + index / taps, input.means.count - 1)
        mean += weight * input.means[source]
        variance += weight * weight * input.variances[source]
      }
      before.means.append(mean)
      before.variances.append(variance)
    }
    activated(result, before, activation)
  }

  /// The moments of normal distributions clipped by an activation, and the range behind it.
  private mutating func activated(_ result: ValueID, _ before: ChannelMoments, _ activation: Activation) {
    ranges[result] = before.range(spread: spread, within: activation.bounds)
    let low = Double(activation.bounds.lowerBound), high = Double(activation.bounds.upperBound)
    moments[result] = activation == .none ? before : before.mapped { clippedMoments($0, $1, low, high) }
  }
}

/// Mean and variance of min(max(X, low), high) for X normal.
func clippedMoments(_ mean: Double, _ variance: Double, _ low: Double, _ high: Double) -> (Double, Double) {
  let deviation = max(variance.squareRoot(), 1e-12)
  func density(_ t: Double) -> Double { t.isFinite ? exp(-t * t / 2) / (2 * Double.pi).squareRoot() : 0 }
  func cumulative(_ t: Double) -> Double { 0.5 * (1 + erf(t / 2.0.squareRoot())) }
  let a = (low - mean) / deviation, b = (high - mean) / deviation
  let inside = cumulative(b) - cumulative(a)
  func product(_ t: Double, _ d: Double) -> Double { t.isFinite ? t * d : 0 }
  let shift = density(a) - density(b)
  // E[X; a<Z<b] and E[X²; a<Z<b] from the truncated normal distribution.
  let first = mean * inside + deviation * shift
  let second =
    (mean * mean + variance) * inside + 2 * mean * deviation * shift
    + variance * (product(a, density(a)) - product(b, density(b)))
  let below = cumulative(a), above = 1 - cumulative(b)
  let lowPart = low.isFinite ? low : 0, highPart = high.isFinite ? high : 0
  let clippedMean = first + lowPart * below + highPart * above
  let clippedSquare = second + lowPart * lowPart * below + highPart * highPart * above
  return (clippedMean, max(clippedSquare - clippedMean * clippedMean, 0))
}
