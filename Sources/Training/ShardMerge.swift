import Evaluator
import IR
import Support

/// Adds the parts of shards in their order, so that sums are the same bits for any number of threads and ranks: each as soon
/// as those before it are in, so that few wait; those of several ranks when all have theirs.
struct ShardMerge: Sendable {
  let plan: GradientPlan
  private let ranks: any Communicator
  private var waiting: [Int: ShardPart] = [:]
  private var next = 0
  private var loss = 0.0
  private var sampleCount = 0
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

  /// Adds the parts of all ranks.
  ///
  /// In every round each rank has the next shard of its own, which are the next shards of the batch. Each rank gets one slice
  /// of all their gradients and adds it in the order of shards; at the end every rank gets all slices. So a rank receives
  /// `4 parameters (shards / ranks + 1)` bytes, where whole parts would be `4 parameters shards`, for the same sums.
  /// - Parameter shards: the samples of each.
  mutating func exchange(_ shards: [Range<Int>]) throws(CompilerError) {
    let rankCount = ranks.rankCount
    guard rankCount > 1 else { return }
    guard !plan.wanted.contains(where: { plan.isPerSample[$0.index] }) else {
      throw CompilerError("ranks exchange gradients of parameters alone", status: .internalError)
    }
    let shapes = plan.wanted.map { plan.graph[$0].type.shape.bound(batch: 1) }
    let length = shapes.reduce(0) { $0 + $1.reduce(1, *) }
    let slice = (length + rankCount - 1) / rankCount
    let own = Tensor([rankCount, slice], .f32, pool: plan.pool)
    let received = Tensor([rankCount, slice], .f32, pool: plan.pool)
    let sum = Tensor([slice], .f32, pool: plan.pool)
    own.pointer(Float.self).update(repeating: 0, count: own.count)
    for first in stride(from: 0, to: shards.count, by: rankCount) {
      let part = waiting.removeValue(forKey: first + ranks.rank)
      part?.writeGradients(to: own)
      try ranks.allToAll(own.rawBytes, into: received.mutableRawBytes)
      let heads = try ranks.allGather(part?.head ?? plan.emptyHead)
      for (rank, samples) in shards[first..<min(first + rankCount, shards.count)].enumerated() {
        let gradients = received.samples(rank..<rank + 1)
        if next == 0 {
          sum.mutableRawBytes.copyMemory(from: gradients.rawBytes)
        } else {
          addFloats(gradients, to: sum)
        }
        let head = heads[rank * heads.count / rankCount..<(rank + 1) * heads.count / rankCount]
        mergeHead(ShardPart(head: Array(head), samples: samples.count, plan))
      }
    }
    try ranks.allGather(sum.rawBytes, into: own.mutableRawBytes)
    var offset = 0
    for (index, shape) in shapes.enumerated() {
      let gradient = Tensor(shape, .f32, pool: plan.pool)
      gradient.pointer(Float.self).update(from: own.pointer(Float.self) + offset, count: gradient.count)
      offset += gradient.count
      pieces[index] = [gradient]
    }
    keepAlive(own, received, sum)
  }

  private mutating func merge(_ part: ShardPart) {
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
    mergeHead(part)
  }

  /// Adds what is no gradient.
  private mutating func mergeHead(_ part: ShardPart) {
    loss += part.loss
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
