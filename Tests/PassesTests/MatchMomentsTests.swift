import Evaluator
import IR
import PassKit
import Support
import Testing
import Training

@testable import Passes

private struct Noise: CalibrationData {
  let count = 32
  func sample(_ index: Int) throws -> [Float] {
    var random = SeededGenerator(UInt64(index) + 9)
    return random.floats(75, -1...1)
  }
}

@Suite("Moments of quantized channels")
struct MatchMomentsTests {
  /// A calibrated network of two layers with weights of 2 bits, where rounding shifts much.
  private func network(_ context: inout PassContext) throws -> Graph {
    var random = SeededGenerator(11)
    var graph = Graph(name: "net", stage: .canonical)
    var x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(5), .known(5)]), .f32))
    for (name, shape) in [("c1", [6, 3, 3, 3]), ("c2", [4, 6, 3, 3]), ("c3", [4, 4, 3, 3])] {
      var op = Conv2D()
      op.pads = [1, 1, 1, 1]
      op.activation = .relu
      let w = graph.addConstant(Constant("\(name).w", shape, random.floats(shape.reduce(1, *), -0.5...0.5)))
      let b = graph.addConstant(Constant("\(name).b", [shape[0]], random.floats(shape[0], -0.1...0.1)))
      let id = try graph.append(.conv2d(op), [x, w, b], name: name)
      x = graph[id].results[0]
    }
    graph.addOutput(x)
    graph = try graph.applying(insertQuantizers, [("target", "x86-int4")], &context)
    graph = try graph.applying(assign, [("target", "x86-int4"), ("weight-bits", "4")], &context)
    return try graph.applying(calibrate, [], &context)
  }

  /// By layer and channel, before activations.
  private func moments(_ graph: Graph, _ mode: Evaluator.Mode) throws -> [ChannelStatistics] {
    let taps = graph.weightedOps.map { GradientPlan.Tap(graph[$0].results[0], beforeActivation: true) }
    let plan = try GradientPlan(graph, outputs: taps, gradientsOf: [], mode: mode, threads: 1)
    let inputs = try SampleBank(Noise(), graph, samples: 32)
    return try plan.outputs([inputs.batch(Array(0..<32))]).map {
      var sums = SiteStatistics()
      sums.add($0)
      return try #require(sums.channels)
    }
  }

  @Test(arguments: [true, false]) func agreeWithFloat(scales: Bool) throws {
    var context = PassContext(threads: 2)
    context.calibration = Noise()
    let graph = try network(&context)
    let fitted = try graph.applying(
      matchMoments, [("samples", "32"), ("scales", "\(scales)")], &context)
    let wanted = try moments(graph, .float), before = try moments(graph, .quantized)
    let after = try moments(fitted, .quantized)
    func distance(_ a: [ChannelStatistics], _ part: (ChannelStatistics) -> [Float]) -> Float {
      zip(a, wanted).reduce(0) { sum, pair in
        sum + zip(part(pair.0), part(pair.1)).reduce(0) { $0 + abs($1.0 - $1.1) }
      }
    }
    #expect(distance(after, \.means) < 0.02 * distance(before, \.means))
    if scales { #expect(distance(after, \.deviations) < 0.02 * distance(before, \.deviations)) }
  }

  @Test func threadsDoNotMatter() throws {
    var texts: [String] = []
    for threads in [1, 3] {
      var context = PassContext(threads: threads)
      context.calibration = Noise()
      texts.append(try network(&context).applying(matchMoments, [], &context).text(.embedded))
    }
    #expect(texts[0] == texts[1])
  }
}
