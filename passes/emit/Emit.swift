import IR
import Numerics
import Program
import Support

/// Writes a lowered, packed and planned graph as a program: one instruction per operation that moves or computes bytes.
/// Views, and constants that only hold folded numbers, disappear.
/// - Throws: with all operations that have no instruction, or an internal error when a pass was left out.
package func emit(
  _ graph: Graph, metadata: Metadata, goldenVectors: [Program.GoldenVector] = [], report: String = ""
) throws(CompilerError) -> Program {
  var emitter = try Emitter(graph)
  for id in graph.order { try emitter.emit(id) }
  try emitter.emitCopiesToOutputs()
  if !emitter.problems.isEmpty { throw CompilerError(emitter.problems) }
  emitter.builder.metadata = metadata
  emitter.builder.goldenVectors = goldenVectors
  emitter.builder.report = report
  do { return try emitter.builder.finish(arenaBytes: emitter.arenaBytes) } catch {
    throw CompilerError("the emitted program is not valid: \(error)", status: .internalError)
  }
}

struct Emitter {
  let graph: Graph
  var builder = ProgramBuilder()
  private var tensorOf: [ValueID: Int] = [:]
  let arenaBytes: Int
  var problems: [Diagnostic] = []

  init(_ graph: Graph) throws(CompilerError) {
    self.graph = graph
    guard graph.stage == .lowered, let arena = graph.metadata("arena-bytes").flatMap({ Int($0) }) else {
      throw CompilerError(
        "only a lowered graph with a memory plan can be emitted; run lower-integer to plan-memory first")
    }
    arenaBytes = arena
    for (index, input) in graph.inputs.enumerated() {
      tensorOf[input] = builder.addTensor(try tensor(input, storage: .input(index)))
    }
  }

  // MARK: Tensors and data

  private func tensor(
    _ value: ValueID, storage: Program.Tensor.Storage
  ) throws(CompilerError) -> Program.Tensor {
    let type = graph[value].type, name = Name(graph[value].name)
    guard type.shape.rank >= 1, type.shape[0] == .batch || type.shape[0] == .known(1),
      var shape = Shape(Array(type.shape.extents.dropFirst())).sizes
    else {
      throw CompilerError("'\(graph[value].name)' of type \(type) has no batch axis of size N or 1 in front")
    }
    if shape.isEmpty { shape = [1] }
    guard let q = type.quantized else {
      guard type.element == .f32 else {
        throw CompilerError("'\(graph[value].name)' has element type \(type.element) in a program")
      }
      return .real(name, shape: shape, storage: storage)
    }
    guard case .arena(let offset) = storage, let placement = graph[value].placement else {
      throw CompilerError("'\(graph[value].name)' would leave as integers", status: .internalError)
    }
    let zeroPoint = UInt8(truncatingIfNeeded: q.zeroPoint), scale = q.scale ?? 1,
      bits = UInt8(truncatingIfNeeded: q.bits)
    switch type.layout {
    case .rowMajor:
      return .rowMajorActivation(
        name, shape: shape, arenaOffset: offset, scale: scale, zeroPoint: zeroPoint, bits: bits)
    case .channelsLast4(let b):
      let border = Program.Tensor.Border(top: b.top, left: b.left, bottom: b.bottom, right: b.right)
      var tensor = Program.Tensor.activation(
        name, shape: shape, arenaOffset: offset, border: border, scale: scale, zeroPoint: zeroPoint,
        bits: bits)
      if let stride = placement.pixelStride { tensor.pixelStride = stride }
      return tensor
    }
  }

  /// The tensor of an operand, which exists since the order is topological.
  func input(_ value: ValueID) throws(CompilerError) -> Int {
    guard let index = tensorOf[value] else {
      throw CompilerError("'\(graph[value].name)' is no tensor of the program", status: .internalError)
    }
    return index
  }
  /// Makes the tensor of a result.
  mutating func output(_ value: ValueID) throws(CompilerError) -> Int {
    let storage: Program.Tensor.Storage
    if isHostOutput(value, graph), graph[value].type.quantized == nil,
      let index = graph.outputs.firstIndex(of: value)
    {
      storage = .output(index)
    } else {
      guard let placement = graph[value].placement else {
        throw CompilerError("'\(graph[value].name)' has no place; run plan-memory", status: .internalError)
      }
      storage = .arena(offset: placement.offset)
    }
    let index = builder.addTensor(try tensor(value, storage: storage))
    tensorOf[value] = index
    return index
  }
  func shape(_ tensor: Int) -> [Int] { builder.tensors[tensor].shape }

  mutating func append(_ id: OpID, _ operation: Instruction.Operation) {
    builder.append(graph[id].name, operation)
  }
  func constant(_ value: ValueID) throws(CompilerError) -> Constant {
    guard let constant = graph.constant(value) else {
      throw CompilerError("'\(graph[value].name)' must be a constant", status: .internalError)
    }
    return constant
  }
  func clamp(_ minimum: Int, _ maximum: Int) -> Instruction.Clamp {
    Instruction.Clamp(UInt8(truncatingIfNeeded: minimum), UInt8(truncatingIfNeeded: maximum))
  }
  mutating func fail(_ id: OpID, _ message: String) {
    problems.append(.error("\(graph[id].op.mnemonic) \(message)", at: "layer '\(graph[id].name)'"))
  }

  // MARK: Instructions

  mutating func emit(_ id: OpID) throws(CompilerError) {
    let node = graph[id]
    if graph.isView(id) { return try emitView(id) }
    switch node.op {
    case .quantizeLinear:
      let x = try input(node.operands[0])
      append(id, .quantize(.init(input: x, output: try output(node.results[0]))))
    case .dequantizeLinear:
      let x = try input(node.operands[0])
      append(id, .dequantize(.init(input: x, output: try output(node.results[0]))))
    case .integerConv2d(let conv): try emitConvolution(id, conv)
    case .integerGemm(let gemm): try emitProduct(id, gemm)
    case .integerGemmFloat(let gemm): try emitProductFloat(id, gemm)
    case .integerAdd(let add):
      let a = try input(node.operands[0]), b = try input(node.operands[1])
      append(
        id,
        .add(
          .init(
            a: a, b: b, output: try output(node.results[0]), multiplierA: Int32(add.multiplierA),
            multiplierB: Int32(add.multiplierB), shift: Int32(add.shift),
            clamp: clamp(add.minimum, add.maximum))))
    case .integerMultiply(let multiply):
      let a = try input(node.operands[0]), b = try input(node.operands[1])
      append(
        id,
        .multiply(
          .init(
            a: a, b: b, output: try output(node.results[0]), multiplier: Int32(multiply.multiplier),
            shift: Int32(multiply.shift), clamp: clamp(multiply.minimum, multiply.maximum))))
    case .integerAveragePool(let pool): try emitAveragePool(id, pool)
    case .maxPool(let pool): try emitMaxPool(id, pool)
    case .lookup:
      let x = try input(node.operands[0])
      let table = builder.addData(try constant(node.operands[1]).elements(as: UInt8.self))
      append(id, .lookup(.init(input: x, output: try output(node.results[0]), table: table)))
    case .reshape, .flatten, .squeeze, .unsqueeze, .identity: try emitReshape(id)
    case .transpose(let transpose): try emitTranspose(id, transpose)
    case .concat(let concat): try emitConcat(id, concat)
    case .slice(let slice): try emitSlice(id, slice)
    case .pad(let pad): try emitPad(id, pad)
    case .softmax(let softmax): try emitSoftmax(id, softmax)
    case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select,
      .averagePool,
      .globalAveragePool, .reduce, .split, .gather, .expand, .resize, .shapeOf, .cast, .constantOfShape,
      .quantize:
      fail(id, "has no instruction")
    }
  }

  private mutating func emitView(_ id: OpID) throws(CompilerError) {
    _ = try input(graph[id].operands[0])
    _ = try output(graph[id].results[0])  // another shape over the same bytes
  }

  private mutating func emitSoftmax(_ id: OpID, _ softmax: Softmax) throws(CompilerError) {
    let node = graph[id], x = try input(node.operands[0]), sizes = shape(x)
    guard !softmax.isLogarithmic, let axis = resolvedAxis(softmax.axis, rank: sizes.count + 1), axis >= 1
    else {
      return fail(id, "over the batch, or logarithmic, has no instruction")
    }
    let tail = sizes[axis...].reduce(1, *)  // sizes has no batch: sizes[axis - 1] is the axis itself
    let extent = sizes[axis - 1]
    let outer = sizes[..<(axis - 1)].reduce(1, *)
    append(
      id,
      .softmax(
        .init(
          input: x, output: try output(node.results[0]), outer: outer,
          extent: softmax.flatten ? extent * tail : extent,
          inner: softmax.flatten ? 1 : tail)))
  }

  /// Outputs that are inputs, or read by other operations too, are copied to the caller's memory at the end.
  mutating func emitCopiesToOutputs() throws(CompilerError) {
    for (index, value) in graph.outputs.enumerated()
    where !isHostOutput(value, graph) || graph.outputs.firstIndex(of: value) != index {
      let source = try input(value)
      var copy = builder.tensors[source]
      guard copy.element == .f32 else {
        throw CompilerError("output '\(graph[value].name)' is not real", status: .internalError)
      }
      copy.storage = .output(index)
      let target = builder.addTensor(copy)
      let dimension = Instruction.Copy.Dimension(extent: copy.elementCount, inputStride: 1, outputStride: 1)
      builder.append(
        graph[value].name,
        .copy(.init(input: source, output: target, inputOffset: 0, outputOffset: 0, dimensions: [dimension])))
    }
  }
}
