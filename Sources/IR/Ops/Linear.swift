/// `activation(alpha * A' B' + beta * C)`: ONNX Gemm. Canonical form: transpose-b, alpha = beta = 1, so that B is a
/// weight [O, K] and C a bias [O].
package struct Gemm: SimpleOperation {
  package static let name = "gemm"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("alpha", \.alpha), Attribute("beta", \.beta), Attribute("transpose-a", \.transposeA),
      Attribute("transpose-b", \.transposeB), Attribute("activation", \.activation),
    ]
  }
  package var alpha: Float = 1
  package var beta: Float = 1
  package var transposeA = false
  package var transposeB = false
  package var activation = Activation.none
  package init() {}

  package var isCanonical: Bool { alpha == 1 && beta == 1 && !transposeA && transposeB }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...3)
    let a = operands[0].shape, b = operands[1].shape
    try require(a.rank == 2 && b.rank == 2, "operands \(a) and \(b) must have rank 2")
    let (rows, depth) = transposeA ? (a[1], a[0]) : (a[0], a[1])
    let (otherDepth, columns) = transposeB ? (b[1], b[0]) : (b[0], b[1])
    try require(depth == otherDepth, "the inner sizes \(depth) and \(otherDepth) differ")
    if operands.count == 3 {
      let result = Shape([rows, columns])
      try require(
        broadcast(operands[2].shape, result) == result,
        "the third operand \(operands[2].shape) does not broadcast to \(result)")
    }
    return [TensorType(Shape([rows, columns]), operands[0].type.element)]
  }
}

/// Matrix product over the last two axes, broadcasting the others.
package struct MatMul: SimpleOperation {
  package static let name = "matmul"
  package var attributes: [Attribute<Self>] { [] }
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...2)
    let a = operands[0].shape, b = operands[1].shape
    try require(a.rank >= 2 && b.rank >= 2, "operands \(a) and \(b) must have rank 2 or more")
    try require(a[a.rank - 1] == b[b.rank - 2], "the inner sizes of \(a) and \(b) differ")
    guard let outer = broadcast(Shape(Array(a.extents.dropLast(2))), Shape(Array(b.extents.dropLast(2))))
    else {
      throw VerificationError("matmul: the outer sizes of \(a) and \(b) do not broadcast")
    }
    return [TensorType(Shape(outer.extents + [a[a.rank - 2], b[b.rank - 1]]), operands[0].type.element)]
  }
}
