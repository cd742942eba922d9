import IR
import Numerics

/// Sums of products of quantized numbers are multiples of a step. Floats lose that in the last bits of long sums, enough
/// to round some thousands of a large network's activations to the other neighbour; rounding the sums restores it, so
/// that a graph with quantizers gives the answers of the integer program.
extension Graph {
  /// `s_x s_w` of a convolution or product with a quantized input and quantized weights: one, or one for each output
  /// channel; nil when an operand is not quantized and calibrated.
  package func accumulatorSteps(of node: Node) -> [Double]? {
    guard node.operands.count >= 2, let input = quantizedScales(node.operands[0]), input.count == 1,
      let weights = definingOp(of: node.operands[1]), case .quantize(let quantizer) = self[weights].op,
      let scales = scales(of: self[weights], quantizer)
    else { return nil }
    if case .group = quantizer.form.granularity { return nil }
    let steps = scales.map { Double(input[0]) * Double($0) }
    return steps.allSatisfy { $0 > 0 && $0.isFinite && (1 / $0).isFinite } ? steps : nil
  }

  /// The scales of a quantized activation, also behind operations that only move its elements.
  private func quantizedScales(_ value: ValueID) -> [Float]? {
    guard let op = definingOp(of: value) else { return nil }
    switch self[op].op {
    case .quantize(let quantizer): return scales(of: self[op], quantizer)
    case .flatten, .reshape, .squeeze, .unsqueeze, .identity, .transpose, .slice, .pad, .maxPool:
      return quantizedScales(self[op].operands[0])
    case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select,
      .averagePool,
      .globalAveragePool, .reduce, .softmax, .concat, .split, .gather, .expand, .resize, .shapeOf, .cast,
      .constantOfShape, .quantizeLinear, .dequantizeLinear, .integerConv2d, .integerGemm, .integerGemmFloat,
      .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      return nil
    }
  }

  private func scales(of node: Node, _ quantizer: Quantize) -> [Float]? {
    guard quantizer.isCalibrated(operandCount: node.operands.count) else { return nil }
    return constant(node.operands[1 + 2 * quantizer.forms.currentIndex])?.floats
  }
}

extension EvaluationContext {
  /// `y`, which nothing else refers to, with every channel (axis 1) rounded to multiples of its step; as it is without
  /// steps or where quantizers pass their operands on.
  func rounded(_ y: Tensor, to steps: [Double]?) -> Tensor {
    guard mode == .quantized, let steps, y.element == .f32, y.shape.count >= 2, y.count > 0,
      [1, y.shape[1]].contains(steps.count)
    else { return y }
    let channels = y.shape[1], area = y.shape[2...].reduce(1, *), base = y.pointer(Float.self)
    let all = steps.count == 1 ? Array(repeating: steps[0], count: channels) : steps
    let inverses = all.map { 1 / $0 }
    let magic = 0x1.8p52  // rounds what is added to it
    withExtendedLifetime(y) {
      if y.order == .channelsLast || area == 1 {
        for pixel in 0..<y.shape[0] * area {
          let row = base + pixel * channels
          for channel in 0..<channels {
            row[channel] = Float(((Double(row[channel]) * inverses[channel] + magic) - magic) * all[channel])
          }
        }
        return
      }
      for plane in 0..<y.shape[0] * channels {
        let step = all[plane % channels], inverse = inverses[plane % channels], row = base + plane * area
        for index in 0..<area { row[index] = Float(((Double(row[index]) * inverse + magic) - magic) * step) }
      }
    }
    return y
  }
}
