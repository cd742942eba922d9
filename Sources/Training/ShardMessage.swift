import Evaluator
import IR
import Support

// What ranks exchange about a shard: its loss, the gradients of the wanted values, then means and variances of each
// normalization. All ranks know these sizes from the plan.

extension ShardPart {
  /// The loss is a double.
  fileprivate static let lossLength = 2

  func write(to message: Tensor) {
    let floats = message.pointer(Float.self)
    message.rawPointer.storeBytes(of: loss, as: Double.self)
    var offset = ShardPart.lossLength
    func append(_ source: UnsafeBufferPointer<Float>) {
      _ = UnsafeMutableBufferPointer(start: floats + offset, count: source.count).update(from: source)
      offset += source.count
    }
    for gradient in gradients { gradient.withFloats(append) }
    for part in statistics {
      part.means.withUnsafeBufferPointer(append)
      part.variances.withUnsafeBufferPointer(append)
    }
    keepAlive(message)
  }

  /// A shard's part as another rank wrote it.
  init(_ message: Tensor, samples: Int, _ plan: GradientPlan) {
    let floats = message.pointer(Float.self)
    var offset = ShardPart.lossLength
    func next(_ count: Int) -> UnsafeBufferPointer<Float> {
      defer { offset += count }
      return UnsafeBufferPointer(start: floats + offset, count: count)
    }
    loss = message.rawPointer.loadUnaligned(as: Double.self)
    sampleCount = samples
    gradients = plan.gradientShapes(samples: samples).map { shape in
      let gradient = Tensor(shape, .f32, pool: plan.pool)
      let source = next(gradient.count)
      _ = UnsafeMutableBufferPointer(start: gradient.pointer(Float.self), count: source.count).update(
        from: source)
      return gradient
    }
    statistics = plan.normalizations.map { operation, channels in
      GradientPlan.BatchStatistics(
        operation: operation, means: Array(next(channels)), variances: Array(next(channels)))
    }
    keepAlive(message)
  }
}

extension GradientPlan {
  /// Floats of a shard's message.
  func partLength(samples: Int) -> Int {
    let gradients = gradientShapes(samples: samples).reduce(0) { $0 + $1.reduce(1, *) }
    return ShardPart.lossLength + gradients + normalizations.reduce(0) { $0 + 2 * $1.channels }
  }
  fileprivate func gradientShapes(samples: Int) -> [[Int]] {
    wanted.map { graph[$0].type.shape.bound(batch: samples) }
  }
  /// Those that use the statistics of shards.
  fileprivate var normalizations: [(operation: OpID, channels: Int)] {
    steps.filter(\.usesBatchStatistics).map {
      ($0.step.id, $0.step.operandTypes[1].shape.bound(batch: 1).reduce(1, *))
    }
  }
}
