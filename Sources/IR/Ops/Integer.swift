/// The integer operations of a lowered graph. Their arithmetic is defined in `Numerics`: 32-bit wrapping accumulators,
/// single-rounding requantization, then zero point and clamp. Activations are unsigned with a zero point.

/// Real numbers to stored integers: `clamp(roundHalfEven(x / scale) + zeroPoint)`.
package struct QuantizeLinear: SimpleOperation {
  package static let name = "quantize-linear"
  package var attributes: [Attribute<Self>] { [Attribute("output", \.output)] }
  package var output = QuantizedType.activation(bits: 8, scale: 1, zeroPoint: 0)
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    try require(operands[0].type.element == .f32, "the operand must be f32, is \(operands[0].type.element)")
    return [TensorType(operands[0].shape, .quantized(output))]
  }
}

/// Stored integers to real numbers: `scale * (stored - zeroPoint)`.
package struct DequantizeLinear: SimpleOperation {
  package static let name = "dequantize-linear"
  package var attributes: [Attribute<Self>] { [] }
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    _ = try requireActivation(operands[0], mnemonic)
    return [TensorType(operands[0].shape, .f32)]
  }
}

/// How weights lie in the constant of an integer convolution or product.
package enum WeightLayout: String, TextEnumeration, Hashable {
  /// One byte a weight, [O, C / groups, kh, kw] or [O, K].
  case none
  /// Panels of 16 output channels, depth 4, for dense kernels (`Numerics.WeightPacking`).
  case panels
  /// Panels of 16 channels, 4 taps, for depthwise kernels.
  case depthwisePanels = "depthwise-panels"
  /// Panels of weights of 2 bits.
  case twoBitPanels = "two-bit-panels"
  /// Panels of 4-bit codes, each with its table of 16 weights.
  case palettePanels = "palette-panels"
  /// Panels of weights -1 and 1 as bits, for inputs that are multiplied bit by bit.
  case binaryPanels = "binary-panels"
  /// The same with weights -1, 0 and 1.
  case ternaryPanels = "ternary-panels"
}

/// Convolution of activations with integer weights. Operands: x, weights, bias i32[O] (with `-zeroPoint * Σ weights`
/// folded in), multiplier i32[O], shift i32[O]:
///
///     y[o] = clamp(zeroPoint + requantize(bias[o] + Σ x * w, multiplier[o], shift[o]), minimum, maximum)
///
/// where x outside the image is x's zero point.
package struct IntegerConv2D: SimpleOperation {
  package static let name = "integer-conv2d"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("kernel", \.kernel), Attribute("strides", \.strides), Attribute("pads", \.pads),
      Attribute("dilations", \.dilations), Attribute("groups", \.groups),
      Attribute("weight-bits", \.weightBits),
      Attribute("packing", \.packing), Attribute("minimum", \.minimum), Attribute("maximum", \.maximum),
      Attribute("output", \.output),
    ]
  }
  package var kernel = [1, 1]
  package var strides = [1, 1]
  package var pads = [0, 0, 0, 0]
  package var dilations = [1, 1]
  package var groups = 1
  package var weightBits = 8
  package var packing = WeightLayout.none
  package var minimum = 0
  package var maximum = 255
  package var output = QuantizedType.activation(bits: 8, scale: 1, zeroPoint: 0)
  package init() {}
  package var window: Window { Window(kernel: kernel, strides: strides, pads: pads, dilations: dilations) }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 5...5)
    _ = try requireActivation(operands[0], mnemonic)
    let x = operands[0].shape
    let spatial = try window.outputExtents(of: x, mnemonic)
    let channels = try requireChannelParameters(operands, mnemonic)
    guard let inputs = x.size(1), groups >= 1, inputs % groups == 0, channels % groups == 0 else {
      throw VerificationError(
        "integer-conv2d: \(groups) groups do not divide the channels of \(x) or \(channels)")
    }
    if packing == .none {
      try require(
        operands[1].shape == [channels, inputs / groups, kernel[0], kernel[1]],
        "weights \(operands[1].shape) do not fit input \(x), \(groups) groups and \(channels) outputs")
    }
    try requireClamp(minimum, maximum, output, mnemonic)
    return [TensorType(Shape([x[0], .known(channels)] + spatial), .quantized(output))]
  }
}

/// Matrix product of activations [N, K] with weights [O, K]; operands and arithmetic as in `integer-conv2d`.
package struct IntegerGemm: SimpleOperation {
  package static let name = "integer-gemm"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("weight-bits", \.weightBits), Attribute("packing", \.packing),
      Attribute("minimum", \.minimum),
      Attribute("maximum", \.maximum), Attribute("output", \.output),
    ]
  }
  package var weightBits = 8
  package var packing = WeightLayout.none
  package var minimum = 0
  package var maximum = 255
  package var output = QuantizedType.activation(bits: 8, scale: 1, zeroPoint: 0)
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 5...5)
    _ = try requireActivation(operands[0], mnemonic)
    let x = operands[0].shape
    let channels = try requireChannelParameters(operands, mnemonic)
    guard x.rank == 2, let depth = x.size(1) else {
      throw VerificationError("integer-gemm: the input \(x) must be [N, K]")
    }
    if packing == .none {
      try require(
        operands[1].shape == [channels, depth],
        "weights \(operands[1].shape) do not fit [\(channels), \(depth)]")
    }
    try requireClamp(minimum, maximum, output, mnemonic)
    return [TensorType(Shape([x[0], .known(channels)]), .quantized(output))]
  }
}

/// Matrix product whose results leave the integers, for the last layer: `y[o] = scale[o] * (bias[o] + Σ x * w)` in f32,
/// one rounding. Operands: x [N, K], weights [O, K], bias i32[O] (zero point folded in), scale f32[O].
package struct IntegerGemmFloat: SimpleOperation {
  package static let name = "integer-gemm-float"
  package var attributes: [Attribute<Self>] {
    [Attribute("weight-bits", \.weightBits), Attribute("packing", \.packing)]
  }
  package var weightBits = 8
  package var packing = WeightLayout.none
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 4...4)
    _ = try requireActivation(operands[0], mnemonic)
    let x = operands[0].shape
    guard x.rank == 2, let depth = x.size(1), let channels = operands[2].shape.size(0), channels > 0 else {
      throw VerificationError("integer-gemm-float: the input \(x) must be [N, K] and the bias i32[O]")
    }
    try require(
      operands[2].type.element == .i32 && operands[2].shape == [channels] && operands[3].type.element == .f32
        && operands[3].shape == [channels], "the bias must be i32[\(channels)] and the scale f32[\(channels)]"
    )
    if packing == .none {
      try require(
        operands[1].shape == [channels, depth],
        "weights \(operands[1].shape) do not fit [\(channels), \(depth)]")
    }
    return [TensorType(Shape([x[0], .known(channels)]), .f32)]
  }
}

/// Sum of two activations with their own scales, in 32 bits:
///
///     y = clamp(zeroPoint + ((a - za) * multiplier-a + (b - zb) * multiplier-b + 2^(shift-1)) >> shift)
///
/// - Requires: |multipliers| <= 2^21, 1 <= shift <= 30, so that no intermediate leaves 32 bits.
package struct IntegerAdd: SimpleOperation {
  package static let name = "integer-add"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("multiplier-a", \.multiplierA), Attribute("multiplier-b", \.multiplierB),
      Attribute("shift", \.shift),
      Attribute("minimum", \.minimum), Attribute("maximum", \.maximum), Attribute("output", \.output),
    ]
  }
  package var multiplierA = 1
  package var multiplierB = 1
  package var shift = 1
  package var minimum = 0
  package var maximum = 255
  package var output = QuantizedType.activation(bits: 8, scale: 1, zeroPoint: 0)
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...2)
    for operand in operands { _ = try requireActivation(operand, mnemonic) }
    try require(
      operands[0].shape == operands[1].shape, "shapes \(operands[0].shape) and \(operands[1].shape) differ")
    try require(
      (1...30).contains(shift) && multiplierA.magnitude <= 1 << 21 && multiplierB.magnitude <= 1 << 21,
      "shift must be 1 to 30 and multipliers at most 2^21")
    try requireClamp(minimum, maximum, output, mnemonic)
    return [TensorType(operands[0].shape, .quantized(output))]
  }
}

/// Product of two activations, the second broadcast over the spatial axes when it is [N, C, 1, 1]:
///
///     y = clamp(zeroPoint + requantize((a - za) * (b - zb), multiplier, shift))
package struct IntegerMultiply: SimpleOperation {
  package static let name = "integer-multiply"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("multiplier", \.multiplier), Attribute("shift", \.shift), Attribute("minimum", \.minimum),
      Attribute("maximum", \.maximum), Attribute("output", \.output),
    ]
  }
  package var multiplier = 1
  package var shift = 1
  package var minimum = 0
  package var maximum = 255
  package var output = QuantizedType.activation(bits: 8, scale: 1, zeroPoint: 0)
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...2)
    for operand in operands { _ = try requireActivation(operand, mnemonic) }
    let a = operands[0].shape, b = operands[1].shape
    try require(
      a == b || (a.rank == 4 && b == Shape([a[0], a[1], .known(1), .known(1)])),
      "\(b) does not broadcast over \(a)")
    try require(
      (1...62).contains(shift) && (0...Int(Int32.max)).contains(multiplier),
      "shift must be 1 to 62, the multiplier positive")
    try requireClamp(minimum, maximum, output, mnemonic)
    return [TensorType(a, .quantized(output))]
  }
}

/// Mean over a window: `clamp(zeroPoint + requantize(Σ (x - zx), multiplier[count], shift[count]))`, where count is the
/// number of positions averaged (all of the window with `count-pads`, else those inside the image). Operands: x,
/// multiplier i32[kh * kw], shift i32[kh * kw]; entry count - 1 belongs to `count`.
package struct IntegerAveragePool: SimpleOperation {
  package static let name = "integer-average-pool"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("kernel", \.kernel), Attribute("strides", \.strides), Attribute("pads", \.pads),
      Attribute("count-pads", \.countPads), Attribute("ceil-mode", \.ceilMode),
      Attribute("minimum", \.minimum),
      Attribute("maximum", \.maximum), Attribute("output", \.output),
    ]
  }
  package var kernel = [1, 1]
  package var strides = [1, 1]
  package var pads = [0, 0, 0, 0]
  package var countPads = false
  package var ceilMode = false
  package var minimum = 0
  package var maximum = 255
  package var output = QuantizedType.activation(bits: 8, scale: 1, zeroPoint: 0)
  package init() {}
  package var window: Window { Window(kernel: kernel, strides: strides, pads: pads, ceilMode: ceilMode) }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 3...3)
    _ = try requireActivation(operands[0], mnemonic)
    let x = operands[0].shape
    let spatial = try window.outputExtents(of: x, mnemonic)
    for operand in operands.dropFirst() {
      try require(
        operand.type.element == .i32 && operand.shape == [kernel[0] * kernel[1]],
        "multiplier and shift must be i32[\(kernel[0] * kernel[1])], one is \(operand.type)")
    }
    try requireClamp(minimum, maximum, output, mnemonic)
    return [TensorType(Shape([x[0], x[1]] + spatial), .quantized(output))]
  }
}

/// Any function of one activation: `y = table[x]`. Operands: x and a table byte[256]. Also how scales change.
package struct Lookup: SimpleOperation {
  package static let name = "lookup"
  package var attributes: [Attribute<Self>] {
    [Attribute("function", \.function), Attribute("output", \.output)]
  }
  /// What the table computes, for readers.
  package var function = "requantize"
  package var output = QuantizedType.activation(bits: 8, scale: 1, zeroPoint: 0)
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...2)
    _ = try requireActivation(operands[0], mnemonic)
    try require(operands[1].type.element == .u8 && operands[1].shape == [256], "the table must be byte[256]")
    return [TensorType(operands[0].shape, .quantized(output))]
  }
}

/// The quantization of an activation operand.
private func requireActivation(
  _ operand: Operand, _ mnemonic: String
) throws(VerificationError) -> QuantizedType {
  guard let q = operand.type.quantized, !q.isSigned, let scale = q.scale, scale > 0, (1...8).contains(q.bits)
  else {
    throw VerificationError("\(mnemonic): operands must be quantized activations, one is \(operand.type)")
  }
  return q
}

/// The number of output channels of an operation whose operands are x, weights, bias, multiplier, shift.
private func requireChannelParameters(
  _ operands: [Operand], _ mnemonic: String
) throws(VerificationError) -> Int {
  guard let channels = operands[2].shape.size(0), channels > 0 else {
    throw VerificationError("\(mnemonic): the bias must be i32[O]")
  }
  for operand in operands[2...4] where operand.type.element != .i32 || operand.shape != [channels] {
    throw VerificationError(
      "\(mnemonic): bias, multiplier and shift must be i32[\(channels)], one is \(operand.type)")
  }
  return channels
}

private func requireClamp(
  _ minimum: Int, _ maximum: Int, _ output: QuantizedType, _ mnemonic: String
) throws(VerificationError) {
  guard (1...8).contains(output.bits), !output.isSigned, let scale = output.scale, scale > 0, scale.isFinite,
    0 <= minimum, minimum <= maximum, maximum < 1 << output.bits,
    (0..<(1 << output.bits)).contains(Int(output.zeroPoint))
  else {
    throw VerificationError(
      "\(mnemonic): the clamp [\(minimum), \(maximum)] does not fit the output \(output)")
  }
}

extension QuantizedType: TextCodable {
  package static var expectation: String { "a quantized type such as u8<0.02:114> or s4" }
  package var text: String { description }
  package init?(text: String) {
    guard let first = text.first, first == "u" || first == "s" else { return nil }
    var body = text.dropFirst()
    var scale: Float?, zeroPoint: Int32 = 0
    if let open = body.firstIndex(of: "<") {
      guard body.last == ">" else { return nil }
      let parts = body[body.index(after: open)...].dropLast().split(
        separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 2, let s = Float(String(parts[0])), s > 0, s.isFinite,
        let z = Int32(String(parts[1]))
      else { return nil }
      scale = s
      zeroPoint = z
      body = body[..<open]
    }
    guard let bits = Int(String(body)), (1...8).contains(bits) else { return nil }
    self.init(bits: bits, isSigned: first == "s", scale: scale, zeroPoint: zeroPoint)
  }
}
