import Search
import Support
import Testing

@Suite struct GeneticSearchTests {
  private func options(_ population: Int, _ generations: Int, seed: UInt64 = 0) -> GeneticSearch.Options {
    var options = GeneticSearch.Options()
    (options.population, options.generations, options.seed) = (population, generations, seed)
    return options
  }

  /// Equal to the best of all: windows of both averages, and a limit of coupled sites.
  @Test(arguments: UInt64(0)..<12)
  func equalsBruteForce(seed: UInt64) throws {
    let supernet = Supernet(layers: 4, widths: [2, 3, 4, 8], seed: seed)
    let operations = supernet.space.bitOperations(supernet.layers)
    let possible = try FeasibleRegion(supernet.space).interval(operations)
    let limit = possible.lowerBound + 0.2 * (possible.upperBound - possible.lowerBound)
    let region = try FeasibleRegion(
      supernet.space, seed % 2 == 0 ? supernet.windows(5, width: 2) : [.init(operations, atMost: limit)])
    let best = try #require(supernet.all.filter(region.contains).map(supernet.accuracy).max())
    let found = GeneticSearch(region, options(60, 40, seed: seed)).run { $0.map(supernet.accuracy) }
    #expect(found.candidates[0].score == best)
    #expect(
      found.candidates.allSatisfy { region.contains($0.subnet) && $0.score == supernet.accuracy($0.subnet) })
    #expect(Set(found.candidates.map(\.subnet)).count == found.candidates.count)
    #expect(zip(found.history, found.history.dropFirst()).allSatisfy { $0 <= $1 })
  }

  /// On additive losses, which the exact search solves, within 3 % of the best of 7^30 assignments.
  @Test(arguments: UInt64(0)..<3)
  func comesCloseToTheExactSolution(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let space = ElasticSpace(
      (0..<30).map {
        .init("w\($0)", .weights, choices: Array(2...8), elements: 10 + Int(random.below(1000)))
      })
    let sensitivities = space.sites.map { _ in 1 + 9 * random.unit() }
    func loss(_ site: Int, _ choice: Int) -> Double { sensitivities[site] / Double(1 << (2 * choice)) }
    let size = space.sizeInBytes(), region = try FeasibleRegion(space)
    let limit = try region.interval(size).lowerBound * 2
    let problem = AssignmentProblem(
      sites: space.sites.enumerated().map { index, site in
        .init(site.name, site.open.map { .init(score: loss(index, $0), costs: [size.costs[index][$0]]) })
      }, budgets: [.init("size", limit)])
    let exact = try #require(try problem.solved())
    let search = GeneticSearch(
      try FeasibleRegion(space, [.init(size, atMost: limit)]), options(100, 500, seed: seed))
    let found = search.run { $0.map { -problem.score($0) } }.candidates[0]
    #expect(problem.isFeasible(found.subnet))
    #expect(
      -found.score >= exact.score - 1e-6 && -found.score <= 1.03 * exact.score,
      "\(found.score) \(exact.score)")
  }

  @Test func theSeedDecidesAndPatienceEnds() throws {
    let supernet = Supernet(layers: 12)
    let region = try FeasibleRegion(supernet.space, supernet.windows(3))
    func run(_ options: GeneticSearch.Options) -> GeneticSearch.Result {
      GeneticSearch(region, options).run { $0.map(supernet.accuracy) }
    }
    let first = run(options(40, 20))
    #expect(first.history.count == 21)
    #expect(first == run(options(40, 20)))
    #expect(first != run(options(40, 20, seed: 1)))
    // Nothing is better than anything: two generations without progress.
    var patient = options(40, 20)
    patient.patience = 2
    let flat = GeneticSearch(region, patient).run { $0.map { _ in 0 } }
    #expect(flat.history == [0, 0, 0])
  }

  @Test func whatIsGivenSurvivesAndClosedChoicesAreOpened() throws {
    let supernet = Supernet(layers: 12)
    let space = try supernet.space.restricting("granularity", to: [1])
    let region = try FeasibleRegion(space, supernet.windows(3))
    let given = GeneticSearch(region, options(40, 60)).run { $0.map(supernet.accuracy) }.candidates[0]
    let found = GeneticSearch(region, options(4, 0)).run(initial: [given.subnet]) {
      $0.map(supernet.accuracy)
    }
    #expect(found.candidates[0] == given)
    var other = given.subnet
    other[0] = 0
    #expect(region.contains(given.subnet) && !region.contains(other) && region.violation(other) == 0)
    #expect(
      GeneticSearch(region, options(4, 0)).run(initial: [other]) { $0.map(supernet.accuracy) }.candidates[0]
        == given)
  }
}
