import IR
import Numerics
import PassKit
import Support

/// Turns fake-quantized float operations into integer operations.
///
///     %wq = quantize(%w, %ws, %wz)
///     %y  = conv2d(%xq, %wq, %b) {activation = relu}
///     %yq = quantize(%y, %ys, %yz)
///   ->
///     %yq = integer-conv2d(%xq, %w', %b', %m, %n) {minimum = zy, maximum = 255, output = u8<sy:zy>}
///                                    w' = round(w / sw),  b' = round(b / (sx sw)) - zx Σ w',  m 2^-n = sx sw / sy
///
/// Unary functions become tables of 256 entries, averages and products integer operations with one multiplier. A gemm
/// without a quantizer behind it hands its sums to the float tail (`integer-gemm-float`). Weights that would overflow
/// an accumulator, multipliers out of range and uncalibrated quantizers are reported together.
/// Exactness: the integer operations define the result; they differ from the fake-quantized ones by rounding alone.
package let lowerInteger = Pass(
  "lower-integer", "replace fake-quantized operations by integer operations",
  accepts: .assigned ... .assigned,
  produces: .lowered
) { rewriter, context in
  if rewriter.graph.hasSeparateBatchNorms {
    throw CompilerError("batch normalizations stand apart from their convolutions: run fold-batch-norm")
  }
  var lowering = IntegerLowering(rewriter.graph)
  try lowering.run()
  for (name, count) in lowering.statistics { rewriter.count(name, count) }
  rewriter.replaceGraph(lowering.result)
}

/// Builds the lowered graph beside the assigned one, value by value.
struct IntegerLowering {
  let source: Graph
  var result: Graph
  /// What each value of the source became; fake-quantized values become integers, others stay f32.
  private var lowered: [ValueID: ValueID] = [:]
  private var problems: [Diagnostic] = []
  private(set) var statistics: [(String, Int)] = []

  init(_ source: Graph) {
    self.source = source
    result = Graph(name: source.name, stage: .lowered)
    for (key, value) in source.metadata { result.setMetadata(key, value) }
  }

  mutating func run() throws {
    for input in source.inputs { lowered[input] = result.addInput(source[input].name, source[input].type) }
    for id in source.order {
      // Behind a reported problem, values that were never lowered are its consequence.
      do { try lower(id) } catch { if problems.isEmpty { throw error } }
    }
    if !problems.isEmpty { throw CompilerError(problems) }
    for output in source.outputs { result.addOutput(try float(output, name: source[output].name)) }
  }

  mutating func count(_ what: String) {
    if let index = statistics.firstIndex(where: { $0.0 == what }) {
      statistics[index].1 += 1
    } else {
      statistics.append((what, 1))
    }
  }
  mutating func fail(_ message: String, _ name: String) {
    problems.append(.error(message, at: "layer '\(name)'"))
  }

  // MARK: Values

  /// The integer form of a fake-quantized value.
  /// - Throws: an internal error when the value was not quantized: insert-quantizers guarantees it.
  func integer(_ value: ValueID) throws(CompilerError) -> ValueID {
    guard let id = lowered[value], result[id].type.quantized != nil else {
      throw CompilerError(
        "'\(source[value].name)' has no quantizer; run insert-quantizers on the whole graph")
    }
    return id
  }
  /// The f32 form of a value: dequantized where it is an integer.
  mutating func float(_ value: ValueID, name: String) throws(VerificationError) -> ValueID {
    if let constant = source.constant(value), lowered[value] == nil {
      lowered[value] = result.addConstant(constant)
    }
    guard let id = lowered[value] else { throw VerificationError("'\(name)' was not lowered") }
    guard result[id].type.quantized != nil else { return id }
    count("dequantized values")
    let op = try result.append(.dequantizeLinear(DequantizeLinear()), [id], name: name)
    return result[op].results[0]
  }
  func quantization(_ value: ValueID) -> QuantizedType {
    result[value].type.quantized ?? .activation(bits: 8, scale: 1, zeroPoint: 0)
  }

  mutating func append(
    _ op: Op, _ operands: [ValueID], _ name: String, _ what: String
  ) throws(VerificationError) -> ValueID {
    count(what)
    let id = try result.append(op, operands, name: name)
    return result[id].results[0]
  }

  // MARK: Operations

  private mutating func lower(_ id: OpID) throws {
    let node = source[id]
    if case .quantize(let quantizer) = node.op {
      if quantizer.role == .activation { try lowerActivation(id, quantizer) }
      return  // weights are quantized by the operation that uses them
    }
    let isInteger =
      node.operands.first.flatMap { lowered[$0] }.map { result[$0].type.quantized != nil } ?? false
    let quantizerBehind = node.results.first.flatMap { quantizer(of: $0) }
    if quantizerBehind != nil { return }  // lowered together with its quantizer
    switch integerRole(of: node.op) {
    case .weighted where isInteger:
      lowered[node.results[0]] = try lowerGemmFloat(node)
    case .transparent where isInteger:
      let value = try append(
        node.op, [try integer(node.operands[0])], node.name, "shared \(node.op.mnemonic)")
      result.rename(value, source[node.results[0]].name)
      lowered[node.results[0]] = value
    case .weighted, .computed, .transparent, .float:
      var operands: [ValueID] = []
      for operand in node.operands {
        operands.append(try float(operand, name: source[operand].name + ".f32"))
      }
      let op = try result.append(
        node.op, operands, name: node.name, resultNames: node.results.map { source[$0].name })
      for (old, new) in zip(node.results, result[op].results) { lowered[old] = new }
      count("float operations")
    }
  }

  /// The activation quantizer that alone reads `value`.
  private func quantizer(of value: ValueID) -> (op: OpID, quantizer: Quantize)? {
    let uses = source.uses(of: value)
    guard uses.count == 1, let use = uses.first, !source.isOutput(value),
      case .quantize(let quantizer) = source[use.user].op, quantizer.role == .activation
    else { return nil }
    return (use.user, quantizer)
  }

  /// Lowers an activation quantizer together with the operation that computes its operand.
  private mutating func lowerActivation(_ id: OpID, _ quantizer: Quantize) throws {
    let node = source[id], name = source[node.results[0]].name
    guard let output = activationType(node, quantizer) else {
      return fail("the quantizer is not calibrated", quantizer.site)
    }
    let value: ValueID
    if let producer = source.definingOp(of: node.operands[0]), self.quantizer(of: node.operands[0]) != nil,
      integerRole(of: source[producer].op) != .float
    {
      value = try lowerComputation(source[producer], output)
    } else if let integerOperand = lowered[node.operands[0]], result[integerOperand].type.quantized != nil {
      value = try requantized(integerOperand, output, name)
    } else {
      var op = QuantizeLinear()
      op.output = output
      value = try append(
        .quantizeLinear(op), [try float(node.operands[0], name: name)], name, "quantized inputs")
    }
    lowered[node.results[0]] = value
  }

  /// The stored type an activation quantizer gives, or nil when it is not calibrated.
  private func activationType(_ node: Graph.Node, _ quantizer: Quantize) -> QuantizedType? {
    guard let parameters = source.parameters(of: node, quantizer)?.first else { return nil }
    return .activation(
      bits: quantizer.form.width.storageBits, scale: parameters.scale, zeroPoint: parameters.zeroPoint)
  }

  private mutating func lowerComputation(_ node: Graph.Node, _ output: QuantizedType) throws -> ValueID {
    switch node.op {
    case .conv2d(let conv): return try lowerConvolution(node, conv, output)
    case .gemm(let gemm): return try lowerGemm(node, gemm, output)
    case .binary(let binary): return try lowerBinary(node, binary, output)
    case .averagePool(let pool): return try lowerAveragePool(node, pool, output)
    case .globalAveragePool:
      let x = source[node.operands[0]].type.shape
      var pool = AveragePool()
      pool.kernel = x.extents.dropFirst(2).compactMap(\.value)
      return try lowerAveragePool(node, pool, output)
    case .unary(let function): return try lowerUnary(node, function, output)
    case .concat(let concat):
      var operands: [ValueID] = []
      for operand in node.operands {
        operands.append(try requantized(try integer(operand), output, node.name + ".part"))
      }
      return try append(.concat(concat), operands, node.name, "concatenations")
    case .maxPool, .reshape, .flatten, .transpose, .squeeze, .unsqueeze, .slice, .pad, .identity:
      let moved = try append(
        node.op, [try integer(node.operands[0])], node.name, "shared \(node.op.mnemonic)")
      return try requantized(moved, output, node.name + ".requantized")
    case .convTranspose2d, .matMul, .batchNorm, .layerNorm, .select, .reduce, .softmax, .split, .gather,
      .expand,
      .resize, .shapeOf, .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear,
      .integerConv2d,
      .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      throw CompilerError("\(node.op.mnemonic) '\(node.name)' has no integer form", status: .internalError)
    }
  }

  private mutating func lowerUnary(
    _ node: Graph.Node, _ function: Unary, _ output: QuantizedType
  ) throws -> ValueID {
    let x = try integer(node.operands[0])
    return try table(x, output, node.name, function.mnemonic) { unaryValue(function, $0) }
  }

  /// `value` with another scale and zero point; itself when they are the same.
  private mutating func requantized(
    _ value: ValueID, _ output: QuantizedType, _ name: String
  ) throws -> ValueID {
    quantization(value) == output ? value : try table(value, output, name, "requantize") { $0 }
  }

  private mutating func table(
    _ x: ValueID, _ output: QuantizedType, _ name: String, _ what: String, _ function: (Double) -> Double
  ) throws -> ValueID {
    let input = quantization(x), parameters = output.parameters
    let entries = (0..<256).map { stored -> UInt8 in
      let level = min(Int32(stored), (1 << Int32(input.bits)) - 1)
      let y = function(Double(input.parameters.scale) * Double(level - input.zeroPoint))
      return UInt8(parameters.quantize(Float(y), output.storedRange))
    }
    var op = Lookup()
    op.function = what
    op.output = output
    let operand = result.addConstant(Constant("\(name).table", [256], entries))
    return try append(.lookup(op), [x, operand], name, "tables")
  }
}

extension QuantizedType {
  package var parameters: AffineParameters { AffineParameters(scale: scale ?? 1, zeroPoint: zeroPoint) }
  package var storedRange: ClosedRange<Int32> { 0...((1 << Int32(bits)) - 1) }
  /// The stored interval of the real interval `activation` allows.
  func clamp(_ activation: Activation) -> (minimum: Int, maximum: Int) {
    let low = Int(parameters.quantize(activation.bounds.lowerBound, storedRange))
    let high = Int(parameters.quantize(activation.bounds.upperBound, storedRange))
    return (low, max(low, high))
  }
}

extension Graph {
  /// The parameters of the current form of a quantizer: one, or one per channel; nil when it is not calibrated.
  package func parameters(of node: Node, _ quantizer: Quantize) -> [AffineParameters]? {
    guard quantizer.isCalibrated(operandCount: node.operands.count) else { return nil }
    let index = quantizer.forms.currentIndex
    guard let scales = constant(node.operands[1 + 2 * index]),
      let zeroPoints = constant(node.operands[2 + 2 * index])
    else { return nil }
    return zip(scales.floats, zeroPoints.elements(as: Int32.self)).map {
      AffineParameters(scale: $0, zeroPoint: $1)
    }
  }
}
