import Evaluator
import IR
import PassKit
import Support
import Testing
import Training

@testable import Passes

private struct Noise: CalibrationData {
  let count = 64
  func sample(_ index: Int) throws -> [Float] {
    var random = SeededGenerator(UInt64(index) + 5)
    return random.floats(2 * 32 * 32, -1...1)
  }
}

@Suite("Reconstruction")
struct ReconstructTests {
  /// A calibrated network of three layers with weights of 2 bits, whose activations are largest behind the first.
  private func network(_ context: inout PassContext) throws -> Graph {
    var random = SeededGenerator(3)
    var graph = Graph(name: "net", stage: .canonical)
    var x = graph.addInput("x", TensorType(Shape([.batch, .known(2), .known(32), .known(32)]), .f32))
    for (name, shape, stride) in [
      ("c1", [8, 2, 3, 3], 1), ("c2", [8, 8, 3, 3], 2), ("c3", [4, 8, 3, 3], 2),
    ] {
      var op = Conv2D()
      op.pads = [1, 1, 1, 1]
      op.strides = [stride, stride]
      op.activation = .relu
      let w = graph.addConstant(Constant("\(name).w", shape, random.floats(shape.reduce(1, *), -0.5...0.5)))
      let b = graph.addConstant(Constant("\(name).b", [shape[0]], random.floats(shape[0], -0.1...0.1)))
      let id = try graph.append(.conv2d(op), [x, w, b], name: name)
      x = graph[id].results[0]
    }
    graph.addOutput(x)
    graph = try graph.applying(insertQuantizers, [("target", "x86-int4")], &context)
    graph = try graph.applying(assign, [("target", "x86-int4"), ("weight-bits", "2")], &context)
    return try graph.applying(calibrate, [], &context)
  }

  private func context(threads: Int = 2) -> PassContext {
    var context = PassContext(threads: threads, seed: 4)
    context.calibration = Noise()
    return context
  }

  @Test func unitsSeeTheSameSamplesHoweverFewFit() throws {
    var context = context()
    let graph = try network(&context), input = graph.inputs[0]
    let units = graph.reconstructionUnits(from: input, to: graph.outputs[0], layers: 1)
    #expect(units.count == 3)
    let inputs = try SampleBank(Noise(), graph, samples: 40)
    var counts: [Int] = []
    var few = UnitSamples(inputs, at: input, teacher: graph, graph: graph, memory: 1, threads: 1)
    var all = UnitSamples(inputs, at: input, teacher: graph, graph: graph, memory: 64, threads: 1)
    for unit in units {
      let part = try few.inputs(of: unit), whole = try all.inputs(of: unit)
      counts.append(part.seen.count)
      #expect(whole.seen.count == 40)
      #expect(part.seen.floats == whole.seen.first(part.seen.count).floats)
      #expect(part.float.floats == whole.float.first(part.seen.count).floats)
      // As trained units change what later ones see, in both alike.
      let trained = graph.trainables(in: unit.operations, teacher: graph, reach: 0)
      few.add(trained)
      all.add(trained)
    }
    // 3 times 8 x 32 x 32 floats fit 10 times into a MiB; behind the second layer they are a quarter of that.
    #expect(counts == [10, 10, 40])
  }

  /// Squared error of a quantized network's outputs, beside the float one's.
  private func error(_ network: Graph, beside float: Graph) throws -> Float {
    let inputs = try SampleBank(Noise(), float, samples: 64).batch(Array(0..<64))
    let outputs = try [(float, Evaluator.Mode.float), (network, .quantized)].map { graph, mode in
      try GradientPlan(graph, outputs: [.init(graph.outputs[0])], gradientsOf: [], mode: mode, threads: 1)
        .outputs([inputs])[0].floats
    }
    return zip(outputs[0], outputs[1]).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
  }

  @Test func trainingTheNetworkBringsItsOutputsCloser() throws {
    var context = context()
    let graph = try network(&context)
    let rounded = try graph.applying(gptq, [], &context)
    let learned = try graph.applying(
      reconstruct, [("iterations", "0"), ("network-iterations", "40"), ("network-rate", "1")], &context)
    let (before, after) = (try error(rounded, beside: graph), try error(learned, beside: graph))
    #expect(after < 0.98 * before, "\(before) -> \(after)")
  }

  /// At these rates weights run away at first; what that leaves is given up, and smaller rates help. The same for units.
  @Test(arguments: [("0", "200"), ("100", "0")])
  func triesAgainAtSmallerRates(iterations: String, networkIterations: String) throws {
    var context = context()
    let graph = try network(&context)
    let rounded = try graph.applying(gptq, [], &context)
    func learned(attempts: Int) throws -> Graph {
      try graph.applying(
        reconstruct,
        [
          ("iterations", iterations), ("network-iterations", networkIterations), ("network-rate", "1"),
          ("weight-rate", "0.1"), ("parameter-rate", "0.05"), ("attempts", "\(attempts)"),
        ], &context)
    }
    let (once, often) = (try learned(attempts: 1), try learned(attempts: 6))
    let errors = try [rounded, once, often].map { try error($0, beside: graph) }
    #expect(errors[1] >= errors[0], "\(errors)")
    #expect(errors[2] < 0.99 * errors[0], "\(errors)")
  }

  @Test(arguments: [("least-samples", "65"), ("work", "1e-9")])
  func weightsAreOnlyRoundedForWantOf(_ option: String, _ value: String) throws {
    var context = context()
    let graph = try network(&context)
    let rounded = try graph.applying(gptq, [], &context)
    let left = try graph.applying(reconstruct, [(option, value)], &context)
    #expect(left.text(.embedded) == rounded.text(.embedded))
  }

  /// Without a step of training they stay as they begin.
  @Test(arguments: StartingRounding.allCases) func weightsBeginWhereTheRoundingPutsThem(
    rounding: StartingRounding
  ) throws {
    var context = context()
    let graph = try network(&context)
    let options = [("iterations", "0"), ("network-iterations", "0"), ("rounding", rounding.rawValue)]
    let expected =
      switch rounding {
      case .none: graph
      case .gptq: try graph.applying(gptq, [], &context)
      case .adaround: try graph.applying(adaRound, [], &context)
      }
    #expect(try graph.applying(reconstruct, options, &context).text(.embedded) == expected.text(.embedded))
  }

  @Test func aLimitOfWorkLeavesSmallNetworksAlone() throws {
    var context = context()
    let graph = try network(&context)
    let short = [("iterations", "2"), ("network-iterations", "2"), ("layers", "1")]
    let free = try graph.applying(reconstruct, short, &context)
    // 3 passes of 4 steps with 32 samples of 313,000 multiplications are 0.00012 x 10^12.
    let loose = try graph.applying(reconstruct, short + [("work", "0.0002")], &context)
    let tight = try graph.applying(reconstruct, short + [("work", "0.0001")], &context)
    #expect(free.text(.embedded) == loose.text(.embedded))
    #expect(free.text(.embedded) != tight.text(.embedded))
  }

  @Test func threadsDoNotMatter() throws {
    let texts = try [1, 3].map { threads in
      var context = context(threads: threads)
      let options = [("iterations", "3"), ("network-iterations", "3"), ("memory", "1"), ("layers", "1")]
      return try network(&context).applying(reconstruct, options, &context).text(.embedded)
    }
    #expect(texts[0] == texts[1])
  }
}
