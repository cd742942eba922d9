import Program
import TestSupport
import Testing

/// A program with every kind of instruction, for the reader and the writer.
func sampleProgram() throws -> Program {
  var builder = ProgramBuilder()
  var arena = 0
  func activation(
    _ name: Name, _ shape: [Int], border: Program.Tensor.Border = .none, bits: UInt8 = 8
  ) -> Int {
    let tensor = Program.Tensor.activation(
      name, shape: shape, arenaOffset: arena, border: border, scale: 0.05, zeroPoint: 3, bits: bits)
    arena += roundedUp(tensor.byteCount, to: 64)
    return builder.addTensor(tensor)
  }
  let clamp = Instruction.Clamp(0, 255)
  func weights(_ count: Int, _ largest: Int) -> [Int8] {
    (0..<count).map { Int8($0 * 7 % (2 * largest + 1) - largest) }
  }
  func numbers(_ count: Int, _ value: Int32) -> [Int32] { [Int32](repeating: value, count: count) }

  let image = builder.addTensor(.real("image", shape: [3, 8, 6], storage: .input(0)))
  let x = activation("image.q", [3, 8, 6])
  builder.append("quantize", .quantize(.init(input: image, output: x)))
  let c1 = activation("conv1", [6, 8, 6], border: .init(top: 1, left: 2, bottom: 3, right: 4))
  builder.appendConvolution(
    "conv1", input: x, output: c1, window: .init(kernel: [3, 3], pads: [1, 1, 1, 1]), weightBits: 8,
    weights: weights(6 * 27, 127), bias: numbers(6, 100), multiplier: numbers(6, 1 << 30),
    shift: numbers(6, 40),
    clamp: clamp)
  let c2 = activation("conv2", [6, 8, 6])
  builder.appendConvolution(
    "conv2", input: c1, output: c2, window: .init(kernel: [3, 3], pads: [1, 1, 1, 1]), groups: 2,
    weightBits: 4,
    weights: weights(6 * 27, 7), bias: numbers(6, 9), multiplier: numbers(6, 1 << 30), shift: numbers(6, 37),
    clamp: clamp)
  let c3 = activation("depthwise", [6, 8, 6])
  builder.appendConvolution(
    "depthwise", input: c2, output: c3, window: .init(kernel: [3, 3], pads: [1, 1, 1, 1]), groups: 6,
    weightBits: 8,
    weights: weights(6 * 9, 127), bias: numbers(6, 9), multiplier: numbers(6, 1 << 30), shift: numbers(6, 40),
    clamp: clamp)
  var last = c3
  for kind in [Instruction.Convolution.Kind.dense2, .palette, .binary, .ternary] {
    let few = activation("few", [6, 8, 6], bits: 2)
    let table = builder.addData((0..<256).map { UInt8($0 / 64) })
    builder.append("few", .lookup(.init(input: last, output: few, table: table)))
    let y = activation("narrow", [6, 8, 6])
    builder.appendConvolution(
      "narrow", input: few, output: y, window: .init(kernel: [1, 1]), weightBits: 2, kind: kind,
      weights: (0..<36).map { kind == .binary || $0 % 3 > 0 ? Int8($0 % 2 * 2 - 1) : 0 }, bias: numbers(6, 9),
      multiplier: numbers(6, 1 << 30), shift: numbers(6, 35), clamp: clamp)
    last = y
  }
  let sum = activation("sum", [6, 8, 6])
  builder.append(
    "sum",
    .add(
      .init(
        a: c1, b: last, output: sum, multiplierA: 1 << 20, multiplierB: -(1 << 19), shift: 20, clamp: clamp)
    ))
  let product = activation("product", [6, 8, 6])
  builder.append(
    "product", .multiply(.init(a: sum, b: c2, output: product, multiplier: 1 << 30, shift: 36, clamp: clamp)))
  let pooled = activation("pooled", [6, 4, 3])
  builder.append(
    "pooled",
    .maxPool(.init(input: product, output: pooled, window: .init(kernel: [2, 2], strides: [2, 2]))))
  let curved = activation("curved", [6, 4, 3])
  let table = builder.addData((0..<256).map { UInt8($0 / 2) })
  builder.append("curved", .lookup(.init(input: pooled, output: curved, table: table)))
  let shuffled = activation("shuffled", [6, 3, 4])
  let views = (
    StridedView(builder.tensors[curved]).permuted([0, 2, 1]), StridedView(builder.tensors[shuffled])
  )
  builder.append(
    "shuffled",
    .copy(try #require(Instruction.Copy(from: views.0, of: curved, to: views.1, of: shuffled, fill: 3))))
  let mean = activation("mean", [6])
  builder.appendAveragePool(
    "mean", input: shuffled, output: mean, window: .init(kernel: [3, 4]), countsPads: false,
    multiplier: (1...12).map { (1 << 30) / $0 }, shift: numbers(12, 30), clamp: clamp)
  let logits = builder.addTensor(.real("logits", shape: [6], storage: .arena(offset: arena)))
  arena += 64
  builder.append("dequantize", .dequantize(.init(input: mean, output: logits)))
  let scores = builder.addTensor(.real("scores", shape: [5], storage: .output(1)))
  builder.appendFloatProduct(
    "scores", input: mean, output: scores, weightBits: 4, weights: weights(30, 7), bias: numbers(5, 7),
    scale: [0.5, 0.25, 1, 2, 3])
  let probabilities = builder.addTensor(.real("probabilities", shape: [6], storage: .output(0)))
  builder.append(
    "softmax", .softmax(.init(input: logits, output: probabilities, outer: 1, extent: 6, inner: 1)))
  builder.metadata["producer"] = "qcc test"
  builder.metadata["target"] = "name: test\nbits: \"8\"\n"
  builder.goldenVectors = [
    .init(
      inputs: [(0..<144).map { UInt8($0) }],
      outputs: [[0, 0.25, 0.5, -1, .infinity, 1e-20], [1, 2, 3, 4, 5]])
  ]
  builder.report = "all is well"
  return try builder.finish(arenaBytes: arena)
}
