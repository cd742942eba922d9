import IR
import Numerics
import Program
import Support
import Testing

@testable import Evaluator

/// `clamp(zeroPoint + floor(a * m / 2^s + 1/2))` by exact division, not by shifts.
private func expectedByte(
  _ accumulator: Int, _ m: Int, _ s: Int, _ zeroPoint: Int, _ minimum: Int, _ maximum: Int
) -> UInt8 {
  let wrapped = Int(Int32(truncatingIfNeeded: accumulator)), divisor = 1 << s
  let sum = wrapped * m + divisor / 2
  let quotient = sum / divisor - (sum % divisor < 0 ? 1 : 0)
  return UInt8(min(max(min(max(quotient, -1 << 30), (1 << 30) - 1) + zeroPoint, minimum), maximum))
}

@Suite("Integer operations against formulas")
struct IntegerTests {
  private let input = QuantizedType.activation(bits: 8, scale: 0.1, zeroPoint: 17)
  private let output = QuantizedType.activation(bits: 8, scale: 0.2, zeroPoint: 100)

  struct Case: Sendable {
    var shape: [Int]
    var outputs: Int
    var kernel: [Int]
    var strides = [1, 1]
    var pads = [0, 0, 0, 0]
    var dilations = [1, 1]
    var groups = 1
    var bits = 8
  }

  @Test(arguments: [
    Case(shape: [2, 3, 7, 6], outputs: 5, kernel: [3, 3], pads: [1, 1, 1, 1]),
    Case(shape: [1, 16, 8, 8], outputs: 20, kernel: [3, 3], strides: [2, 2], pads: [0, 1, 1, 0], bits: 4),
    Case(shape: [1, 9, 6, 6], outputs: 9, kernel: [3, 3], pads: [1, 1, 1, 1], groups: 9),
    Case(shape: [1, 8, 6, 6], outputs: 12, kernel: [3, 2], dilations: [2, 1], groups: 4),
    Case(shape: [2, 6, 5, 5], outputs: 12, kernel: [1, 1], groups: 2, bits: 3),
  ])
  func convolution(_ test: Case) throws {
    var random = SeededGenerator(20)
    let x = Tensor(test.shape, random.bytes(test.shape.reduce(1, *)), input)
    let weightShape = [test.outputs, test.shape[1] / test.groups] + test.kernel
    let limit = Int8((1 << (test.bits - 1)) - 1)
    let weights = (0..<weightShape.reduce(1, *)).map { _ in Int8.random(in: -limit...limit, using: &random) }
    let bias = (0..<test.outputs).map { _ in Int32.random(in: -3000...3000, using: &random) }
    let multiplier = (0..<test.outputs).map { _ in Int32.random(in: (1 << 30)...Int32.max, using: &random) }
    let shift = (0..<test.outputs).map { _ in Int32.random(in: 36...40, using: &random) }
    var op = IntegerConv2D()
    (op.kernel, op.strides, op.pads, op.dilations, op.groups) = (
      test.kernel, test.strides, test.pads, test.dilations, test.groups
    )
    (op.weightBits, op.output, op.minimum, op.maximum) = (test.bits, output, 20, 240)

    func run(_ op: IntegerConv2D, _ weights: Constant) throws -> Tensor {
      var graph = Graph(stage: .lowered)
      let values = [
        graph.addInput(
          "x", TensorType(Shape([.batch] + test.shape[1...].map { .known($0) }), .quantized(input))),
        graph.addConstant(weights), graph.addConstant(Constant("bias", [test.outputs], bias)),
        graph.addConstant(Constant("multiplier", [test.outputs], multiplier)),
        graph.addConstant(Constant("shift", [test.outputs], shift)),
      ]
      graph.addOutput(try graph.result(.integerConv2d(op), values, "y"))
      return try Evaluator(graph).run([x])[0]
    }
    let y = try run(op, Constant("w", weightShape, weights, bits: test.bits)), xs = x.bytes
    let expected = indices(y.shape).map { index -> UInt8 in
      var sum = Int(bias[index[1]])
      for c in 0..<weightShape[1] {
        for i in 0..<test.kernel[0] {
          for j in 0..<test.kernel[1] {
            let h = index[2] * test.strides[0] - test.pads[0] + i * test.dilations[0]
            let v = index[3] * test.strides[1] - test.pads[1] + j * test.dilations[1]
            let isInside = h >= 0 && h < test.shape[2] && v >= 0 && v < test.shape[3]
            let channel = index[1] / (test.outputs / test.groups) * weightShape[1] + c
            let value = isInside ? Int(xs[position([index[0], channel, h, v], test.shape)]) : 17
            sum += value * Int(weights[position([index[1], c, i, j], weightShape)])
          }
        }
      }
      return expectedByte(sum, Int(multiplier[index[1]]), Int(shift[index[1]]), 100, 20, 240)
    }
    #expect(y.bytes == expected)

    // The same weights packed for kernels.
    let isDepthwise = test.groups == test.shape[1] && test.outputs == test.shape[1]
    let geometry = ConvolutionGeometry(
      kind: isDepthwise ? .depthwise : test.bits <= 4 ? .dense4 : .dense8, inputChannels: test.shape[1],
      outputChannels: test.outputs, kernelHeight: test.kernel[0], kernelWidth: test.kernel[1],
      groups: test.groups)
    let packed = geometry.packed(weights)
    op.packing = isDepthwise ? .depthwisePanels : .panels
    #expect(try run(op, Constant("packed", [packed.count], packed)).bytes == expected)
    // In other layouts, those weights that they can hold.
    let layouts: [(Instruction.Convolution.Kind, WeightLayout)] = [
      (.dense2, .twoBitPanels), (.palette, .palettePanels), (.binary, .binaryPanels),
      (.ternary, .ternaryPanels),
    ]
    for (kind, layout) in layouts where !isDepthwise && (test.groups == 1 || !kind.isBitSerial) {
      let narrow = weights.map { weight in
        kind == .binary ? (weight < 0 ? -1 : 1) : max(-1, min(1, weight))
      }
      op.packing = .none
      let plain = try run(op, Constant("narrow", weightShape, narrow, bits: 8)).bytes
      var geometry = geometry
      geometry.kind = kind
      #expect(geometry.canHold(narrow))
      op.packing = layout
      let packed = geometry.packed(narrow)
      #expect(try run(op, Constant("packed", [packed.count], packed)).bytes == plain)
      #expect(throws: CompilerError.self) {
        try run(op, Constant("packed", [packed.count - 1], packed.dropLast()))
      }
    }
    op.packing = isDepthwise ? .depthwisePanels : .panels
    // Weights of the wrong size are an error, not a trap.
    #expect(throws: CompilerError.self) {
      try run(op, Constant("packed", [packed.count - 1], packed.dropLast()))
    }
  }

  @Test func products() throws {
    var random = SeededGenerator(21)
    let (n, k, o) = (3, 37, 11)
    let x = Tensor([n, k], random.bytes(n * k), input)
    let weights = (0..<o * k).map { _ in Int8.random(in: -127...127, using: &random) }
    let bias = (0..<o).map { _ in Int32.random(in: -90000...90000, using: &random) }
    let sums = indices([n, o]).map { index in
      (0..<k).reduce(Int(bias[index[1]])) {
        $0 + Int(x.bytes[index[0] * k + $1]) * Int(weights[index[1] * k + $1])
      }
    }
    var graph = Graph(stage: .lowered)
    let input = graph.addInput("x", TensorType(Shape([.batch, .known(k)]), .quantized(input)))
    let w = graph.addConstant(Constant("w", [o, k], weights, bits: 8)),
      b = graph.addConstant(Constant("b", [o], bias))
    let m = graph.addConstant(Constant("m", [o], [Int32](repeating: 1 << 30, count: o)))
    let s = graph.addConstant(Constant("s", [o], [Int32](repeating: 39, count: o)))
    let scale = random.floats(o, 0.001...0.1)
    let scales = graph.addConstant(Constant("scale", [o], scale))
    var gemm = IntegerGemm()
    gemm.output = output
    graph.addOutput(try graph.result(.integerGemm(gemm), [input, w, b, m, s], "y"))
    graph.addOutput(try graph.result(.integerGemmFloat(IntegerGemmFloat()), [input, w, b, scales], "z"))
    let results = try Evaluator(graph).run([x])
    #expect(results[0].bytes == sums.map { expectedByte($0, 1 << 30, 39, 100, 0, 255) })
    #expect(results[1].floats == sums.enumerated().map { scale[$0.offset % o] * Float($0.element) })
  }

  @Test func elementwise() throws {
    var random = SeededGenerator(22)
    let shape = [2, 3, 4, 5], other = QuantizedType.activation(bits: 6, scale: 0.3, zeroPoint: 30)
    let a = Tensor(shape, random.bytes(120), input), b = Tensor(shape, random.bytes(120, 0...63), other)
    var add = IntegerAdd()
    (add.multiplierA, add.multiplierB, add.shift, add.output, add.minimum) = (
      1_500_000, -700_000, 21, output, 50
    )
    let sum = try evaluate(.integerAdd(add), [a, b])[0]
    let expectedSum = zip(a.bytes, b.bytes).map { a, b -> UInt8 in
      let value = (Int(a) - 17) * 1_500_000 + (Int(b) - 30) * -700_000
      return expectedByte(value, 1, 21, 100, 50, 255)
    }
    #expect(sum.bytes == expectedSum)

    let gate = Tensor([2, 3, 1, 1], random.bytes(6, 0...63), other)
    var multiply = IntegerMultiply()
    (multiply.multiplier, multiply.shift, multiply.output) = (1_234_567_890, 36, output)
    for factor in [b, gate] {
      let product = try evaluate(.integerMultiply(multiply), [a, factor])[0]
      let repeats = 120 / factor.count
      #expect(
        product.bytes
          == (0..<120).map {
            expectedByte(
              (Int(a.bytes[$0]) - 17) * (Int(factor.bytes[$0 / repeats]) - 30), 1_234_567_890, 36, 100, 0, 255
            )
          })
    }

    let table = random.bytes(256)
    let looked = try evaluate(.lookup(Lookup()), [a, Tensor([256], table)], constants: [1])[0]
    #expect(looked.bytes == a.bytes.map { table[Int($0)] })
  }

  @Test(arguments: [false, true], [false, true])
  func averagePool(countPads: Bool, ceilMode: Bool) throws {
    var random = SeededGenerator(23)
    let x = Tensor([2, 3, 6, 7], random.bytes(252), input)
    var op = IntegerAveragePool()
    (op.kernel, op.strides, op.pads, op.output) = ([3, 2], [2, 2], [1, 0, 0, 1], output)
    (op.countPads, op.ceilMode) = (countPads, ceilMode)
    let factors = (1...6).compactMap { FixedPointMultiplier(0.5 / Double($0)) }
    let y = try evaluate(
      .integerAveragePool(op),
      [x, Tensor([6], factors.map(\.multiplier)), Tensor([6], factors.map(\.shift))], constants: [1, 2])[0]
    let expected = indices(y.shape).map { index -> UInt8 in
      var sum = 0, inside = 0, padded = 0
      for i in 0..<3 {
        for j in 0..<2 {
          let h = index[2] * 2 - 1 + i, w = index[3] * 2 + j
          if h < 6, w < 7 + 1 { padded += 1 }
          guard h >= 0, h < 6, w < 7 else { continue }
          inside += 1
          sum += Int(x.bytes[position([index[0], index[1], h, w], x.shape)]) - 17
        }
      }
      let factor = factors[(countPads ? padded : inside) - 1]
      return expectedByte(sum, Int(factor.multiplier), Int(factor.shift), 100, 0, 255)
    }
    #expect(y.bytes == expected)
  }

  @Test func borders() throws {
    var random = SeededGenerator(24)
    let floats = random.tensor([2, 3, 4], -30...30)
    var quantize = QuantizeLinear()
    quantize.output = input
    let stored = try evaluate(.quantizeLinear(quantize), [floats])[0]
    let parameters = AffineParameters(scale: 0.1, zeroPoint: 17)
    #expect(stored.bytes == floats.floats.map { UInt8(parameters.quantize($0, 0...255)) })
    let reals = try evaluate(.dequantizeLinear(DequantizeLinear()), [stored])[0]
    #expect(reals.floats == stored.bytes.map { parameters.dequantize(Int32($0)) })
    // Padding with a real number means its stored integer: zero is the zero point.
    var pad = Pad()
    pad.pads = [0, 1, 0, 0, 0, 0]
    #expect(try evaluate(.pad(pad), [stored])[0].bytes.prefix(4) == [17, 17, 17, 17])
    pad.value = 1.5
    #expect(try evaluate(.pad(pad), [stored])[0].bytes.prefix(4) == [32, 32, 32, 32])
  }
}
