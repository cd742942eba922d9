import IR
import Numerics

/// An integer operation whose operands are not what its type promises: a defect of an earlier step.
struct IntegerOperandError: Error, CustomStringConvertible {
  let description: String
}

/// The integer operations of a lowered graph, by the reference definitions in `Numerics`, sample after sample on row-major
/// memory.
extension EvaluationContext {
  private func activation(_ tensor: Tensor) throws(IntegerOperandError) -> (scale: Float, zeroPoint: Int32) {
    guard case .quantized(let type) = tensor.element, !type.isSigned, let scale = type.scale else {
      throw IntegerOperandError(description: "the operand is \(tensor.element), not a quantized activation")
    }
    return (scale, type.zeroPoint)
  }
  private func clamp(_ minimum: Int, _ maximum: Int, _ output: QuantizedType) -> OutputClamp {
    OutputClamp(zeroPoint: output.zeroPoint, minimum: Int32(minimum), maximum: Int32(maximum))
  }

  func quantizeLinear(_ op: QuantizeLinear, _ operands: inout [Tensor], _ result: Result) -> Tensor {
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    let x = operands[0], y = make(result), type = op.output
    let range: ClosedRange<Int32> = 0...((1 << Int32(type.bits)) - 1)
    AffineParameters(scale: type.scale ?? 1, zeroPoint: type.zeroPoint).quantize(
      x.pointer(), y.pointer(), x.count, range)
    return y
  }

  func dequantizeLinear(_ operands: inout [Tensor], _ result: Result) throws(IntegerOperandError) -> Tensor {
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    let type = try activation(operands[0]), x = operands[0], y = make(result)
    let parameters = AffineParameters(scale: type.scale, zeroPoint: type.zeroPoint)
    let source = x.pointer(UInt8.self), target = y.pointer(Float.self)
    for i in 0..<x.count { target[i] = parameters.dequantize(Int32(source[i])) }
    return y
  }

  func integerConvolution(
    _ step: Evaluator.Step, _ op: IntegerConv2D, _ operands: inout [Tensor], _ result: Result
  ) throws(IntegerOperandError) -> Tensor {
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    let x = operands[0], y = make(result), type = try activation(x)
    var convolution = ReferenceConvolution(
      channels: x.shape[1], height: x.shape[2], width: x.shape[3], outputs: y.shape[1], rows: y.shape[2],
      columns: y.shape[3])
    convolution.groups = op.groups
    convolution.kernel = (op.kernel[0], op.kernel[1])
    convolution.stride = (op.strides[0], op.strides[1])
    convolution.dilation = (op.dilations[0], op.dilations[1])
    convolution.padding = (op.pads[0], op.pads[1])
    let shape = WeightShape(
      outputs: y.shape[1], groups: op.groups, channels: x.shape[1] / op.groups,
      taps: op.kernel[0] * op.kernel[1])
    try run(
      convolution, step, shape, op.packing, bits: op.weightBits, type.zeroPoint,
      clamp(op.minimum, op.maximum, op.output), operands, y)
    return y
  }

  func integerProduct(
    _ step: Evaluator.Step, _ op: IntegerGemm, _ operands: inout [Tensor], _ result: Result
  ) throws(IntegerOperandError) -> Tensor {
    let x = operands[0], y = make(result), type = try activation(x)
    // A matrix product is a convolution of one pixel.
    let convolution = ReferenceConvolution(
      channels: x.shape[1], height: 1, width: 1, outputs: y.shape[1], rows: 1, columns: 1)
    let shape = WeightShape(outputs: y.shape[1], groups: 1, channels: x.shape[1], taps: 1)
    try run(
      convolution, step, shape, op.packing, bits: op.weightBits, type.zeroPoint,
      clamp(op.minimum, op.maximum, op.output), operands, y)
    return y
  }

  func integerProduct(
    _ step: Evaluator.Step, _ op: IntegerGemmFloat, _ operands: inout [Tensor], _ result: Result
  ) throws(IntegerOperandError) -> Tensor {
    let x = operands[0], y = make(result), depth = x.shape[1], outputs = y.shape[1]
    _ = try activation(x)
    let shape = WeightShape(outputs: outputs, groups: 1, channels: depth, taps: 1)
    let weights = try weights(step, operands[1], shape, op.packing, bits: op.weightBits)
    weights.withUnsafeBufferPointer { weights in
      guard let weights = weights.baseAddress else { return }
      for sample in 0..<x.shape[0] {
        referenceProduct(
          x.pointer() + sample * depth, depth: depth, weights: weights, outputs: outputs,
          bias: operands[2].pointer(),
          scale: operands[3].pointer(), to: y.pointer() + sample * outputs)
      }
    }
    return y
  }

  /// The logical weights, kept for later runs when they are constant.
  private func weights(
    _ step: Evaluator.Step, _ tensor: Tensor, _ shape: WeightShape, _ packing: WeightLayout, bits: Int
  ) throws(IntegerOperandError) -> [Int16] {
    guard step.isConstant[1] else { return try unpacked(tensor, shape, packing, bits: bits) }
    return try primitives.weights(step.id) { () throws(IntegerOperandError) in
      try unpacked(tensor, shape, packing, bits: bits)
    }
  }

  private func run(
    _ convolution: ReferenceConvolution, _ step: Evaluator.Step, _ shape: WeightShape,
    _ packing: WeightLayout, bits: Int,
    _ zeroPoint: Int32, _ output: OutputClamp, _ operands: [Tensor], _ y: Tensor
  ) throws(IntegerOperandError) {
    var convolution = convolution
    convolution.inputZeroPoint = UInt8(truncatingIfNeeded: zeroPoint)
    convolution.outputZeroPoint = output.zeroPoint
    convolution.minimum = output.minimum
    convolution.maximum = output.maximum
    let shifts = operands[4].pointer(Int32.self)
    guard (0..<convolution.outputs).allSatisfy({ (1...62).contains(shifts[$0]) }) else {
      throw IntegerOperandError(description: "a shift is not 1 to 62")
    }
    let weights = try weights(step, operands[1], shape, packing, bits: bits)
    let x = operands[0], inputSize = x.shape[1...].reduce(1, *), outputSize = y.shape[1...].reduce(1, *)
    weights.withUnsafeBufferPointer { weights in
      guard let weights = weights.baseAddress else { return }
      for sample in 0..<x.shape[0] {
        convolution.run(
          x.pointer(UInt8.self) + sample * inputSize, weights: weights, bias: operands[2].pointer(),
          multiplier: operands[3].pointer(), shift: shifts, to: y.pointer(UInt8.self) + sample * outputSize)
      }
    }
  }

  func integerAdd(
    _ op: IntegerAdd, _ operands: inout [Tensor], _ result: Result
  ) throws(IntegerOperandError) -> Tensor {
    for i in 0...1 { operands[i] = operands[i].ordered(.rowMajor, pool: pool) }
    let a = try activation(operands[0]), b = try activation(operands[1]), y = make(result)
    referenceAdd(
      operands[0].pointer(), zeroPoint: a.zeroPoint, multiplier: Int32(op.multiplierA), operands[1].pointer(),
      zeroPoint: b.zeroPoint, multiplier: Int32(op.multiplierB), shift: Int32(op.shift),
      clamp(op.minimum, op.maximum, op.output), to: y.pointer(), count: y.count)
    return y
  }

  func integerMultiply(
    _ op: IntegerMultiply, _ operands: inout [Tensor], _ result: Result
  ) throws(IntegerOperandError) -> Tensor {
    for i in 0...1 { operands[i] = operands[i].ordered(.rowMajor, pool: pool) }
    let a = try activation(operands[0]), b = try activation(operands[1]), y = make(result)
    referenceMultiply(
      operands[0].pointer(), zeroPoint: a.zeroPoint, operands[1].pointer(), zeroPoint: b.zeroPoint,
      run: max(operands[0].count / max(operands[1].count, 1), 1), multiplier: Int32(op.multiplier),
      shift: Int32(op.shift),
      clamp(op.minimum, op.maximum, op.output), to: y.pointer(), count: y.count)
    return y
  }

  func integerAveragePool(
    _ op: IntegerAveragePool, _ operands: inout [Tensor], _ result: Result
  ) throws(IntegerOperandError) -> Tensor {
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    let x = operands[0], y = make(result)
    var pool = ReferenceAveragePool(
      height: x.shape[2], width: x.shape[3], rows: y.shape[2], columns: y.shape[3])
    pool.kernel = (op.kernel[0], op.kernel[1])
    pool.stride = (op.strides[0], op.strides[1])
    pool.padding = (op.pads[0], op.pads[1], op.pads[2], op.pads[3])
    pool.countsPadding = op.countPads
    pool.inputZeroPoint = try activation(x).zeroPoint
    let shifts = operands[2].pointer(Int32.self)
    guard (0..<operands[2].count).allSatisfy({ (1...62).contains(shifts[$0]) }) else {
      throw IntegerOperandError(description: "a shift is not 1 to 62")
    }
    for plane in 0..<x.shape[0] * x.shape[1] {
      pool.run(
        x.pointer() + plane * x.shape[2] * x.shape[3], multiplier: operands[1].pointer(), shift: shifts,
        clamp(op.minimum, op.maximum, op.output), to: y.pointer() + plane * y.shape[2] * y.shape[3])
    }
    return y
  }

  func lookup(_ operands: inout [Tensor], _ result: Result) -> Tensor {
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    let y = make(result)
    referenceLookup(operands[0].pointer(), table: operands[1].pointer(), to: y.pointer(), count: y.count)
    return y
  }
}

/// The logical weights [groups * outputs per group, channels per group, taps] of an integer operation.
struct WeightShape {
  var outputs: Int
  var groups: Int
  var channels: Int
  var taps: Int
}

/// The weights of an integer operation, row-major and widened, from whatever packing they have.
private func unpacked(
  _ tensor: Tensor, _ shape: WeightShape, _ packing: WeightLayout, bits: Int
) throws(IntegerOperandError) -> [Int16] {
  let bytes = tensor.bytes
  let outputs = shape.outputs / shape.groups
  switch packing {
  case .none:
    guard bytes.count == shape.outputs * shape.channels * shape.taps else { throw sizeError(bytes.count) }
    return bytes.map { Int16(Int8(bitPattern: $0)) }
  case .depthwisePanels:
    let size = WeightPacking.panels(shape.outputs) * WeightPacking.steps(shape.taps) * 64
    guard shape.channels == 1, bytes.count == size else { throw sizeError(bytes.count) }
    return WeightPacking.unpack8(bytes, channels: shape.outputs, rowLength: shape.taps).map { Int16($0) }
  case .panels where bits <= 4:
    return try unpacked(bytes, shape, 4, panel: { WeightPacking.evenSteps($0) * 32 }) {
      WeightPacking.unpack4($0, channels: outputs, rowLength: $1)
    }
  case .panels:
    return try unpacked(bytes, shape, 4, panel: { WeightPacking.steps($0) * 64 }) {
      WeightPacking.unpack8($0, channels: outputs, rowLength: $1)
    }
  case .twoBitPanels:
    return try unpacked(bytes, shape, 4, panel: { WeightPacking.quadSteps($0) * 16 }) {
      WeightPacking.unpack2($0, channels: outputs, rowLength: $1)
    }
  case .palettePanels:
    return try unpacked(bytes, shape, 4, panel: WeightPacking.palettePanelBytes) {
      WeightPacking.unpackPalette($0, channels: outputs, rowLength: $1)
    }
  case .binaryPanels:
    return try unpacked(bytes, shape, WeightPacking.bitsPerStep, panel: { $0 * 2 }) {
      WeightPacking.unpackBinary($0, channels: outputs, rowLength: $1)
    }
  case .ternaryPanels:
    return try unpacked(bytes, shape, WeightPacking.bitsPerStep, panel: { $0 * 4 }) {
      WeightPacking.unpackTernary($0, channels: outputs, rowLength: $1)
    }
  }
}

/// Weights from panels: every tap holds its channels, rounded up to `multiple`; every group has panels of its own.
private func unpacked(
  _ bytes: [UInt8], _ shape: WeightShape, _ multiple: Int, panel: (_ rowLength: Int) -> Int,
  _ rows: (_ part: [UInt8], _ rowLength: Int) -> [Int8]
) throws(IntegerOperandError) -> [Int16] {
  let outputs = shape.outputs / shape.groups
  let tapLength = (shape.channels + multiple - 1) / multiple * multiple, rowLength = tapLength * shape.taps
  let size = WeightPacking.panels(outputs) * panel(rowLength)
  guard bytes.count == size * shape.groups else { throw sizeError(bytes.count) }
  var result: [Int16] = []
  for group in 0..<shape.groups {
    let rows = rows(Array(bytes[(group * size)..<((group + 1) * size)]), rowLength)
    for output in 0..<outputs {
      for channel in 0..<shape.channels {
        for tap in 0..<shape.taps {
          result.append(Int16(rows[output * rowLength + tap * tapLength + channel]))
        }
      }
    }
  }
  return result
}

private func sizeError(_ count: Int) -> IntegerOperandError {
  IntegerOperandError(
    description: "the weights hold \(count) bytes, which does not fit the operation's sizes and packing")
}
