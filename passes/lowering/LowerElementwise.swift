import Glibc
import IR
import Numerics
import Support

/// Sums, products and means of activations.
extension IntegerLowering {
  mutating func lowerBinary(_ node: Graph.Node, _ binary: Binary, _ output: QuantizedType) throws -> ValueID {
    let a = try integer(node.operands[0]), b = try integer(node.operands[1])
    switch binary.function {
    case .add: return try lowerAdd(node, binary.activation, a, b, output)
    case .multiply:
      let factor =
        Double(quantization(a).parameters.scale) * Double(quantization(b).parameters.scale)
        / Double(output.parameters.scale)
      var op = IntegerMultiply()
      guard let fixed = FixedPointMultiplier(factor) else {
        fail("the requantization factor \(factor) is out of range", node.name)
        return a
      }
      op.multiplier = Int(fixed.multiplier)
      op.shift = Int(fixed.shift)
      (op.minimum, op.maximum) = output.clamp(.none)
      op.output = output
      return try append(.integerMultiply(op), [a, b], node.name, "products of activations")
    case .subtract, .divide, .power, .minimum, .maximum, .equal, .less, .greater, .and, .or, .parametricRelu:
      throw CompilerError("\(binary.mnemonic) '\(node.name)' has no integer form", status: .internalError)
    }
  }

  private mutating func lowerAdd(
    _ node: Graph.Node, _ activation: Activation, _ a: ValueID, _ b: ValueID, _ output: QuantizedType
  ) throws -> ValueID {
    let scale = Double(output.parameters.scale)
    let ratioA = Double(quantization(a).parameters.scale) / scale,
      ratioB = Double(quantization(b).parameters.scale) / scale
    // The larger multiplier gets 21 bits: 255 * 2^21 * 2 plus the rounding term stays inside 32 bits.
    let shift = min(20 - Int(max(ratioA, ratioB).exponent), 30)
    var op = IntegerAdd()
    guard shift >= 1 else {
      fail("the operands are more than 2^19 times as coarse as the sum: \(max(ratioA, ratioB))", node.name)
      return a
    }
    op.shift = shift
    op.multiplierA = Int((ratioA * Double(1 << shift)).rounded(.toNearestOrEven))
    op.multiplierB = Int((ratioB * Double(1 << shift)).rounded(.toNearestOrEven))
    (op.minimum, op.maximum) = output.clamp(activation)
    op.output = output
    return try append(.integerAdd(op), [a, b], node.name, "sums")
  }

  mutating func lowerAveragePool(
    _ node: Graph.Node, _ pool: AveragePool, _ output: QuantizedType
  ) throws -> ValueID {
    let x = try integer(node.operands[0])
    var op = IntegerAveragePool()
    op.kernel = pool.kernel
    op.strides = pool.strides
    op.pads = pool.pads
    op.countPads = pool.countPads
    op.ceilMode = pool.ceilMode
    (op.minimum, op.maximum) = output.clamp(.none)
    op.output = output
    let counts = pool.kernel.reduce(1, *)
    let ratio = Double(quantization(x).parameters.scale) / Double(output.parameters.scale)
    let fixed = (1...max(counts, 1)).compactMap { FixedPointMultiplier(ratio / Double($0)) }
    guard fixed.count == counts, counts < 1 << 22 else {
      fail("the window of \(counts) positions or its factor \(ratio) is out of range", node.name)
      return x
    }
    let multipliers = result.addConstant(
      Constant("\(node.name).multiplier", [counts], fixed.map(\.multiplier)))
    let shifts = result.addConstant(Constant("\(node.name).shift", [counts], fixed.map(\.shift)))
    return try append(.integerAveragePool(op), [x, multipliers, shifts], node.name, "averages")
  }
}

/// The value of a unary function, in double precision, for tables.
func unaryValue(_ unary: Unary, _ x: Double) -> Double {
  let alpha = Double(unary.alpha), beta = Double(unary.beta)
  func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
  return switch unary.function {
  case .relu: max(x, 0)
  case .clip: min(max(x, alpha), beta)
  case .leakyRelu: x < 0 ? alpha * x : x
  case .elu: x < 0 ? alpha * (exp(x) - 1) : x
  case .sigmoid: sigmoid(x)
  case .hardSigmoid: min(max(alpha * x + beta, 0), 1)
  case .hardSwish: x * min(max(x / 6 + 0.5, 0), 1)
  case .silu: x * sigmoid(x)
  case .gelu: 0.5 * x * (1 + erf(x / 2.0.squareRoot()))
  case .tanh: tanh(x)
  case .erf: erf(x)
  case .exp: exp(x)
  case .log: log(x)
  case .sqrt: x.squareRoot()
  case .reciprocal: 1 / x
  case .negate: -x
  case .abs: abs(x)
  case .floor: x.rounded(.down)
  case .ceil: x.rounded(.up)
  case .sign: x > 0 ? 1 : x < 0 ? -1 : 0
  case .softplus: log(1 + exp(x))
  case .not: x == 0 ? 1 : 0
  }
}
