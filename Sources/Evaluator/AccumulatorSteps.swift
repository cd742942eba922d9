import IR
import Numerics

/// Sums of products of quantized numbers are multiples of a step. Floats lose that in the last bits of long sums, enough
/// to round some thousands of a large network's activations to the other neighbour; rounding the sums restores it, so
/// that a graph with quantizers gives the answers of the integer program.
extension Graph {
  /// `s_x s_w` of a convolution or product with a quantized input and quantized weights: one, or one for each output
  /// channel; nil when an operand is not quantized and calibrated.
  ///
  /// Of a batch normalization behind a convolution these are the convolution's: folded, its shift becomes part of the bias,
  /// which counts in such steps. With few bits they are coarse, and what they do to the shift shows in the answers.
  package func accumulatorSteps(of node: Node) -> [Double]? {
    guard let (input, weights) = accumulatorQuantizers(of: node), let inputScales = currentScales(input),
      inputScales.count == 1, let weightScales = currentScales(weights)
    else { return nil }
    return Self.accumulatorSteps(input: inputScales[0], weights: weightScales)
  }
  /// The products of an input's scale and those of weights; nil where one cannot be a step.
  package static func accumulatorSteps(input: Float, weights: [Float]) -> [Double]? {
    let steps = weights.map { Double(input) * Double($0) }
    return steps.allSatisfy { $0 > 0 && $0.isFinite && (1 / $0).isFinite } ? steps : nil
  }

  /// The quantizers of the input and the weights of a convolution or product, or of the convolution before a batch
  /// normalization; nil where one has none, or groups.
  package func accumulatorQuantizers(of node: Node) -> (input: OpID, weights: OpID)? {
    if case .batchNorm = node.op {
      guard let producer = definingOp(of: node.operands[0]), case .conv2d = self[producer].op else {
        return nil
      }
      return accumulatorQuantizers(of: self[producer])
    }
    guard node.operands.count >= 2, let input = activationQuantizer(node.operands[0]),
      let weights = definingOp(of: node.operands[1]), case .quantize(let quantizer) = self[weights].op
    else { return nil }
    if case .group = quantizer.form.granularity { return nil }
    return (input, weights)
  }

  /// The quantizer of an activation, also behind operations that only move its elements.
  private func activationQuantizer(_ value: ValueID) -> OpID? {
    guard let op = definingOp(of: value) else { return nil }
    switch self[op].op {
    case .quantize: return op
    case .flatten, .reshape, .squeeze, .unsqueeze, .identity, .transpose, .slice, .pad, .maxPool:
      return activationQuantizer(self[op].operands[0])
    case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select,
      .averagePool,
      .globalAveragePool, .reduce, .softmax, .concat, .split, .gather, .expand, .resize, .shapeOf, .cast,
      .constantOfShape, .quantizeLinear, .dequantizeLinear, .integerConv2d, .integerGemm, .integerGemmFloat,
      .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      return nil
    }
  }

  private func currentScales(_ id: OpID) -> [Float]? {
    let node = self[id]
    guard case .quantize(let quantizer) = node.op, quantizer.isCalibrated(operandCount: node.operands.count)
    else { return nil }
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
