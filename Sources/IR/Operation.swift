/// An operation broke a rule of its own: the message names the operand or attribute at fault.
package struct VerificationError: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

/// What an operation sees of an operand when it infers its results.
package struct Operand: Sendable {
  package var type: TensorType
  /// The contents of a small integer tensor, as far as they are known at compile time (shape computations).
  package var fact: [Extent]?
  package init(_ type: TensorType, fact: [Extent]? = nil) {
    self.type = type
    self.fact = fact
  }
  package var shape: Shape { type.shape }
  /// The fact when every entry is a known integer.
  package var integers: [Int]? {
    guard let fact else { return nil }
    let known = fact.compactMap(\.value)
    return known.count == fact.count ? known : nil
  }
}

/// What every operation must say about itself.
package protocol Operation: Hashable, Sendable {
  /// The names of this family in the text form; most families have one.
  static var mnemonics: [String] { get }
  init?(mnemonic: String)
  var mnemonic: String { get }
  /// The attributes, in printing order. All are printed; an omitted one keeps its default when parsed.
  var attributes: [Attribute<Self>] { get }
  /// The logical result types (row-major), or an error naming the operand at fault.
  func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType]
  /// The known contents of the results, for shape computations.
  func resultFacts(of operands: [Operand]) -> [[Extent]?]
}

extension Operation {
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] { [] }
  package var attributeText: String {
    attributes.map { "\($0.name) = \($0.print(self))" }.joined(separator: ", ")
  }
  /// An operation of this family from its text form.
  package static func parsed(
    _ mnemonic: String, _ pairs: [(name: String, text: String)]
  ) throws(AttributeError) -> Self {
    guard var operation = Self(mnemonic: mnemonic) else {
      throw AttributeError("unknown operation '\(mnemonic)'")
    }
    let attributes = operation.attributes
    for (name, text) in pairs {
      guard let attribute = attributes.first(where: { $0.name == name }) else {
        let known = attributes.map(\.name).joined(separator: ", ")
        throw AttributeError(
          "\(mnemonic) has no attribute '\(name)'; it has \(known.isEmpty ? "none" : known)")
      }
      try attribute.parse(&operation, text)
    }
    return operation
  }
  /// Fails unless the number of operands is in `range`.
  func requireOperands(_ operands: [Operand], _ range: ClosedRange<Int>) throws(VerificationError) {
    guard range.contains(operands.count) else {
      let expected = range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
      throw VerificationError("\(mnemonic) takes \(expected) operands, has \(operands.count)")
    }
  }
  func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(VerificationError) {
    if !condition { throw VerificationError("\(mnemonic): \(message())") }
  }
}

/// A family with one mnemonic and default attributes.
package protocol SimpleOperation: Operation {
  static var name: String { get }
  init()
}
extension SimpleOperation {
  package static var mnemonics: [String] { [name] }
  package var mnemonic: String { Self.name }
  package init?(mnemonic: String) { self.init() }
}

/// The closed set of operations. Adding a case makes the compiler list every switch to extend.
package enum Op: Hashable, Sendable {
  // Float, and shared with integers where the element type does not matter.
  case conv2d(Conv2D), convTranspose2d(ConvTranspose2D), gemm(Gemm), matMul(MatMul)
  case batchNorm(BatchNorm), layerNorm(LayerNorm)
  case unary(Unary), binary(Binary), select(Select)
  case maxPool(MaxPool), averagePool(AveragePool), globalAveragePool(GlobalAveragePool)
  case reduce(Reduce), softmax(Softmax)
  case identity(Identity), reshape(Reshape), flatten(Flatten), transpose(Transpose)
  case squeeze(Squeeze), unsqueeze(Unsqueeze), concat(Concat), split(Split), slice(Slice), pad(Pad)
  case gather(Gather), expand(Expand), resize(Resize)
  // Shape computations.
  case shapeOf(ShapeOf), cast(Cast), constantOfShape(ConstantOfShape)
  // Fake quantization, before lowering.
  case quantize(Quantize)
  // Integer, after lowering.
  case quantizeLinear(QuantizeLinear), dequantizeLinear(DequantizeLinear)
  case integerConv2d(IntegerConv2D), integerGemm(IntegerGemm), integerGemmFloat(IntegerGemmFloat)
  case integerAdd(IntegerAdd), integerMultiply(IntegerMultiply)
  case integerAveragePool(IntegerAveragePool), lookup(Lookup)

  /// The single place where the enum opens into its payload.
  package var operation: any Operation {
    switch self {
    case .conv2d(let o): o
    case .convTranspose2d(let o): o
    case .gemm(let o): o
    case .matMul(let o): o
    case .batchNorm(let o): o
    case .layerNorm(let o): o
    case .unary(let o): o
    case .binary(let o): o
    case .select(let o): o
    case .maxPool(let o): o
    case .averagePool(let o): o
    case .globalAveragePool(let o): o
    case .reduce(let o): o
    case .softmax(let o): o
    case .identity(let o): o
    case .reshape(let o): o
    case .flatten(let o): o
    case .transpose(let o): o
    case .squeeze(let o): o
    case .unsqueeze(let o): o
    case .concat(let o): o
    case .split(let o): o
    case .slice(let o): o
    case .pad(let o): o
    case .gather(let o): o
    case .expand(let o): o
    case .resize(let o): o
    case .shapeOf(let o): o
    case .cast(let o): o
    case .constantOfShape(let o): o
    case .quantize(let o): o
    case .quantizeLinear(let o): o
    case .dequantizeLinear(let o): o
    case .integerConv2d(let o): o
    case .integerGemm(let o): o
    case .integerGemmFloat(let o): o
    case .integerAdd(let o): o
    case .integerMultiply(let o): o
    case .integerAveragePool(let o): o
    case .lookup(let o): o
    }
  }
  package var mnemonic: String { operation.mnemonic }

  /// How to read each family from text; the order is that of the operation reference.
  package static let families: [OperationFamily] = [
    .init(Conv2D.self, Op.conv2d), .init(ConvTranspose2D.self, Op.convTranspose2d), .init(Gemm.self, Op.gemm),
    .init(MatMul.self, Op.matMul), .init(BatchNorm.self, Op.batchNorm), .init(LayerNorm.self, Op.layerNorm),
    .init(Unary.self, Op.unary), .init(Binary.self, Op.binary), .init(Select.self, Op.select),
    .init(MaxPool.self, Op.maxPool), .init(AveragePool.self, Op.averagePool),
    .init(GlobalAveragePool.self, Op.globalAveragePool), .init(Reduce.self, Op.reduce),
    .init(Softmax.self, Op.softmax), .init(Identity.self, Op.identity), .init(Reshape.self, Op.reshape),
    .init(Flatten.self, Op.flatten), .init(Transpose.self, Op.transpose), .init(Squeeze.self, Op.squeeze),
    .init(Unsqueeze.self, Op.unsqueeze), .init(Concat.self, Op.concat), .init(Split.self, Op.split),
    .init(Slice.self, Op.slice), .init(Pad.self, Op.pad), .init(Gather.self, Op.gather),
    .init(Expand.self, Op.expand), .init(Resize.self, Op.resize), .init(ShapeOf.self, Op.shapeOf),
    .init(Cast.self, Op.cast), .init(ConstantOfShape.self, Op.constantOfShape),
    .init(Quantize.self, Op.quantize), .init(QuantizeLinear.self, Op.quantizeLinear),
    .init(DequantizeLinear.self, Op.dequantizeLinear), .init(IntegerConv2D.self, Op.integerConv2d),
    .init(IntegerGemm.self, Op.integerGemm), .init(IntegerGemmFloat.self, Op.integerGemmFloat),
    .init(IntegerAdd.self, Op.integerAdd),
    .init(IntegerMultiply.self, Op.integerMultiply), .init(IntegerAveragePool.self, Op.integerAveragePool),
    .init(Lookup.self, Op.lookup),
  ]
  private static let familyOf: [String: OperationFamily] = Dictionary(
    uniqueKeysWithValues: families.flatMap { family in family.mnemonics.map { ($0, family) } })

  /// The operation `mnemonic{attributes}`, or an error that names the attribute at fault.
  package static func parsed(
    _ mnemonic: String, _ pairs: [(name: String, text: String)]
  ) throws(AttributeError) -> Op {
    guard let family = familyOf[mnemonic] else { throw AttributeError("unknown operation '\(mnemonic)'") }
    return try family.parse(mnemonic, pairs)
  }
}

/// The reader of one operation family.
package struct OperationFamily: Sendable {
  package let mnemonics: [String]
  /// Attribute names with what they take, of the family's first mnemonic.
  package let attributes: [(name: String, expectation: String)]
  let parse: @Sendable (String, [(name: String, text: String)]) throws(AttributeError) -> Op

  init<T: Operation & SendableMetatype>(_: T.Type, _ wrap: @escaping @Sendable (T) -> Op) {
    mnemonics = T.mnemonics
    attributes = T(mnemonic: T.mnemonics[0])?.attributes.map { ($0.name, $0.expectation) } ?? []
    parse = { mnemonic, pairs throws(AttributeError) in wrap(try T.parsed(mnemonic, pairs)) }
  }
}
