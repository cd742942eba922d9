/// The shape of the operand as an i64 vector.
package struct ShapeOf: SimpleOperation {
  package static let name = "shape"
  package var attributes: [Attribute<Self>] { [Attribute("start", \.start), Attribute("end", \.end)] }
  package var start = 0
  package var end = Int(Int32.max)
  package init() {}

  private func range(_ rank: Int) -> Range<Int> {
    let from = min(max(start < 0 ? start + rank : start, 0), rank)
    let to = min(max(end < 0 ? end + rank : end, from), rank)
    return from..<to
  }
  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    return [TensorType([range(operands[0].shape.rank).count], .i64)]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    [Array(operands[0].shape.extents[range(operands[0].shape.rank)])]
  }
}

/// Converts the element type.
package struct Cast: SimpleOperation {
  package enum Target: String, TextEnumeration, Hashable {
    case f32, i64, i32, i8, bool
    case u8 = "byte"
    package var element: ElementType {
      switch self {
      case .f32: .f32
      case .i64: .i64
      case .i32: .i32
      case .u8: .u8
      case .i8: .i8
      case .bool: .bool
      }
    }
  }
  package static let name = "cast"
  package var attributes: [Attribute<Self>] { [Attribute("to", \.to)] }
  package var to = Target.f32
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    return [TensorType(operands[0].shape, to.element)]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    // Floats hold shape entries exactly, so a cast to f32 and back keeps the fact.
    [to == .bool || to == .u8 || to == .i8 ? nil : operands[0].fact]
  }
}

/// A tensor of one value whose shape is operand 0 (known contents).
package struct ConstantOfShape: SimpleOperation {
  package static let name = "constant-of-shape"
  package var attributes: [Attribute<Self>] { [Attribute("value", \.value), Attribute("type", \.type)] }
  package var value: Float = 0
  package var type = Cast.Target.f32
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    guard let fact = operands[0].fact, !fact.contains(.unknown) else {
      throw VerificationError("constant-of-shape: the shape operand is not known at compile time")
    }
    try require(fact.allSatisfy { $0.value.map { $0 >= 0 } ?? true }, "an extent is negative")
    return [TensorType(Shape(fact), type.element)]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    guard type != .bool, value == value.rounded(.towardZero), abs(value) < 16_777_216,
      let shape = operands[0].integers,
      let count = checkedProduct(shape), count <= Graph.maximumFactCount
    else { return [nil] }
    return [Array(repeating: .known(Int(value)), count: count)]
  }
}
