import Evaluator
import IR
import Numerics
import PassKit
import Support

/// Removes the shift of every output channel's mean that rounding the weights causes.
///
///     %y = conv2d(%xq, quantize(%w), %b)
///   ->
///     %y = conv2d(%xq, quantize(%w), %b')                 b'[o] = b[o] - Σ_{c,k} (ŵ - w)[o, c, k] E[x_c]
///
/// E[x_c] is the channel mean that calibrate left on the input (Nagel et al., arXiv 1906.04721). Layers whose input has
/// none, or whose weights are not calibrated, are skipped and counted. Exact but for the borders, where padding is taken
/// as data.
///
/// All biases become multiples of the accumulator's step sx sw, the numbers that the integer program adds: without that,
/// a graph in rounded floats and the program differ by some thousandth of a step everywhere, which ends up in other
/// roundings in one element of a thousand, and in other answers after a few layers.
package let correctBias = Pass(
  "correct-bias",
  "compensate the mean error of rounded weights in the biases, and round them as the program does",
  accepts: .assigned ... .assigned
) { rewriter, context in
  for id in rewriter.ops {
    let node = rewriter.graph[id]
    guard integerRole(of: node.op) == .weighted else { continue }
    let old = node.operands.count > 2 ? rewriter.graph.constant(node.operands[2]) : nil
    let shift = rewriter.graph.channelMeans(node.operands[0]).flatMap { meanShift(node, $0, rewriter.graph) }
    rewriter.count(shift == nil ? "skipped" : "corrected")
    guard old != nil || node.operands.count == 2, let count = shift?.count ?? old?.elementCount else {
      continue
    }
    let steps = rewriter.graph.accumulatorSteps(of: node).flatMap {
      [1, count].contains($0.count) ? $0 : nil
    }
    guard shift != nil || steps != nil else { continue }
    guard rewriter.takeStep() else { return }
    let name = old?.name ?? "\(node.name).bias"
    let exact = zip(
      old?.floats ?? Array(repeating: 0, count: count), shift ?? Array(repeating: 0, count: count)
    ).map {
      Double($0) - $1
    }
    let bias = exact.indices.map { index -> Float in
      guard let steps else { return Float(exact[index]) }
      let step = steps[steps.count == 1 ? 0 : index],
        multiple = (exact[index] / step).rounded(.toNearestOrEven) * step
      return Float(multiple.isFinite ? multiple : exact[index])
    }
    let constant = rewriter.constant(Constant("\(name).corrected", [count], bias))
    if old == nil {
      try rewriter.replace(id, with: node.op, [node.operands[0], node.operands[1], constant])
    } else {
      rewriter.setOperand(id, 2, to: constant)
    }
  }
}

extension Graph {
  /// The channel means of a quantized value, also through operations that only move its elements.
  fileprivate func channelMeans(_ value: ValueID) -> [Float]? {
    if let statistics = self[value].statistics { return statistics.means }
    guard let op = definingOp(of: value) else { return nil }
    switch self[op].op {
    case .flatten, .reshape, .squeeze, .identity:
      guard let means = channelMeans(self[op].operands[0]), let features = self[value].type.shape.size(1),
        !means.isEmpty, features % means.count == 0
      else { return nil }
      return means.flatMap { Array(repeating: $0, count: features / means.count) }
    case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select,
      .maxPool,
      .averagePool, .globalAveragePool, .reduce, .softmax, .transpose, .unsqueeze, .concat, .split, .slice,
      .pad, .gather,
      .expand, .resize, .shapeOf, .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear,
      .integerConv2d,
      .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      return nil
    }
  }
}

/// `Σ (ŵ - w) E[x]` per output channel.
private func meanShift(_ node: Graph.Node, _ means: [Float], _ graph: Graph) -> [Double]? {
  guard let quantizerOp = graph.definingOp(of: node.operands[1]),
    case .quantize(let quantizer) = graph[quantizerOp].op,
    let weights = graph.constant(graph[quantizerOp].operands[0]), let shape = weights.type.shape.sizes,
    shape.count >= 2,
    shape[0] > 0, shape[1] > 0, let parameters = graph.parameters(of: graph[quantizerOp], quantizer)
  else { return nil }
  if case .group = quantizer.form.granularity { return nil }
  let values = weights.floats, rowLength = values.count / shape[0], taps = shape[2...].reduce(1, *)
  let groups = means.count / shape[1], range = quantizer.storedRange
  guard groups >= 1, groups * shape[1] == means.count, shape[0] % groups == 0 else { return nil }
  return (0..<shape[0]).map { channel in
    let p = parameters[parameters.count == 1 ? 0 : channel], base = channel / (shape[0] / groups) * shape[1]
    return (0..<rowLength).reduce(0.0) { sum, index in
      let weight = values[channel * rowLength + index]
      let error = Double(p.dequantize(p.quantize(weight, range))) - Double(weight)
      return sum + error * Double(means[base + index / taps])
    }
  }
}
