import Evaluator
import IR
import Numerics
import Support
import Testing

@testable import Training

@Suite("Plans: parts of graphs, overriding, shards, threads")
struct GradientPlanTests {
  /// A residual network: convolution, two branches, addition, pooling, product; fused activations and quantizers.
  struct Network {
    var graph = Graph()
    var first: ValueID, left: ValueID, sum: ValueID, logits: ValueID
    var rounded: ValueID
    var weights: [ValueID]

    init() throws {
      var random = SeededRandom(seed: 40)
      var graph = Graph()
      func constant(_ name: String, _ shape: [Int], _ range: ClosedRange<Float>) -> ValueID {
        graph.addConstant(Constant(name, shape, random.floats(shape.reduce(1, *), range)))
      }
      var convolution = Conv2D(), quantizer = Quantize(), addition = Binary(.add)
      (convolution.pads, convolution.activation) = ([1, 1, 1, 1], .relu)
      quantizer.forms = FormSet([QuantizationForm(.bits(4), .channel, .symmetric)])
      quantizer.role = .weight
      addition.activation = .relu
      let x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(8), .known(8)]), .f32))
      let w1 = constant("w1", [8, 3, 3, 3], -0.4...0.4), b1 = constant("b1", [8], -0.1...0.1)
      first = try graph.result(.conv2d(convolution), [x, w1, b1], "first")
      let w2 = constant("w2", [8, 8, 3, 3], -0.3...0.3), b2 = constant("b2", [8], -0.1...0.1)
      let scale = constant("s2", [8], 0.04...0.05)
      let zero = graph.addConstant(Constant("z2", [8], [Int32](repeating: 0, count: 8)))
      rounded = try graph.result(.quantize(quantizer), [w2, scale, zero], "rounded")
      left = try graph.result(.conv2d(convolution), [first, rounded, b2], "left")
      sum = try graph.result(.binary(addition), [left, first], "sum")
      let pooled = try graph.result(.globalAveragePool(GlobalAveragePool()), [sum], "pooled")
      let flat = try graph.result(.flatten(Flatten()), [pooled], "flat")
      var gemm = Gemm()
      gemm.transposeB = true
      let w3 = constant("w3", [5, 8], -0.5...0.5), b3 = constant("b3", [5], -0.1...0.1)
      logits = try graph.result(.gemm(gemm), [flat, w3, b3], "logits")
      graph.addOutput(logits)
      weights = [w1, b1, w2, scale, b2, w3, b3]
      self.graph = graph
    }
  }
  private func batch(_ count: Int, seed: UInt64 = 41) -> Tensor {
    var random = SeededRandom(seed: seed)
    return random.tensor([count, 3, 8, 8])
  }
  private let labelled: GradientPlan.Loss = { shard throws(CompilerError) in
    let part = crossEntropy(
      shard.outputs[0], labels: shard.samples.map { $0 % 5 }[...], smoothing: 0.1, batch: shard.batch)
    return GradientPlan.ShardLoss(part.value, [part.gradient])
  }

  /// Many small shards, so that threads often add up what others have just given away.
  @Test func sameSumsHoweverShardsMeet() throws {
    let network = try Network(), x = batch(48)
    func gradients(threads: Int) throws -> [[UInt8]] {
      try GradientPlan(network.graph, gradientsOf: network.weights, shardSize: 1, threads: threads)
        .run([x], loss: labelled).gradients.map(\.bytes)
    }
    let expected = try gradients(threads: 1)
    for _ in 0..<20 { #expect(try gradients(threads: 4) == expected) }
  }

  @Test func sameBitsForAnyThreadsAndRuns() throws {
    let network = try Network(), x = batch(22)
    var results: [[[UInt8]]] = [], losses: [Double] = []
    for threads in [1, 2, 3, 2] {
      let plan = try GradientPlan(
        network.graph, gradientsOf: network.graph.inputs + [network.sum] + network.weights, shardSize: 4,
        threads: threads)
      for _ in 0..<2 {
        let run = try plan.run([x], loss: labelled)
        results.append(run.gradients.map(\.bytes))
        losses.append(run.loss)
      }
      #expect(try plan.outputs([x])[0].shape == [22, 5])
    }
    #expect(results.allSatisfy { $0 == results[0] } && losses.allSatisfy { $0 == losses[0] })
    #expect(results[0].allSatisfy { bytes in bytes.contains { $0 != 0 } })
    // Shards of other sizes differ in the rounding of sums alone.
    let whole = try GradientPlan(network.graph, gradientsOf: network.weights, shardSize: 22)
    let run = try whole.run([x], loss: labelled)
    #expect(abs(run.loss - losses[0]) < 1e-6)
    for (gradient, bytes) in zip(run.gradients, results[0].dropFirst(2)) {
      let expected = bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      #expect(relativeError(gradient.floats, expected) < 1e-4)
    }
  }

  @Test func wholeNetworkAgainstDifferences() throws {
    let network = try Network(), x = batch(6)
    // In float mode, since rounding has no differences.
    let wanted = network.weights.filter { network.graph[$0].name != "s2" }
    let plan = try GradientPlan(network.graph, gradientsOf: wanted, mode: .float, shardSize: 4)
    let run = try plan.run([x], loss: labelled)
    var random = SeededRandom(seed: 42)
    for (index, value) in wanted.enumerated() {
      let contents = network.graph.constant(value).map { $0.floats } ?? []
      for _ in 0..<6 {
        let element = Int(random.below(UInt64(contents.count)))
        let losses = try [Float(2e-3), -2e-3].map { step in
          var changed = contents
          changed[element] += step
          let tensor = Tensor(network.graph[value].type.shape.bound(batch: 1), changed)
          return try plan.run([x], overriding: [value: tensor], loss: labelled).loss
        }
        let difference = (losses[0] - losses[1]) / 4e-3
        let gradient = Double(run.gradients[index].floats[element])
        let scale = Double(run.gradients[index].floats.map(\.magnitude).max() ?? 0)
        #expect(abs(gradient - difference) < 0.05 * scale + 1e-4)
      }
    }
  }

  @Test func partsChainToTheWhole() throws {
    let network = try Network(), x = batch(10)
    let whole = try GradientPlan(
      network.graph, gradientsOf: [network.first, network.weights[2]], shardSize: 4)
    let expected = try whole.run([x], loss: labelled)
    // From the first convolution's result on, with the rounded weights given.
    let front = try GradientPlan(
      network.graph, outputs: [.init(network.first)], gradientsOf: [], shardSize: 4)
    let first = try front.outputs([x])[0]
    let block = try GradientPlan(
      network.graph, inputs: [network.first], gradientsOf: [network.first, network.rounded],
      overridable: [network.rounded], shardSize: 4)
    let weights = try GradientPlan(
      network.graph, inputs: [], outputs: [.init(network.rounded)], gradientsOf: [])
    let rounded = try weights.outputs([])[0]
    let run = try block.run([first], overriding: [network.rounded: rounded], loss: labelled)
    #expect(run.loss == expected.loss)
    #expect(run.gradients[0].bytes == expected.gradients[0].bytes)
    // The quantizer hands inner gradients on.
    let inner = zip(run.gradients[1].floats, expected.gradients[1].floats).allSatisfy { $1 == 0 || $0 == $1 }
    #expect(inner)
    #expect(throws: CompilerError.self) { try block.run([first], loss: labelled) }
    #expect(throws: CompilerError.self) {
      try GradientPlan(
        network.graph, inputs: [network.first], outputs: [.init(network.first), .init(network.left)],
        gradientsOf: []
      ).outputs([x])
    }
  }

  @Test func valuesBeforeActivations() throws {
    let network = try Network(), x = batch(4)
    let plan = try GradientPlan(
      network.graph,
      outputs: [
        .init(network.left, beforeActivation: true), .init(network.left),
        .init(network.sum, beforeActivation: true),
        .init(network.sum),
      ], gradientsOf: [network.left] + network.graph.inputs, shardSize: 4)
    let y = try plan.outputs([x]).map(\.floats)
    #expect(y[0].contains { $0 < 0 })
    #expect(zip(y[0], y[1]).allSatisfy { $1 == max($0, 0) })
    #expect(zip(y[2], y[3]).allSatisfy { $1 == max($0, 0) })
    // Gradients before the activation reach what lies in front of it whatever its sign, but not the value behind.
    let run = try plan.run([x]) { shard in
      let ones = Tensor(shard.outputs[0].shape, [Float](repeating: 1, count: shard.outputs[0].count))
      return GradientPlan.ShardLoss(0, [ones, nil, nil, nil])
    }
    #expect(run.gradients[0].floats.allSatisfy { $0 == 0 })
    #expect(run.gradients[1].floats.contains { $0 != 0 })
  }

  @Test func batchStatistics() throws {
    var graph = Graph()
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(4), .known(4)]), .f32))
    let parameters = ["scale", "bias", "mean", "variance"].map {
      graph.addConstant(Constant($0, [3], [Float]([1, 1, 1])))
    }
    graph.addOutput(try graph.result(.batchNorm(BatchNorm()), [x] + parameters))
    let plan = try GradientPlan(
      graph, gradientsOf: [parameters[0]], batchNormalization: .batch, shardSize: 8, threads: 2)
    var random = SeededRandom(seed: 43)
    let input = random.tensor([16, 3, 4, 4])
    let run = try plan.run([input]) { GradientPlan.ShardLoss(0, [$0.outputs[0]]) }
    let values = input.floats, statistics = run.statistics[0]
    for channel in 0..<3 {
      let own = values.indices.filter { $0 / 16 % 3 == channel }.map { Double(values[$0]) }
      let mean = own.reduce(0, +) / Double(own.count)
      #expect(abs(Double(statistics.means[channel]) - mean) < 1e-5)
      #expect(abs(statistics.variances[channel] - 4 / 3) < 0.15)
    }
  }

  @Test func refusals() throws {
    let network = try Network()
    var graph = Graph()
    let x = graph.addInput("x", TensorType([2, 3], .f32))
    graph.addOutput(try graph.result(.reduce(Reduce(.product)), [x]))
    #expect(throws: CompilerError.self) { try GradientPlan(graph, gradientsOf: [x]) }
    let plan = try GradientPlan(network.graph, gradientsOf: [])
    #expect(throws: CompilerError.self) { try plan.outputs([]) }
    #expect(throws: CompilerError.self) {
      try plan.outputs([Tensor([2, 3, 8, 7], [Float](repeating: 0, count: 336))])
    }
    #expect(throws: CompilerError.self) { try plan.outputs([batch(2)], overriding: [network.sum: batch(2)]) }
    #expect(throws: CompilerError.self) {
      try GradientPlan(network.graph, inputs: [network.left], gradientsOf: [])
    }
  }
}
