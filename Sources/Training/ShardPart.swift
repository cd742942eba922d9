import Evaluator
import IR
import Support

/// What one shard contributes.
struct ShardPart: Sendable {
  var loss: Double
  var sampleCount: Int
  /// By the plan's wanted values, row-major.
  var gradients: [Tensor]
  var statistics: [GradientPlan.BatchStatistics]
}

// What ranks exchange about a shard: its gradients, and a head of its loss and the means and variances of normalizations.
// All ranks know the sizes from the plan.

extension ShardPart {
  /// One after the other.
  func writeGradients(to message: Tensor) {
    var target = message.pointer(Float.self)
    for gradient in gradients {
      gradient.withFloats { target.update(from: $0.baseAddress ?? UnsafePointer(target), count: $0.count) }
      target += gradient.count
    }
    keepAlive(message)
  }

  /// Doubles hold floats exactly.
  var head: [Double] {
    [loss] + statistics.flatMap { $0.means + $0.variances }.map { Double($0) }
  }

  /// A shard of another rank, without its gradients.
  init(head: [Double], samples: Int, _ plan: GradientPlan) {
    var rest = head.dropFirst()
    func next(_ count: Int) -> [Float] {
      defer { rest = rest.dropFirst(count) }
      return rest.prefix(count).map { Float($0) }
    }
    loss = head[0]
    sampleCount = samples
    gradients = []
    statistics = plan.normalizations.map { operation, channels in
      GradientPlan.BatchStatistics(
        operation: operation, means: next(channels), variances: next(channels))
    }
  }
}

extension GradientPlan {
  /// Of a rank that has no shard left.
  var emptyHead: [Double] {
    Array(repeating: 0, count: 1 + normalizations.reduce(0) { $0 + 2 * $1.channels })
  }
  /// Those that use the statistics of shards.
  fileprivate var normalizations: [(operation: OpID, channels: Int)] {
    steps.filter(\.usesBatchStatistics).map {
      ($0.step.id, $0.step.operandTypes[1].shape.bound(batch: 1).reduce(1, *))
    }
  }
}

extension Tensor {
  /// In memory order; the tensor must live longer.
  var rawBytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(mutableRawBytes) }
  var mutableRawBytes: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: rawPointer, count: byteCount)
  }
}
