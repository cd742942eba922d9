import Support
import Testing

@testable import Trainer

@Suite("Several ranks")
struct DistributedTests {
  /// - Parameter batch: 36 leaves a last shard of four samples.
  private func trained(
    _ samples: TrainingSamples, elastic: Bool, batch: Int, _ ranks: any Communicator
  ) throws -> (parameters: [[Float]], loss: Double?, hash: UInt64) {
    var options = TrainingOptions()
    (options.steps, options.batch, options.shard, options.seed) = (6, batch, 8, 3)
    options.optimizer.rate = 5e-3
    options.augmentation = Augmentation(padding: 1, flips: true)
    options.distillation = 0.5
    if elastic { options.supernet = SupernetOptions() }
    let network = try SmallNetwork(elastic: elastic)
    var run = try TrainingRun(
      TrainableGraph(network.graph, options.optimizer), samples, options, supernet: network.supernet,
      teacher: SmallNetwork(elastic: false).graph, threads: 2, ranks: ranks)
    while !run.isDone { try run.advance() }
    return (run.network.parameters.map(\.position), run.averageLoss, run.hash)
  }

  @Test(arguments: [false, true], [8, 32, 36])
  func endWithTheBitsOfOne(isElastic: Bool, batch: Int) throws {
    let samples = try SmallNetwork.samples(120, seed: 1)
    let one = try trained(samples, elastic: isElastic, batch: batch, SingleProcess())
    for count in [1, 2, 3] {
      let all = try ThreadRanks.run(count) { ranks in
        try trained(samples, elastic: isElastic, batch: batch, ranks)
      }
      for (rank, run) in all.enumerated() {
        #expect(run.parameters == one.parameters && run.loss == one.loss, "rank \(rank) of \(count)")
        #expect(run.hash == one.hash)
      }
    }
  }

  @Test(arguments: [1, 2, 5]) func workIsDealtAndGathered(count: Int) throws {
    let results = try ThreadRanks.run(count) { ranks in
      var own = 0
      let numbers = try ranks.dealt(7, idle: 0) { index in
        own += 1
        return Double(index * index)
      }
      #expect(own == (0..<7).count(where: ranks.owns))
      #expect(try ranks.broadcast([ranks.rank + 5, 6]) == [5, 6])
      #expect(try ranks.any(ranks.rank == count - 1) && !ranks.any(false))
      return numbers
    }
    #expect(results == Array(repeating: [0, 1, 4, 9, 16, 25, 36], count: count))
  }

  @Test func differencesAreNoticed() throws {
    try SingleProcess().requireSame(1, "it")
    let error = #expect(throws: CompilerError.self) {
      try ThreadRanks.run(3) { try $0.requireSame($0.rank == 2 ? 1 : 0, "the network") }
    }
    #expect(error?.description.contains("rank 2") == true)
  }
}
