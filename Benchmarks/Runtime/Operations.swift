import KernelInterface
import Program
import Runtime

/// A program of operations that do not depend on one another, each on tensors of its own.
private struct OperationSuite {
  var builder = ProgramBuilder()
  private(set) var arena = 0
  private var outputs = 0

  mutating func activation(_ shape: [Int]) -> Int {
    let tensor = Program.Tensor.activation("", shape: shape, arenaOffset: arena, scale: 0.05, zeroPoint: 3)
    arena += roundedUp(tensor.byteCount, to: 64)
    return builder.addTensor(tensor)
  }

  mutating func output(_ count: Int) -> Int {
    outputs += 1
    return builder.addTensor(.real("", shape: [count], storage: .output(outputs - 1)))
  }

  mutating func appendQuantize(_ name: String, _ input: Int, _ shape: [Int], channelsLast: Bool = false) {
    let real = channelsLast ? [shape[1], shape[2], shape[0]] : shape
    let x = builder.addTensor(.real("", shape: real, storage: .input(input)))
    builder.append(
      name, .quantize(.init(input: x, output: activation(shape), inputIsChannelsLast: channelsLast)))
  }

  /// A matrix product with results in f32, or in bytes.
  mutating func appendProduct(_ inputs: Int, _ outputs: Int, bits: Int, bytes: Bool = false) {
    let x = activation([inputs, 1, 1])
    let weights = (0..<inputs * outputs).map { Int8(truncatingIfNeeded: $0 * 7 % 15 - 7) }
    let numbers = [Int32](repeating: 1 << 30 | 1 << 7, count: outputs)
    if bytes {
      builder.appendConvolution(
        "\(inputs)-\(outputs), \(bits) bits, to bytes", input: x, output: activation([outputs, 1, 1]),
        window: .init(kernel: [1, 1]), weightBits: bits, weights: weights, bias: numbers, multiplier: numbers,
        shift: [Int32](repeating: 42, count: outputs), clamp: .init(0, 255))
    } else {
      builder.appendFloatProduct(
        "\(inputs)-\(outputs), \(bits) bits", input: x, output: output(outputs), weightBits: bits,
        weights: weights, bias: numbers, scale: [Float](repeating: 0.5, count: outputs))
    }
  }

  mutating func appendAdd(_ shape: [Int], multiplier: Int32) {
    builder.append(
      "\(text(shape)), multipliers below \(multiplier > 1 << 15 ? "2^21" : "2^15")",
      .add(
        .init(
          a: activation(shape), b: activation(shape), output: activation(shape), multiplierA: multiplier - 77,
          multiplierB: multiplier / 2 + 33, shift: multiplier > 1 << 15 ? 21 : 15, clamp: .init(0, 255))))
  }

  mutating func appendPool(_ channels: Int, _ size: Int, kernel: Int, stride: Int, pad: Int = 0, isMax: Bool)
  {
    let window = Instruction.Window(
      kernel: [kernel, kernel], strides: [stride, stride], pads: [pad, pad, pad, pad])
    let result = (size + 2 * pad - kernel) / stride + 1
    let x = activation([channels, size, size]), y = activation([channels, result, result])
    let name = "\(kernel)x\(kernel)/\(stride) of \(channels)x\(size)x\(size)"
    if isMax {
      builder.append(name, .maxPool(.init(input: x, output: y, window: window)))
    } else {
      builder.appendAveragePool(
        name, input: x, output: y, window: window, countsPads: true,
        multiplier: [Int32](repeating: 1 << 30, count: kernel * kernel),
        shift: [Int32](repeating: 35, count: kernel * kernel), clamp: .init(0, 255))
    }
  }

  mutating func appendLookup(_ shape: [Int]) {
    let table = builder.addData((0..<256).map { UInt8($0 * 77 % 256) })
    builder.append(
      text(shape), .lookup(.init(input: activation(shape), output: activation(shape), table: table)))
  }

  mutating func appendMultiply(_ shape: [Int], broadcast: Bool) {
    builder.append(
      "\(text(shape))\(broadcast ? " by channel" : "")",
      .multiply(
        .init(
          a: activation(shape), b: activation(broadcast ? [shape[0], 1, 1] : shape),
          output: activation(shape), multiplier: 1 << 30, shift: 36, clamp: .init(0, 255))))
  }

  /// The shortcut of a CIFAR residual network: every second pixel, with channels added.
  mutating func appendShortcut(_ channels: Int, _ size: Int) {
    let x = activation([channels, size, size]), y = activation([channels, size / 2, size / 2])
    let z = activation([2 * channels, size / 2, size / 2]), half = size / 2
    builder.append(
      "every second pixel of \(channels)x\(size)x\(size)",
      .copy(
        .init(
          input: x, output: y, inputOffset: 0, outputOffset: 0,
          dimensions: [
            .init(extent: half, inputStride: 2 * size * channels, outputStride: half * channels),
            .init(extent: half, inputStride: 2 * channels, outputStride: channels),
            .init(extent: channels, inputStride: 1, outputStride: 1),
          ])))
    builder.append(
      "\(channels) to \(2 * channels) channels @\(half)",
      .copy(
        .init(
          input: y, output: z, inputOffset: 0, outputOffset: channels / 2,
          dimensions: [
            .init(extent: half * half, inputStride: channels, outputStride: 2 * channels),
            .init(extent: channels, inputStride: 1, outputStride: 1),
          ], fill: 3)))
  }

  mutating func appendDequantize(_ shape: [Int]) {
    outputs += 1
    let y = builder.addTensor(.real("", shape: shape, storage: .output(outputs - 1)))
    builder.append(text(shape), .dequantize(.init(input: activation(shape), output: y)))
  }

  mutating func appendSoftmax(_ count: Int) {
    let x = builder.addTensor(.real("", shape: [count], storage: .arena(offset: arena)))
    arena += roundedUp(4 * count, to: 64)
    builder.append(
      "\(count)", .softmax(.init(input: x, output: output(count), outer: 1, extent: count, inner: 1)))
  }

  private func text(_ shape: [Int]) -> String { shape.map { "\($0)" }.joined(separator: "x") }
}

/// The fastest of many runs of every operation, each in a program of its own: its operands stay in the caches that hold
/// them.
func operationReport(_ features: CPUFeatures, where isWanted: (String) -> Bool) throws -> [String] {
  var lines: [String] = []
  func measure(_ append: (inout OperationSuite) -> Void) throws {
    var suite = OperationSuite()
    append(&suite)
    _ = suite.output(1)
    let program = try suite.builder.finish(arenaBytes: suite.arena)
    guard
      program.instructions.contains(where: {
        isWanted($0.name.description) || isWanted($0.operation.mnemonic)
      })
    else { return }
    let interpreter = Interpreter(program, features: features)
    let inputs = interpreter.inputNumbers.map { number in
      (0..<interpreter.inputCount(number)).map { Float($0 * 37 % 255) / 20 - 3 }
    }
    for timing in try interpreter.profile(inputs, runs: 1000) {
      let microseconds = Double(timing.nanoseconds) / 1000
      let rate =
        timing.products == 0
        ? "" : "\(Int(2 * Double(timing.products) / Double(timing.nanoseconds))) GOPS"
      lines.append(
        column(timing.mnemonic, 18) + column(timing.name.description, 46)
          + column("\(microseconds) µs", 14) + rate)
    }
  }
  try measure { $0.appendQuantize("3x224x224", 0, [3, 224, 224]) }
  try measure { $0.appendQuantize("3x32x32", 0, [3, 32, 32]) }
  try measure { $0.appendQuantize("1x28x28", 0, [1, 28, 28]) }
  try measure { $0.appendQuantize("4x64x64", 0, [4, 64, 64]) }
  try measure { $0.appendQuantize("224x224x3", 0, [3, 224, 224], channelsLast: true) }
  for bits in [8, 4] {
    try measure { $0.appendProduct(64, 10, bits: bits) }
    try measure { $0.appendProduct(512, 512, bits: bits) }
    try measure { $0.appendProduct(1280, 1000, bits: bits) }
    try measure { $0.appendProduct(1280, 1000, bits: bits, bytes: true) }
    try measure { $0.appendProduct(2048, 1000, bits: bits) }
    try measure { $0.appendProduct(4096, 4096, bits: bits, bytes: true) }
    try measure { $0.appendProduct(8192, 8192, bits: bits, bytes: true) }
  }
  try measure { $0.appendPool(1280, 7, kernel: 7, stride: 7, isMax: false) }
  try measure { $0.appendPool(64, 8, kernel: 8, stride: 8, isMax: false) }
  try measure { $0.appendPool(64, 56, kernel: 2, stride: 2, isMax: false) }
  try measure { $0.appendPool(32, 28, kernel: 2, stride: 2, isMax: true) }
  try measure { $0.appendPool(64, 112, kernel: 3, stride: 2, pad: 1, isMax: true) }
  try measure { $0.appendAdd([16, 32, 32], multiplier: 1 << 21) }
  try measure { $0.appendAdd([16, 32, 32], multiplier: 1 << 15) }
  try measure { $0.appendMultiply([96, 28, 28], broadcast: true) }
  try measure { $0.appendMultiply([16, 32, 32], broadcast: false) }
  try measure { $0.appendLookup([16, 32, 32]) }
  try measure { $0.appendShortcut(16, 32) }
  try measure { $0.appendShortcut(32, 16) }
  try measure { $0.appendDequantize([64, 14, 14]) }
  try measure { $0.appendDequantize([1000]) }
  try measure { $0.appendSoftmax(1000) }
  return lines
}
