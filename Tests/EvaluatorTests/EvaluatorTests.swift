import Foundation
import IR
import Importer
import Support
import Synchronization
import Testing

@testable import Evaluator

@Suite("Evaluator")
struct EvaluatorTests {
  /// Two convolutions, a shortcut, pooling, a product.
  private func network() throws -> Graph {
    var random = SeededGenerator(40), graph = Graph()
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(32), .known(32)]), .f32))
    func constant(_ name: String, _ shape: [Int]) -> ValueID {
      graph.addConstant(Constant(name, shape, random.floats(shape.reduce(1, *), -0.5...0.5)))
    }
    var conv = Conv2D()
    (conv.pads, conv.activation) = ([1, 1, 1, 1], .relu)
    let a = try graph.result(.conv2d(conv), [x, constant("w1", [16, 3, 3, 3]), constant("b1", [16])], "a")
    let b = try graph.result(.conv2d(conv), [a, constant("w2", [16, 16, 3, 3])], "b")
    let c = try graph.result(.binary(Binary(.add)), [a, b], "c")
    let d = try graph.result(.unary(Unary(.relu)), [c], "d")
    let e = try graph.result(.globalAveragePool(GlobalAveragePool()), [d], "e")
    let f = try graph.result(.flatten(Flatten()), [e], "f")
    var gemm = Gemm()
    gemm.transposeB = true
    graph.addOutput(try graph.result(.gemm(gemm), [f, constant("w3", [10, 16]), constant("b3", [10])], "y"))
    graph.addOutput(c)
    return graph
  }

  @Test func threadsDoNotChangeBits() throws {
    let graph = try network()
    var random = SeededGenerator(41)
    let x = random.tensor([77, 3, 32, 32])
    let one = try Evaluator(graph, threads: 1).run([x])
    let many = try Evaluator(graph, threads: 4)
    for _ in 0..<3 {
      for (a, b) in zip(one, try many.run([x])) { #expect(a.shape == b.shape && a.bytes == b.bytes) }
    }
    // Samples delivered chunk by chunk, here as shared slices.
    let streamed = try many.run(sampleCount: 77) { [x.samples($0)] }
    for (a, b) in zip(one, streamed) { #expect(a.bytes == b.bytes) }
    #expect(
      x.floats
        == {
          var random = SeededGenerator(41); return random.tensor([77, 3, 32, 32])
        }().floats, "the input changed")
  }

  @Test func observersSeeEveryValue() throws {
    let graph = try network()
    var random = SeededGenerator(42)
    let x = random.tensor([20, 3, 32, 32]), evaluator = try Evaluator(graph, threads: 3)
    var order: [ValueID] = [], parts: [ValueID: [Float]] = [:], kept: [Tensor] = []
    let results = try evaluator.run([x]) { value, tensor in
      order.append(value)
      parts[value, default: []] += tensor.floats
      kept.append(tensor)
    }
    let values = graph.inputs + graph.order.flatMap { graph[$0].results }
    #expect(order.count % values.count == 0 && Array(order.prefix(values.count)) == values)
    #expect(parts[graph.outputs[0]] == results[0].floats && parts[graph.outputs[1]] == results[1].floats)
    #expect(parts[graph.inputs[0]] == x.floats)
    // Tensors that an observer keeps are not overwritten later.
    var again: [ValueID: [Float]] = [:]
    for (value, tensor) in zip(order, kept) { again[value, default: []] += tensor.floats }
    #expect(again == parts)

    let seen = Mutex<[ValueID: [Int]]>([:]), expected = parts
    let concurrent = try evaluator.run(
      [x],
      concurrently: { observation in
        let tensor = observation.tensor
        #expect(tensor.shape[0] == observation.samples.count)
        #expect(
          Array(
            expected[observation.value]?.dropFirst(
              observation.samples.lowerBound * (tensor.count / tensor.shape[0])
            ).prefix(tensor.count) ?? []) == tensor.floats)
        seen.withLock { $0[observation.value, default: []] += Array(observation.samples) }
      })
    #expect(concurrent[0].bytes == results[0].bytes)
    #expect(values.allSatisfy { value in seen.withLock { $0[value]?.sorted() == Array(0..<20) } })

    seen.withLock { $0 = [:] }
    try evaluator.observe(
      sampleCount: 20, inputs: { [x.samples($0)] },
      concurrently: { observation in
        seen.withLock { $0[observation.value, default: []] += Array(observation.samples) }
      })
    #expect(values.allSatisfy { value in seen.withLock { $0[value]?.sorted() == Array(0..<20) } })
  }

  @Test func channelPiecesCoverTheTensor() throws {
    let graph = try network()
    var random = SeededGenerator(43)
    _ = try Evaluator(graph, threads: 1).run([random.tensor([2, 3, 32, 32])]) { _, tensor in
      guard tensor.shape.count >= 2 else { return }
      var sums = [Float](repeating: 0, count: tensor.shape[1])
      tensor.forEachChannelPiece { channel, base, count, stride in
        for i in 0..<count { sums[channel] += base[i * stride] }
      }
      var expected = sums.map { _ in Float(0) }
      let area = tensor.shape.dropFirst(2).reduce(1, *)
      for (offset, value) in tensor.floats.enumerated() { expected[offset / area % sums.count] += value }
      #expect(relativeError(sums, expected) < 1e-4)
    }
  }

  @Test func wrongInputsAreErrors() throws {
    let evaluator = try Evaluator(try network())
    #expect(throws: CompilerError.self) { try evaluator.run([]) }
    #expect(throws: CompilerError.self) {
      try evaluator.run([Tensor([1, 3, 32, 31], [Float](repeating: 0, count: 3 * 32 * 31))])
    }
    #expect(throws: CompilerError.self) { try evaluator.run([Tensor([3], [1, 2, 3] as [Float])]) }
    #expect(throws: CompilerError.self) {
      try evaluator.run([Tensor([1, 3, 32, 32], [Int32](repeating: 0, count: 3072))])
    }
    #expect(throws: CompilerError.self) { try evaluator.run(sampleCount: 9) { _ in [] } }
  }

  @Test func fixedBatchesRunGroupByGroup() throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType([2, 3], .f32))
    var softmax = Softmax()
    softmax.axis = 0
    graph.addOutput(try graph.result(.softmax(softmax), [x], "y"))
    let y = try Evaluator(graph, threads: 2).run([Tensor([4, 3], [Float](repeating: 1, count: 12))])[0]
    #expect(y.shape == [4, 3] && y.floats == [Float](repeating: 0.5, count: 12))
    #expect(throws: CompilerError.self) {
      try Evaluator(graph).run([Tensor([3, 3], [Float](repeating: 1, count: 9))])
    }
  }

  @Test func samplesThatDependOnOneAnotherAreNotCut() throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(2)]), .f32))
    var mean = Reduce(.mean)
    mean.axes = [0]
    let center = try graph.result(.reduce(mean), [x], "mean")
    graph.addOutput(try graph.result(.binary(Binary(.subtract)), [x, center], "y"))
    let values = (0..<400).map { Float($0) }
    let y = try Evaluator(graph, threads: 2).run([Tensor([200, 2], values)])[0]
    #expect(relativeError(y.floats, values.enumerated().map { $1 - ($0 % 2 == 0 ? 199 : 200) }) < 1e-6)
  }

  @Test func samplesThatMeetAreNotCut() throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(1)]), .f32))
    var transpose = Transpose()
    transpose.permutation = [1, 0]
    let row = try graph.result(.transpose(transpose), [x], "row")
    let table = try graph.result(.binary(Binary(.subtract)), [x, row], "table")
    var sum = Reduce(.maximum)
    sum.axes = [1]
    graph.addOutput(try graph.result(.reduce(sum), [table], "y"))
    let y = try Evaluator(graph, threads: 2).run([Tensor([300, 1], (0..<300).map { Float($0) })])[0]
    #expect(y.floats == (0..<300).map { Float($0) })
  }

  @Test func operandsThatDoNotFitAreErrors() throws {
    let floats = Tensor([2, 3], [1, 2, 3, 4, 5, 6] as [Float]),
      bytes = Tensor([2, 3], [1, 2, 3, 4, 5, 6] as [UInt8])
    #expect(throws: CompilerError.self) { try evaluate(.binary(Binary(.add)), [floats, bytes]) }
    #expect(throws: CompilerError.self) { try evaluate(.select(Select()), [floats, floats, floats]) }
    #expect(throws: CompilerError.self) {
      try evaluate(.matMul(MatMul()), [bytes, Tensor([3, 1], [1, 2, 3] as [UInt8])])
    }
    #expect(throws: CompilerError.self) {
      try evaluate(.layerNorm(LayerNorm()), [floats, Tensor([2], [1, 2] as [Float])])
    }
    var shape = ConstantOfShape()
    shape.value = 1
    let huge = Tensor([3], [1 << 20, 1 << 20, 1 << 20] as [Int64])
    // The graph refuses it before the evaluator sees it.
    #expect(throws: VerificationError.self) { try evaluate(.constantOfShape(shape), [huge], constants: [0]) }
  }

  /// Accuracy in float that ONNX Runtime reaches on the same images.
  @Test(
    .enabled(if: sharedData != nil),
    arguments: [("resnet20.onnx", 915), ("resnet20.clean.onnx", 915), ("resnet56.onnx", 926)])
  func accuracyOfResidualNetworks(file: String, correct: Int) throws {
    let folder = try #require(sharedData)
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/cifar10/test1000.bin")))
    let count = bytes.count / 3073, means: [Float] = [0.485, 0.456, 0.406],
      deviations: [Float] = [0.229, 0.224, 0.225]
    var pixels: [Float] = []
    pixels.reserveCapacity(count * 3072)
    for sample in 0..<count {
      for i in 0..<3072 {
        pixels.append((Float(bytes[sample * 3073 + 1 + i]) / 255 - means[i / 1024]) / deviations[i / 1024])
      }
    }
    let graph = try importModel(path: "\(folder)/models/\(file)").graph
    let logits = try Evaluator(graph).run([Tensor([count, 3, 32, 32], pixels)])[0].floats
    let hits = (0..<count).count { sample in
      let row = logits[(sample * 10)..<(sample * 10 + 10)]
      return row.indices.max { row[$0] < row[$1] } == row.startIndex + Int(bytes[sample * 3073])
    }
    #expect(abs(hits - correct) <= 1, "\(hits) of \(count)")
  }
}
