/// Maximum over a sliding window; padding never wins. Works on any ordered element type.
package struct MaxPool: SimpleOperation {
  package static let name = "max-pool"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("kernel", \.kernel), Attribute("strides", \.strides), Attribute("pads", \.pads),
      Attribute("dilations", \.dilations), Attribute("ceil-mode", \.ceilMode),
    ]
  }
  package var kernel = [1, 1]
  package var strides = [1, 1]
  package var pads = [0, 0, 0, 0]
  package var dilations = [1, 1]
  package var ceilMode = false
  package init() {}
  package var window: Window {
    Window(kernel: kernel, strides: strides, pads: pads, dilations: dilations, ceilMode: ceilMode)
  }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    let spatial = try window.outputExtents(of: x, mnemonic)
    return [TensorType(Shape([x[0], x[1]] + spatial), operands[0].type.element)]
  }
}

/// Mean over a sliding window; the divisor counts padded positions only with `count-pads`.
package struct AveragePool: SimpleOperation {
  package static let name = "average-pool"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("kernel", \.kernel), Attribute("strides", \.strides), Attribute("pads", \.pads),
      Attribute("count-pads", \.countPads), Attribute("ceil-mode", \.ceilMode),
    ]
  }
  package var kernel = [1, 1]
  package var strides = [1, 1]
  package var pads = [0, 0, 0, 0]
  package var countPads = false
  package var ceilMode = false
  package init() {}
  package var window: Window { Window(kernel: kernel, strides: strides, pads: pads, ceilMode: ceilMode) }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    let spatial = try window.outputExtents(of: x, mnemonic)
    return [TensorType(Shape([x[0], x[1]] + spatial), operands[0].type.element)]
  }
}

/// Mean over all spatial positions: [N, C, H, W] to [N, C, 1, 1].
package struct GlobalAveragePool: SimpleOperation {
  package static let name = "global-average-pool"
  package var attributes: [Attribute<Self>] { [] }
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    try require(x.rank >= 3, "the input \(x) must have rank 3 or more")
    let ones = Array(repeating: Extent.known(1), count: x.rank - 2)
    return [TensorType(Shape([x[0], x[1]] + ones), operands[0].type.element)]
  }
}
