import IR
import Numerics
import Program
import Support

/// Instructions with a sliding window or weights.
extension Emitter {
  private mutating func addShifts(_ value: ValueID) throws(CompilerError) -> DataSlice {
    builder.addShifts(try constant(value).elements(as: Int32.self))
  }
  private mutating func addNumbers(_ value: ValueID) throws(CompilerError) -> DataSlice {
    builder.addData(try constant(value).elements(as: Int32.self))
  }
  /// The packed weights of a weighted operation.
  private mutating func addWeights(_ id: OpID) throws(CompilerError) -> DataSlice {
    guard let layout = graph[id].op.weightPacking, layout != .none else {
      throw CompilerError(
        "the weights of '\(graph[id].name)' are not packed; run pack-weights", status: .internalError)
    }
    return builder.addData(try constant(graph[id].operands[1]).elements(as: UInt8.self), alignment: 64)
  }
  private func kind(_ id: OpID) throws(CompilerError) -> Instruction.Convolution.Kind {
    guard let geometry = convolutionGeometry(of: id, in: graph) else {
      throw CompilerError("'\(graph[id].name)' has no geometry", status: .internalError)
    }
    return geometry.kind
  }

  mutating func emitConvolution(_ id: OpID, _ conv: IntegerConv2D) throws(CompilerError) {
    let window = Instruction.Window(
      kernel: conv.kernel, strides: conv.strides, pads: conv.pads, dilations: conv.dilations)
    try emitWeighted(id, window, groups: conv.groups, clamp(conv.minimum, conv.maximum))
  }
  mutating func emitProduct(_ id: OpID, _ gemm: IntegerGemm) throws(CompilerError) {
    try emitWeighted(id, Instruction.Window(kernel: [1, 1]), groups: 1, clamp(gemm.minimum, gemm.maximum))
  }
  private mutating func emitWeighted(
    _ id: OpID, _ window: Instruction.Window, groups: Int, _ clamp: Instruction.Clamp
  ) throws(CompilerError) {
    let node = graph[id], x = try input(node.operands[0])
    let weights = try addWeights(id), bias = try addNumbers(node.operands[2])
    let multiplier = try addNumbers(node.operands[3]), shift = try addShifts(node.operands[4])
    append(
      id,
      .convolution(
        .init(
          input: x, output: try output(node.results[0]), kind: try kind(id), window: window, groups: groups,
          weights: weights, bias: bias, multiplier: multiplier, shift: shift, clamp: clamp)))
  }

  mutating func emitProductFloat(_ id: OpID, _ gemm: IntegerGemmFloat) throws(CompilerError) {
    let node = graph[id], x = try input(node.operands[0])
    let weights = try addWeights(id), bias = try addNumbers(node.operands[2])
    let scale = builder.addData(try constant(node.operands[3]).elements(as: UInt8.self))
    append(
      id,
      .floatProduct(
        .init(
          input: x, output: try output(node.results[0]), kind: try kind(id), weights: weights, bias: bias,
          scale: scale)))
  }

  mutating func emitAveragePool(_ id: OpID, _ pool: IntegerAveragePool) throws(CompilerError) {
    let node = graph[id], x = try input(node.operands[0])
    let result = try output(node.results[0])
    // Only the factor of a whole window matters where no window leaves the image.
    let isWhole = pool.countPads || pool.pads.allSatisfy { $0 == 0 } && !pool.ceilMode
    var multipliers = try constant(node.operands[1]).elements(as: Int32.self)
    var shifts = try constant(node.operands[2]).elements(as: Int32.self)
    if isWhole {
      multipliers = Array(multipliers.suffix(1))
      shifts = Array(shifts.suffix(1))
    }
    let multiplier = builder.addData(multipliers), shift = builder.addShifts(shifts)
    append(
      id,
      .averagePool(
        .init(
          input: x, output: result,
          window: Instruction.Window(kernel: pool.kernel, strides: pool.strides, pads: pool.pads),
          countsPads: pool.countPads, multiplier: multiplier, shift: shift,
          clamp: clamp(pool.minimum, pool.maximum))))
  }

  mutating func emitMaxPool(_ id: OpID, _ pool: MaxPool) throws(CompilerError) {
    let node = graph[id], x = try input(node.operands[0])
    let window = Instruction.Window(
      kernel: pool.kernel, strides: pool.strides, pads: pool.pads, dilations: pool.dilations)
    append(id, .maxPool(.init(input: x, output: try output(node.results[0]), window: window)))
  }
}
