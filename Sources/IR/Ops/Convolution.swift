/// Two-dimensional convolution of [N, C, H, W] with weights [O, C / groups, kh, kw] and an optional bias [O],
/// followed by a fused activation. Pads are top, left, bottom, right (ONNX order).
package struct Conv2D: SimpleOperation {
  package static let name = "conv2d"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("strides", \.strides), Attribute("pads", \.pads), Attribute("dilations", \.dilations),
      Attribute("groups", \.groups), Attribute("activation", \.activation),
    ]
  }
  package var strides = [1, 1]
  package var pads = [0, 0, 0, 0]
  package var dilations = [1, 1]
  package var groups = 1
  package var activation = Activation.none
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...3)
    let x = operands[0].shape, w = operands[1].shape
    try require(x.rank == 4 && w.rank == 4, "input \(x) and weights \(w) must have rank 4")
    guard let w = w.sizes, let channels = x.size(1) else {
      throw VerificationError("conv2d: the weights and the input channels must have fixed sizes")
    }
    try require(
      (1...(1 << 24)).contains(groups) && channels == w[1] * groups && w[0] % groups == 0,
      "\(channels) input channels and \(groups) groups do not fit weights \(operands[1].shape)")
    if operands.count == 3 {
      try require(operands[2].shape == [w[0]], "the bias must have shape [\(w[0])], has \(operands[2].shape)")
    }
    let window = Window(kernel: [w[2], w[3]], strides: strides, pads: pads, dilations: dilations)
    let spatial = try window.outputExtents(of: x, mnemonic)
    return [TensorType(Shape([x[0], .known(w[0])] + spatial), operands[0].type.element)]
  }
}

/// Transposed convolution of [N, C, H, W] with weights [C, O / groups, kh, kw] and an optional bias [O].
package struct ConvTranspose2D: SimpleOperation {
  package static let name = "conv-transpose2d"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("strides", \.strides), Attribute("pads", \.pads), Attribute("output-pads", \.outputPads),
      Attribute("dilations", \.dilations), Attribute("groups", \.groups),
      Attribute("activation", \.activation),
    ]
  }
  package var strides = [1, 1]
  package var pads = [0, 0, 0, 0]
  package var outputPads = [0, 0]
  package var dilations = [1, 1]
  package var groups = 1
  package var activation = Activation.none
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...3)
    let x = operands[0].shape
    guard x.rank == 4, let w = operands[1].shape.sizes, w.count == 4, let channels = x.size(1),
      let height = x.size(2), let width = x.size(3)
    else { throw VerificationError("conv-transpose2d: operands must have rank 4 and fixed sizes") }
    try require(
      (1...(1 << 24)).contains(groups) && channels == w[0],
      "\(channels) input channels do not fit weights \(operands[1].shape)")
    try require(
      strides.count == 2 && pads.count == 4 && dilations.count == 2 && outputPads.count == 2,
      "strides, dilations and output-pads need 2 entries, pads 4")
    let limit = 1 << 20
    try require(
      (strides + dilations).allSatisfy { (1...limit).contains($0) }
        && (pads + outputPads).allSatisfy { (0...limit).contains($0) },
      "strides and dilations must be positive, pads not negative")
    let size = [height, width].enumerated().map { axis, extent in
      (extent - 1) * strides[axis] + outputPads[axis] + (w[2 + axis] - 1) * dilations[axis] + 1 - pads[axis]
        - pads[axis + 2]
    }
    try require(size.allSatisfy { $0 > 0 }, "the output would be empty")
    let spatial = size.map { Extent.known($0) }
    return [TensorType(Shape([x[0], .known(w[1] * groups)] + spatial), operands[0].type.element)]
  }
}

/// A sliding window over the last two axes: the shared geometry of convolutions and poolings.
package struct Window: Hashable, Sendable {
  package var kernel: [Int]
  package var strides: [Int]
  /// Top, left, bottom, right.
  package var pads: [Int]
  package var dilations: [Int]
  package var ceilMode: Bool

  package init(kernel: [Int], strides: [Int], pads: [Int], dilations: [Int] = [1, 1], ceilMode: Bool = false)
  {
    self.kernel = kernel
    self.strides = strides
    self.pads = pads
    self.dilations = dilations
    self.ceilMode = ceilMode
  }

  /// The number of window positions along `axis` (0: rows, 1: columns) of an input of `size`; at most 0 when none fits.
  package func positions(_ axis: Int, size: Int) -> Int {
    let span = size + pads[axis] + pads[axis + 2] - (kernel[axis] - 1) * dilations[axis] - 1
    guard span >= 0 else { return 0 }
    guard ceilMode else { return span / strides[axis] + 1 }
    let positions = (span + strides[axis] - 1) / strides[axis] + 1
    // A window that would start in the padding behind the input does not count (ONNX, as in PyTorch).
    return (positions - 1) * strides[axis] >= size + pads[axis] ? positions - 1 : positions
  }

  func outputExtents(of input: Shape, _ mnemonic: String) throws(VerificationError) -> [Extent] {
    guard kernel.count == 2, strides.count == 2, pads.count == 4, dilations.count == 2 else {
      throw VerificationError("\(mnemonic): kernel, strides and dilations need 2 entries, pads 4")
    }
    let limit = 1 << 24
    guard kernel.allSatisfy({ (1...limit).contains($0) }), strides.allSatisfy({ (1...limit).contains($0) }),
      dilations.allSatisfy({ (1...limit).contains($0) }), pads.allSatisfy({ (0...limit).contains($0) })
    else {
      throw VerificationError(
        "\(mnemonic): kernel, strides and dilations must be positive, pads not negative")
    }
    guard input.rank == 4, let height = input.size(2), let width = input.size(3) else {
      throw VerificationError("\(mnemonic): the input \(input) must have rank 4 and fixed height and width")
    }
    let rows = positions(0, size: height), columns = positions(1, size: width)
    guard rows > 0, columns > 0 else {
      throw VerificationError("\(mnemonic): the window \(kernel) is larger than the padded input \(input)")
    }
    return [.known(rows), .known(columns)]
  }
}

/// A clamp fused behind an operation.
package enum Activation: Hashable, Sendable {
  case none, relu
  case clip(minimum: Float, maximum: Float)

  /// The real interval results lie in.
  package var bounds: ClosedRange<Float> {
    switch self {
    case .none: -Float.infinity...Float.infinity
    case .relu: 0...Float.infinity
    case .clip(let minimum, let maximum): minimum...max(minimum, maximum)
    }
  }
  package func callAsFunction(_ x: Float) -> Float { min(max(x, bounds.lowerBound), bounds.upperBound) }
}

extension Activation: TextCodable {
  package static var expectation: String { "none, relu or clip(minimum, maximum)" }
  package var text: String {
    switch self {
    case .none: "none"
    case .relu: "relu"
    case .clip(let minimum, let maximum): "clip(\(minimum), \(maximum))"
    }
  }
  package init?(text: String) {
    switch text {
    case "none": self = .none
    case "relu": self = .relu
    default:
      guard text.hasPrefix("clip("), text.hasSuffix(")") else { return nil }
      let parts = splitOutsideBrackets(String(text.dropFirst(5).dropLast()))
      guard parts.count == 2, let minimum = Float(parts[0]), let maximum = Float(parts[1]), minimum <= maximum
      else {
        return nil
      }
      self = .clip(minimum: minimum, maximum: maximum)
    }
  }
}
