import Evaluator
import IR
import PassKit
import Support
import Testing

@testable import Passes
@testable import Training

@Suite("Distilled samples")
struct DistillTests {
  /// Two convolutions and a classifier; the convolutions have the statistics of smooth random images.
  private func network(hasStatistics: Bool = true) throws -> Graph {
    var random = SeededGenerator(7)
    var graph = Graph(name: "net", stage: .canonical)
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(8), .known(8)]), .f32))
    func convolution(_ x: ValueID, _ name: String, _ shape: [Int]) throws -> ValueID {
      var op = Conv2D()
      op.pads = [1, 1, 1, 1]
      op.activation = .relu
      let w = graph.addConstant(Constant("\(name).w", shape, random.floats(shape.reduce(1, *), -0.5...0.5)))
      let b = graph.addConstant(Constant("\(name).b", [shape[0]], random.floats(shape[0], -0.5...0.5)))
      let id = try graph.append(.conv2d(op), [x, w, b], name: name)
      return graph[id].results[0]
    }
    let a = try convolution(x, "c1", [6, 3, 3, 3]), b = try convolution(a, "c2", [8, 6, 3, 3])
    let pool = try graph.append(.globalAveragePool(GlobalAveragePool()), [b], name: "p")
    graph.addOutput(graph[pool].results[0])
    guard hasStatistics else { return graph }
    let images = (0..<64).flatMap { _ -> [Float] in
      let corners = random.floats(12, -1...1)
      return (0..<192).map {
        let (channel, row, column) = ($0 / 64, Float($0 / 8 % 8) / 7, Float($0 % 8) / 7)
        return (corners[channel * 4] * (1 - row) + corners[channel * 4 + 1] * row) * (1 - column)
          + (corners[channel * 4 + 2] * (1 - row) + corners[channel * 4 + 3] * row) * column
      }
    }
    let taps = [a, b].map { GradientPlan.Tap($0, beforeActivation: true) }
    let plan = try GradientPlan(graph, outputs: taps, gradientsOf: [], mode: .float, threads: 1)
    for (value, tensor) in zip([a, b], try plan.outputs([Tensor([64, 3, 8, 8], images)])) {
      var statistics = SiteStatistics()
      statistics.add(tensor)
      graph.setStatistics(value, statistics.channels)
    }
    return graph
  }

  private func distilled(seed: UInt64 = 1, threads: Int = 1) throws -> SampleTrainer.Result {
    let graph = try network()
    var options = DistillOptions()
    options.samples = 40
    options.iterations = 60
    let context = PassContext(threads: threads, seed: seed)
    let trainer = try SampleTrainer(graph, StatisticsLoss.layers(of: graph), options, context)
    return try #require(trainer).run(context)
  }

  @Test func lossFalls() throws {
    let result = try distilled(), losses = result.losses
    #expect(losses.count == 60)
    #expect(losses[59] < 0.1 * losses[0])
    #expect(result.samples.count == 40 && result.samples.floats.allSatisfy { (-1...1).contains($0) })
  }

  @Test func seedsAndNotThreadsChangeSamples() throws {
    let one = try distilled()
    #expect(one.samples.floats == (try distilled(threads: 3).samples.floats))
    #expect(one.samples.floats != (try distilled(seed: 2).samples.floats))
  }

  @Test func gradientsAgreeWithDifferences() throws {
    var random = SeededGenerator(5)
    let statistics = ChannelStatistics(means: [0.2, -0.4], deviations: [0.7, 0.05])
    let graph = try network()
    let loss = StatisticsLoss(layers: [.init(.init(graph.inputs[0]), statistics)])
    let shape = [3, 2, 2, 2]
    let x = random.floats(24, -1...1)
    func evaluate(_ values: [Float]) -> GradientPlan.ShardLoss {
      loss(.init(samples: 0..<3, batch: 6, outputs: [Tensor(shape, values)]), share: 0.5)
    }
    let gradient = try #require(evaluate(x).gradients[0]).floats
    for index in x.indices {
      var (below, above) = (x, x)
      below[index] -= 0.01
      above[index] += 0.01
      let slope = (evaluate(above).value - evaluate(below).value) / 0.02
      #expect(abs(slope - Double(gradient[index])) < 1e-3 * (1 + abs(slope)))
    }
  }

  /// The context behind `distill`, and what the pass counted.
  private func behind(_ graph: Graph, _ context: PassContext) throws -> (PassContext, [String]) {
    var rewriter = Rewriter(graph), context = context
    try distill.run(&rewriter, &context, [("samples", "4"), ("iterations", "2")])
    return (context, rewriter.statistics.map(\.name))
  }

  @Test func samplesStandInForMissingData() throws {
    let (context, counts) = try behind(try network(), PassContext(seed: 1))
    #expect(context.calibration?.count == 4 && counts == ["samples"])
    #expect(try context.calibration?.sample(3).count == 192)
    #expect(context.diagnostics.count == 1)
  }

  @Test func dataComeFirst() throws {
    var context = PassContext(seed: 1)
    context.calibration = DistilledSamples(length: 192, floats: Array(repeating: 0.5, count: 192))
    #expect(try behind(try network(), context).0.calibration?.count == 1)
  }

  @Test func nothingComesOfNoStatistics() throws {
    let (context, counts) = try behind(try network(hasStatistics: false), PassContext(seed: 1))
    #expect(context.calibration == nil && counts == ["no statistics to distill from"])
  }
}
