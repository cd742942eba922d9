import Search
import Support
import Testing

@Suite struct PolicySearchTests {
  @Test(arguments: UInt64(0)..<4)
  func findsTheBestReward(seed: UInt64) throws {
    let supernet = Supernet(layers: 4, widths: [2, 4, 8], seed: seed)
    let space = try supernet.space.restricting("granularity", to: [1])
    var options = PolicySearch.Options()
    (options.seed, options.costWeight) = (seed, 0.5)
    let search = PolicySearch(space, target: (space.averageBits(.weights), 4), options)
    func reward(_ subnet: [Int]) -> Double { search.reward(subnet, quality: supernet.accuracy(subnet)) }
    let best = try #require(supernet.all.filter { $0[0] == 1 }.map(reward).max())
    let worst = try #require(supernet.all.filter { $0[0] == 1 }.map(reward).min())
    var drewClosed = false
    let found = search.run { subnet in
      drewClosed = drewClosed || subnet[0] != 1
      return supernet.accuracy(subnet)
    }
    #expect(!drewClosed)
    #expect(reward(found.subnet) >= best - 0.02 * (best - worst), "\(reward(found.subnet)) of \(best)")
    #expect(found == search.run(evaluate: supernet.accuracy))
  }

  /// Entropy keeps policies open at the start; at the end they commit.
  @Test func exploresFirstAndCommitsLast() {
    let space = ElasticSpace([.init("w", .weights, choices: [2, 4, 8], elements: 1)])
    func probability(steps: Int, entropy: Double) -> Double {
      var options = PolicySearch.Options()
      (options.steps, options.entropy) = (steps, entropy)
      return PolicySearch(space, options).run { Double($0[0]) }.probabilities[0][2]
    }
    #expect(probability(steps: 1000, entropy: 0.1) > 0.95)
    #expect(probability(steps: 100, entropy: 0) > probability(steps: 100, entropy: 10))
  }

  @Test func costIsMissedOnEitherSide() {
    let space = ElasticSpace([.init("w", .weights, choices: [2, 4, 8], elements: 1)])
    let search = PolicySearch(space, target: (space.averageBits(.weights), 4))
    #expect([[0], [1], [2]].map { search.reward($0, quality: 1) } == [0.5, 1, 0])
  }
}
