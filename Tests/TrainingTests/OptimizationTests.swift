import Evaluator
import Foundation
import IR
import Support
import Testing

@testable import Training

@Suite("Losses, optimizers, schedules, and a network that learns")
struct OptimizationTests {
  /// The loss and its gradient against differences.
  private func check(_ x: Tensor, _ loss: (Tensor) -> LossPart) {
    let part = loss(x), contents = x.floats
    let differences = contents.indices.map { index in
      let values = [Float(1e-2), -1e-2].map { step in
        var changed = contents
        changed[index] += step
        return loss(Tensor(x.shape, changed)).value
      }
      return Float((values[0] - values[1]) / 2e-2)
    }
    #expect(relativeError(part.gradient.floats, differences) < 2e-3)
  }

  @Test func losses() {
    var random = SeededRandom(seed: 50)
    let x = random.tensor([4, 5]), other = random.tensor([4, 5]), weights = random.tensor([4, 5], 0...2)
    check(x) { meanSquaredError($0, other, count: 40) }
    check(x) { meanSquaredError($0, other, weights: weights, count: 20) }
    for smoothing in [Float(0), 0.1] {
      check(x) { crossEntropy($0, labels: [0, 4, 2, 2], smoothing: smoothing, batch: 8) }
    }
    for temperature in [1.0, 4] {
      check(x) { distillation($0, teacher: other, temperature: temperature, batch: 4) }
      #expect(abs(distillation(x, teacher: x, temperature: temperature, batch: 4).value) < 1e-12)
    }
    let even = Tensor([2, 10], [Float](repeating: 3, count: 20))
    #expect(abs(crossEntropy(even, labels: [1, 7], batch: 2).value - log(10)) < 1e-12)
  }

  @Test func momentum() {
    // By hand: v = 0.9 v + g + 0.1 w; w -= 0.5 v.
    var optimizer = MomentumOptimizer(count: 1, momentum: 0.9, weightDecay: 0.1), weights: [Float] = [1]
    [Float(2)].withUnsafeBufferPointer { optimizer.update(&weights, $0, learningRate: 0.5) }
    #expect(abs(weights[0] - (1 - 0.5 * 2.1)) < 1e-6)
    [Float(1)].withUnsafeBufferPointer { optimizer.update(&weights, $0, learningRate: 0.5) }
    #expect(abs(weights[0] - (-0.05 - 0.5 * (0.9 * 2.1 + 1 - 0.005))) < 1e-6)
  }

  @Test func adam() {
    // The first step is the rate whatever the gradient's size; decoupled decay shrinks beside it.
    for (decay, expected) in [
      (AdamOptimizer.Decay.none, Float(1.9)), (.decoupled(0.5), 1.9 - 0.1 * 0.5 * 2), (.coupled(3), 1.9),
    ] {
      for gradient in [Float(1e-3), 20] {
        var optimizer = AdamOptimizer(count: 1, decay: decay), weights: [Float] = [2]
        [gradient].withUnsafeBufferPointer { optimizer.update(&weights, $0, learningRate: 0.1) }
        #expect(abs(weights[0] - expected) < 1e-5)
      }
    }
    // The second moment remembers: gradients 1, then 0.
    var optimizer = AdamOptimizer(count: 1), weights: [Float] = [0]
    [Float(1)].withUnsafeBufferPointer { optimizer.update(&weights, $0, learningRate: 1) }
    [Float(0)].withUnsafeBufferPointer { optimizer.update(&weights, $0, learningRate: 1) }
    let first = 0.9 * 0.1 / (1 - 0.81), second = (0.999 * 0.001 / (1 - 0.998001)).squareRoot()
    #expect(abs(Double(weights[0]) - (-1 - first / second)) < 1e-5)
  }

  @Test func schedules() {
    #expect(Schedule.constant.factor(step: 7, of: 10) == 1)
    let cosine = Schedule.cosine(floor: 0.1)
    #expect(cosine.factor(step: 0, of: 11) == 1 && abs(cosine.factor(step: 5, of: 11) - 0.55) < 1e-12)
    #expect(abs(cosine.factor(step: 10, of: 11) - 0.1) < 1e-12)
    #expect(
      cosine.factor(step: 0, of: 20, warmUp: 4) == 0.25 && cosine.factor(step: 4, of: 20, warmUp: 4) == 1)
    let cycle = Schedule.oneCycle()
    #expect(
      abs(cycle.factor(step: 0, of: 101) - 0.04) < 1e-12 && abs(cycle.factor(step: 30, of: 101) - 1) < 1e-12)
    #expect(abs(cycle.factor(step: 100, of: 101) - 4e-6) < 1e-12)
  }

  /// Points inside or outside of a circle: a network of two layers learns them.
  @Test func learning() throws {
    var random = SeededRandom(seed: 51), graph = Graph()
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(2)]), .f32))
    let shapes = [[16, 2], [16], [2, 16], [2]]
    let parameters = shapes.enumerated().map { index, shape in
      graph.addConstant(Constant("p\(index)", shape, random.floats(shape.reduce(1, *), -0.7...0.7)))
    }
    var hidden = Gemm(), last = Gemm()
    (hidden.transposeB, hidden.activation, last.transposeB) = (true, .relu, true)
    let inner = try graph.result(.gemm(hidden), [x, parameters[0], parameters[1]], "inner")
    graph.addOutput(try graph.result(.gemm(last), [inner, parameters[2], parameters[3]]))
    let points = random.tensor([256, 2], -1...1), coordinates = points.floats
    let labels = (0..<256).map { i in
      let (a, b) = (coordinates[2 * i], coordinates[2 * i + 1])
      return a * a + b * b < 0.5 ? 1 : 0
    }
    let plan = try GradientPlan(graph, gradientsOf: parameters, shardSize: 64, threads: 2)
    func train(_ steps: Int) throws -> (loss: Double, weights: [[Float]]) {
      var weights = parameters.map { graph.constant($0)?.floats ?? [] }
      var optimizers = weights.map { AdamOptimizer(count: $0.count, decay: .decoupled(1e-4)) }
      var loss = 0.0
      for step in 0..<steps {
        var values: [ValueID: Tensor] = [:]
        for (index, value) in parameters.enumerated() {
          values[value] = Tensor(shapes[index], weights[index])
        }
        let run = try plan.run([points], overriding: values) { shard in
          let part = crossEntropy(shard.outputs[0], labels: labels[shard.samples], batch: shard.batch)
          return GradientPlan.ShardLoss(part.value, [part.gradient])
        }
        loss = run.loss
        let rate = Float(0.05 * Schedule.oneCycle().factor(step: step, of: steps))
        for index in parameters.indices {
          run.gradients[index].withFloats {
            optimizers[index].update(&weights[index], $0, learningRate: rate)
          }
        }
      }
      return (loss, weights)
    }
    let start = try train(1), end = try train(150)
    #expect(start.loss > 0.5 && end.loss < 0.12)
    #expect(try train(150).weights == end.weights)
  }
}
