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

/// Adds the parts of shards in their order, so that sums are the same bits for any number of threads and ranks: each as soon
/// as those before it are in, so that few wait; those of several ranks when all have theirs.
struct ShardMerge: Sendable {
  let plan: GradientPlan
  private let ranks: any Communicator
  private var waiting: [Int: ShardPart] = [:]
  private var next = 0
  private var loss = 0.0
  private var sampleCount = 0
  private var sums: [Tensor] = []
  private var pieces: [[Tensor]]
  private(set) var statistics: [GradientPlan.BatchStatistics] = []

  init(_ plan: GradientPlan, _ ranks: any Communicator) {
    self.plan = plan
    self.ranks = ranks
    pieces = plan.wanted.map { _ in [] }
  }

  mutating func add(_ part: ShardPart, at index: Int) {
    waiting[index] = part
    guard ranks.rankCount == 1 else { return }
    while let part = waiting.removeValue(forKey: next) { merge(part) }
  }

  /// Adds the parts of all ranks: in every round the next of each rank, which are the next shards of the batch.
  /// - Parameter shards: the samples of each.
  mutating func exchange(_ shards: [Range<Int>]) throws(CompilerError) {
    guard ranks.rankCount > 1, let largest = shards.first else { return }
    let length = plan.partLength(samples: largest.count)
    let own = Tensor([length], .f32, pool: plan.pool)
    let all = Tensor([ranks.rankCount, length], .f32, pool: plan.pool)
    own.pointer(Float.self).update(repeating: 0, count: length)
    for first in stride(from: 0, to: shards.count, by: ranks.rankCount) {
      waiting.removeValue(forKey: first + ranks.rank)?.write(to: own)
      try ranks.allGather(
        UnsafeRawBufferPointer(start: own.rawPointer, count: own.byteCount),
        into: UnsafeMutableRawBufferPointer(start: all.rawPointer, count: all.byteCount))
      for (rank, samples) in shards[first..<min(first + ranks.rankCount, shards.count)].enumerated() {
        merge(ShardPart(all.samples(rank..<rank + 1), samples: samples.count, plan))
      }
    }
    keepAlive(own, all)
  }

  private mutating func merge(_ part: ShardPart) {
    loss += part.loss
    for (index, value) in plan.wanted.enumerated() {
      if plan.isPerSample[value.index] {
        pieces[index].append(part.gradients[index])
      } else if next == 0 {
        pieces[index] = [part.gradients[index]]
      } else {
        pieces[index][0].makeUnique(pool: plan.pool)
        addFloats(part.gradients[index], to: pieces[index][0])
      }
    }
    mergeStatistics(part)
    sampleCount += part.sampleCount
    next += 1
  }

  private mutating func mergeStatistics(_ part: ShardPart) {
    guard next > 0 else {
      statistics = part.statistics
      return
    }
    let share = Float(part.sampleCount) / Float(sampleCount + part.sampleCount)
    for (index, other) in part.statistics.enumerated() {
      for channel in other.means.indices {
        statistics[index].means[channel] += (other.means[channel] - statistics[index].means[channel]) * share
        statistics[index].variances[channel] +=
          (other.variances[channel] - statistics[index].variances[channel]) * share
      }
    }
  }

  func result() -> GradientPlan.Result {
    GradientPlan.Result(loss: loss, gradients: pieces.map { plan.joined($0) }, statistics: statistics)
  }
}
