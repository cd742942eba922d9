import Evaluator
import Glibc
import IR
import PassKit
import Support
import Training

/// Samples that were made, not seen.
struct DistilledSamples: CalibrationData {
  /// Of one sample.
  let length: Int
  let floats: [Float]
  var count: Int { floats.count / max(length, 1) }
  func sample(_ index: Int) -> [Float] { Array(floats[index * length..<(index + 1) * length]) }
}

/// Trains noise until the network's channels have the statistics they should have.
struct SampleTrainer {
  struct Result {
    var samples: DistilledSamples
    /// Before every step.
    var losses: [Double]
  }
  private let options: DistillOptions
  private let loss: StatisticsLoss
  private let plan: GradientPlan
  private let shape: [Int]
  private let count: Int
  private let groupSize: Int
  private let middle: Float
  private let deviation: Float

  /// Nil for networks without a single image-like input.
  init?(
    _ graph: Graph, _ layers: [StatisticsLoss.Layer], _ options: DistillOptions, _ context: PassContext
  ) throws(CompilerError) {
    guard graph.inputs.count == 1, let input = graph.inputs.first, graph[input].type.element == .f32,
      graph[input].type.shape.isBatched, let channels = graph[input].type.shape.size(1)
    else { return nil }
    shape = graph[input].type.shape.extents.dropFirst().compactMap(\.value)
    guard shape.count + 1 == graph[input].type.shape.rank else { return nil }
    self.options = options
    middle = (options.inputRange[0] + options.inputRange[1]) / 2
    // Natural images spread over about a quarter of the range on either side.
    deviation = (options.inputRange[1] - options.inputRange[0]) / 4
    let own = ChannelStatistics(
      means: Array(repeating: middle, count: channels),
      deviations: Array(repeating: deviation, count: channels))
    loss = StatisticsLoss(layers: [.init(.init(input), own)] + layers)
    let length = max(shape.reduce(1, *), 1)
    count = options.samples > 0 ? options.samples : min(max(200_000 / length, 16), 64)
    // Statistics are those of a group: enough samples to be one another's context, not so many that memory grows large.
    let largest = min(max(1_000_000 / length, 8), 32), groups = (count + largest - 1) / largest
    groupSize = (count + groups - 1) / groups
    plan = try GradientPlan(
      graph, outputs: loss.layers.map(\.tap), gradientsOf: [input], mode: .float, shardSize: groupSize,
      threads: context.threads)
  }

  func run(_ context: PassContext) throws(CompilerError) -> Result {
    let length = shape.reduce(1, *)
    // In deviations from the middle of the input's range.
    let low = (options.inputRange[0] - middle) / deviation,
      high = (options.inputRange[1] - middle) / deviation
    var position = (0..<count).flatMap { sample in
      noise(length, seed: context.seed, stream: sample).map { min(max($0, low), high) }
    }
    // Gradients of single values of large images are very small.
    var optimizer = AdamOptimizer(count: position.count, epsilon: 1e-12), losses: [Double] = []
    let loss = loss
    func inputs() -> [Float] { position.map { middle + deviation * $0 } }
    for step in 0..<options.iterations {
      if context.isInterrupted() {
        throw CompilerError("interrupted while distilling samples", status: .interrupted)
      }
      let result = try plan.run([Tensor([count] + shape, inputs())]) { shard in
        loss(shard, share: Double(shard.samples.count) / Double(shard.batch))
      }
      losses.append(result.loss)
      let factor = Float(Schedule.cosine(floor: 0).factor(step: step, of: options.iterations))
      result.gradients[0].withFloats {
        optimizer.update(&position, $0, learningRate: options.rate * factor)
      }
      for index in position.indices { position[index] = min(max(position[index], low), high) }
      context.progress("distilling samples", step + 1, options.iterations)
    }
    return Result(samples: DistilledSamples(length: length, floats: inputs()), losses: losses)
  }

  /// Normal variates (Box and Muller).
  private func noise(_ count: Int, seed: UInt64, stream: Int) -> [Float] {
    var random = SeededRandom(seed: seed, stream: UInt64(stream))
    return (0..<count).map { _ in
      Float((-2 * log(1 - random.unit())).squareRoot() * cos(2 * .pi * random.unit()))
    }
  }
}
