/// Inference-time batch normalization over axis 1: `(x - mean) / sqrt(variance + epsilon) * scale + bias`.
/// Operands: x, scale, bias, mean, variance.
package struct BatchNorm: SimpleOperation {
  package static let name = "batch-norm"
  package var attributes: [Attribute<Self>] { [Attribute("epsilon", \.epsilon)] }
  package var epsilon: Float = 1e-5
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 5...5)
    let x = operands[0].shape
    try require(x.rank >= 2, "the input \(x) must have rank 2 or more")
    for parameter in operands.dropFirst() {
      try require(
        parameter.shape == Shape([x[1]]), "parameters must have shape [\(x[1])], one has \(parameter.shape)")
    }
    return [operands[0].type]
  }
}

/// Layer normalization over the axes from `axis` on. Operands: x, scale and an optional bias.
package struct LayerNorm: SimpleOperation {
  package static let name = "layer-norm"
  package var attributes: [Attribute<Self>] { [Attribute("axis", \.axis), Attribute("epsilon", \.epsilon)] }
  package var axis = -1
  package var epsilon: Float = 1e-5
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...3)
    let x = operands[0].shape
    try require(resolvedAxis(axis, rank: x.rank) != nil, "axis \(axis) is out of range for \(x)")
    return [operands[0].type]
  }
}
