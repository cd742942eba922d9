/// A function of one real variable, applied to every element. `alpha` and `beta` are the parameters of those
/// functions that have any: clip (minimum, maximum), leaky-relu and elu (alpha), hard-sigmoid (alpha, beta).
package struct Unary: Operation {
  package enum Function: String, TextEnumeration, Hashable {
    case relu, clip
    case leakyRelu = "leaky-relu"
    case elu, sigmoid
    case hardSigmoid = "hard-sigmoid"
    case hardSwish = "hard-swish"
    case silu, gelu, tanh, erf, exp, log, sqrt, reciprocal
    case negate, abs, floor, ceil, sign, softplus, not
  }
  package static var mnemonics: [String] { Function.allCases.map(\.rawValue) }
  package var mnemonic: String { function.rawValue }
  package var attributes: [Attribute<Self>] {
    switch function {
    case .clip: [Attribute("minimum", \.alpha), Attribute("maximum", \.beta)]
    case .leakyRelu, .elu: [Attribute("alpha", \.alpha)]
    case .hardSigmoid: [Attribute("alpha", \.alpha), Attribute("beta", \.beta)]
    case .relu, .sigmoid, .hardSwish, .silu, .gelu, .tanh, .erf, .exp, .log, .sqrt, .reciprocal, .negate,
      .abs,
      .floor, .ceil, .sign, .softplus, .not:
      []
    }
  }
  package var function: Function
  package var alpha: Float
  package var beta: Float

  package init(_ function: Function, alpha: Float? = nil, beta: Float? = nil) {
    self.function = function
    let defaults: (Float, Float) =
      switch function {
      case .clip: (-.infinity, .infinity)
      case .leakyRelu: (0.01, 0)
      case .elu: (1, 0)
      case .hardSigmoid: (0.2, 0.5)
      case .relu, .sigmoid, .hardSwish, .silu, .gelu, .tanh, .erf, .exp, .log, .sqrt, .reciprocal, .negate,
        .abs,
        .floor, .ceil, .sign, .softplus, .not:
        (0, 0)
      }
    self.alpha = alpha ?? defaults.0
    self.beta = beta ?? defaults.1
  }
  package init?(mnemonic: String) {
    guard let function = Function(rawValue: mnemonic) else { return nil }
    self.init(function)
  }

  /// The clamp this is, if it is one.
  package var activation: Activation? {
    switch function {
    case .relu: .relu
    case .clip: alpha <= beta ? .clip(minimum: alpha, maximum: beta) : nil
    case .leakyRelu, .elu, .sigmoid, .hardSigmoid, .hardSwish, .silu, .gelu, .tanh, .erf, .exp, .log, .sqrt,
      .reciprocal, .negate, .abs, .floor, .ceil, .sign, .softplus, .not:
      nil
    }
  }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    return [operands[0].type.with(layoutOf: .rowMajor)]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    // Known contents are whole numbers, which rounding keeps (Resize sizes: floor(extent * scale)).
    [function == .floor || function == .ceil ? operands[0].fact : nil]
  }
}

/// A function of two variables with ONNX (NumPy) broadcasting and, for `add`, a fused activation.
package struct Binary: Operation {
  package enum Function: String, TextEnumeration, Hashable {
    case add, subtract, multiply, divide, power, minimum, maximum
    case equal, less, greater, and, or
    /// PRelu: x for x >= 0, else x * slope.
    case parametricRelu = "parametric-relu"
  }
  package static var mnemonics: [String] { Function.allCases.map(\.rawValue) }
  package var mnemonic: String { function.rawValue }
  package var attributes: [Attribute<Self>] {
    function == .add ? [Attribute("activation", \.activation)] : []
  }
  package var function: Function
  package var activation = Activation.none

  package init(_ function: Function) { self.function = function }
  package init?(mnemonic: String) {
    guard let function = Function(rawValue: mnemonic) else { return nil }
    self.init(function)
  }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 2...2)
    guard let shape = broadcast(operands[0].shape, operands[1].shape) else {
      throw VerificationError(
        "\(mnemonic): shapes \(operands[0].shape) and \(operands[1].shape) do not broadcast")
    }
    switch function {
    case .equal, .less, .greater, .and, .or: return [TensorType(shape, .bool)]
    case .add, .subtract, .multiply, .divide, .power, .minimum, .maximum, .parametricRelu:
      return [TensorType(shape, operands[0].type.element)]
    }
  }

  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    guard let a = operands[0].fact, let b = operands[1].fact,
      a.count == b.count || a.count == 1 || b.count == 1,
      let shape = broadcast(operands[0].shape, operands[1].shape), shape.elementCount == max(a.count, b.count)
    else { return [nil] }
    let isReal = operands[0].type.element == .f32
    return [
      (0..<max(a.count, b.count)).map { i in
        combine(a[a.count == 1 ? 0 : i], b[b.count == 1 ? 0 : i], isReal: isReal)
      }
    ]
  }

  private func combine(_ a: Extent, _ b: Extent, isReal: Bool) -> Extent {
    switch (a, b) {
    case (.known(let x), .known(let y)):
      switch function {
      case .add: return checked(x.addingReportingOverflow(y))
      case .subtract: return checked(x.subtractingReportingOverflow(y))
      case .multiply: return checked(x.multipliedReportingOverflow(by: y))
      case .divide:
        return y == 0 || (x == .min && y == -1) || (isReal && x % y != 0) ? .unknown : .known(x / y)
      case .minimum: return .known(min(x, y))
      case .maximum: return .known(max(x, y))
      case .equal: return .known(x == y ? 1 : 0)
      case .less: return .known(x < y ? 1 : 0)
      case .greater: return .known(x > y ? 1 : 0)
      case .and: return .known(x != 0 && y != 0 ? 1 : 0)
      case .or: return .known(x != 0 || y != 0 ? 1 : 0)
      case .power, .parametricRelu: return .unknown
      }
    case (.batch, .known(1)): return function == .multiply || function == .divide ? .batch : .unknown
    case (.known(1), .batch): return function == .multiply ? .batch : .unknown
    case (.batch, .known(0)), (.known(0), .batch): return function == .add ? .batch : .unknown
    case (.batch, _), (_, .batch), (.unknown, _), (_, .unknown): return .unknown
    }
  }
  private func checked(_ result: (partialValue: Int, overflow: Bool)) -> Extent {
    result.overflow ? .unknown : .known(result.partialValue)
  }
}

/// ONNX Where: operands condition, x, y, broadcast together.
package struct Select: SimpleOperation {
  package static let name = "where"
  package var attributes: [Attribute<Self>] { [] }
  package init() {}

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 3...3)
    guard
      let shape = broadcast(operands[1].shape, operands[2].shape).flatMap({ broadcast($0, operands[0].shape) }
      )
    else {
      throw VerificationError("where: the operand shapes do not broadcast")
    }
    return [TensorType(shape, operands[1].type.element)]
  }
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    guard let c = operands[0].fact, let a = operands[1].fact, let b = operands[2].fact, a.count == b.count,
      c.count == a.count
    else { return [nil] }
    return [
      zip(c, zip(a, b)).map { $0.value.map { $0 != 0 } == true ? $1.0 : $0.value == 0 ? $1.1 : .unknown }
    ]
  }
}

/// The shape both operands broadcast to, or nil.
package func broadcast(_ a: Shape, _ b: Shape) -> Shape? {
  let rank = max(a.rank, b.rank)
  var extents: [Extent] = []
  for axis in 0..<rank {
    let i = axis - (rank - a.rank), j = axis - (rank - b.rank)
    let x = i < 0 ? .known(1) : a[i], y = j < 0 ? .known(1) : b[j]
    if x == y || y == .known(1) {
      extents.append(x)
    } else if x == .known(1) {
      extents.append(y)
    } else {
      return nil
    }
  }
  return Shape(extents)
}

extension TensorType {
  func with(layoutOf layout: Layout) -> TensorType { TensorType(shape, element, layout: layout) }
}
