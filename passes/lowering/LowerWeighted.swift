import IR
import Numerics
import Support

/// Convolutions and matrix products: quantized weights, folded biases and one multiplier per output channel.
extension IntegerLowering {
  /// Integer weights of one operation and the scale of each output channel.
  private struct Weights {
    var values: [Int8]
    var shape: [Int]
    var scales: [Float]
    var bits: Int
    var rowLength: Int { values.count / scales.count }
  }

  mutating func lowerConvolution(
    _ node: Graph.Node, _ conv: Conv2D, _ output: QuantizedType
  ) throws -> ValueID {
    let x = try integer(node.operands[0])
    guard let weights = quantizedWeights(node) else { return x }
    let folded = try channelParameters(node, weights, x, output)
    var op = IntegerConv2D()
    op.kernel = Array(weights.shape[2...])
    op.strides = conv.strides
    op.pads = conv.pads
    op.dilations = conv.dilations
    op.groups = conv.groups
    op.weightBits = weights.bits
    (op.minimum, op.maximum) = output.clamp(conv.activation)
    op.output = output
    return try append(.integerConv2d(op), [x] + folded, node.name, "convolutions")
  }

  mutating func lowerGemm(_ node: Graph.Node, _ gemm: Gemm, _ output: QuantizedType) throws -> ValueID {
    let x = try integer(node.operands[0])
    guard let weights = quantizedWeights(node) else { return x }
    let folded = try channelParameters(node, weights, x, output)
    var op = IntegerGemm()
    op.weightBits = weights.bits
    (op.minimum, op.maximum) = output.clamp(gemm.activation)
    op.output = output
    return try append(.integerGemm(op), [x] + folded, node.name, "products")
  }

  /// A matrix product whose results only float operations read.
  mutating func lowerGemmFloat(_ node: Graph.Node) throws -> ValueID {
    let x = try integer(node.operands[0])
    guard case .gemm(let gemm) = node.op, let weights = quantizedWeights(node) else { return x }
    guard gemm.activation == .none else {
      fail("a clamped product needs a quantizer behind it", node.name)
      return x
    }
    let input = quantization(x)
    let scales = weights.scales.map { Float(Double(input.parameters.scale) * Double($0)) }
    let bias = foldedBias(node, weights, input)
    var op = IntegerGemmFloat()
    op.weightBits = weights.bits
    let operands = [
      x, weightConstant(node, weights), result.addConstant(Constant("\(node.name).bias", [bias.count], bias)),
      result.addConstant(Constant("\(node.name).scale", [scales.count], scales)),
    ]
    return try append(.integerGemmFloat(op), operands, source[node.results[0]].name, "products")
  }

  /// The weights, bias, multiplier and shift operands of an operation with integer results.
  private mutating func channelParameters(
    _ node: Graph.Node, _ weights: Weights, _ x: ValueID, _ output: QuantizedType
  ) throws -> [ValueID] {
    let input = quantization(x)
    let bias = foldedBias(node, weights, input)
    var multipliers: [Int32] = [], shifts: [Int32] = []
    for (channel, scale) in weights.scales.enumerated() {
      let factor = Double(input.parameters.scale) * Double(scale) / Double(output.parameters.scale)
      guard let fixed = FixedPointMultiplier(fused: factor) else {
        fail("the requantization factor \(factor) of output channel \(channel) is out of range", node.name)
        continue
      }
      multipliers.append(fixed.multiplier)
      shifts.append(fixed.shift)
    }
    guard multipliers.count == bias.count else {
      throw CompilerError("layer '\(node.name)' cannot be lowered")
    }
    return [
      weightConstant(node, weights), result.addConstant(Constant("\(node.name).bias", [bias.count], bias)),
      result.addConstant(Constant("\(node.name).multiplier", [bias.count], multipliers)),
      result.addConstant(Constant("\(node.name).shift", [bias.count], shifts)),
    ]
  }

  private mutating func weightConstant(_ node: Graph.Node, _ weights: Weights) -> ValueID {
    result.addConstant(Constant("\(node.name).weight", weights.shape, weights.values, bits: weights.bits))
  }

  /// `round(b / (sx sw)) - zx Σ w` per output channel. Channels whose accumulator could leave 32 bits (27 for weights
  /// of up to 4 bits, whose kernels scale products by 16) are reported.
  private mutating func foldedBias(_ node: Graph.Node, _ weights: Weights, _ input: QuantizedType) -> [Int32]
  {
    let bias = node.operands.count > 2 ? source.constant(node.operands[2])?.floats : nil
    let limit = weights.bits <= 4 ? Int64(1) << 27 : Int64(1) << 31
    let largest = Int64((1 << input.bits) - 1)
    return weights.scales.indices.map { channel in
      let row = weights.values[channel * weights.rowLength..<(channel + 1) * weights.rowLength]
      let sum = row.reduce(Int64(0)) { $0 + Int64($1) }
      let magnitude = row.reduce(Int64(0)) { $0 + Int64(abs(Int32($1))) } * largest
      let scaled =
        Double(bias?[channel] ?? 0) / (Double(input.parameters.scale) * Double(weights.scales[channel]))
      let rounded = scaled.rounded(.toNearestOrEven)
      guard abs(rounded) < 9e15 else {
        fail("the bias of output channel \(channel) overflows its accumulator: \(rounded) steps", node.name)
        return 0
      }
      let folded = Int64(rounded) - Int64(input.zeroPoint) * sum
      if abs(folded) + magnitude >= limit {
        fail(
          "output channel \(channel) can overflow its accumulator (|bias| + Σ|w|·\(largest) = \(abs(folded) + magnitude) ≥ \(limit)); "
            + "its weights are tiny beside its bias: keep the layer at more bits or raise its weight scale",
          node.name)
        return 0
      }
      return Int32(folded)
    }
  }

  /// The stored weights of a weighted operation; reports and gives nil when their quantizer is not calibrated.
  private mutating func quantizedWeights(_ node: Graph.Node) -> Weights? {
    guard let id = source.definingOp(of: node.operands[1]), case .quantize(let quantizer) = source[id].op,
      let constant = source.constant(source[id].operands[0]), let shape = constant.type.shape.sizes,
      let parameters = source.parameters(of: source[id], quantizer), let channels = shape.first, channels > 0
    else {
      fail("the weights have no calibrated quantizer", node.name)
      return nil
    }
    if case .group = quantizer.form.granularity {
      fail("weights quantized by groups have no integer kernel", node.name)
      return nil
    }
    // Kernels know no zero points of weights: these go into the stored integers, which take one bit more.
    let isShifted = parameters.contains { $0.zeroPoint != 0 }
    let rowLength = constant.elementCount / channels
    let values = constant.floats.enumerated().map { index, weight in
      let own = parameters[parameters.count == 1 ? 0 : index / rowLength]
      return Int8(exactly: quantizer.form.quantize(weight, own, .weight) - own.zeroPoint)
    }
    guard !values.contains(nil) else {
      fail(
        "asymmetric weights of 8 bits have no integer kernel: with their zero point they take 9", node.name)
      return nil
    }
    return Weights(
      values: values.compactMap { $0 }, shape: shape,
      scales: (0..<channels).map { parameters[parameters.count == 1 ? 0 : $0].scale },
      bits: quantizer.form.width.storageBits + (isShifted ? 1 : 0))
  }
}
