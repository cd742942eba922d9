import Search
import Support
import Testing

@Suite struct ParetoSearchTests {
  @Test(arguments: [false, true], UInt64(0)..<3)
  func frontEqualsBruteForce(isLimited: Bool, seed: UInt64) throws {
    let supernet = Supernet(layers: 4, widths: [2, 4, 5, 8], seed: seed)
    let operations = supernet.space.bitOperations(supernet.layers)
    let region = try FeasibleRegion(
      supernet.space, isLimited ? [.init(supernet.space.averageBits(.weights), above: 4, atMost: 5.5)] : [])
    // Cheapest first, and of these the most accurate: each better one belongs to the front.
    let all = supernet.all.filter(region.contains).map { (operations.cost($0), supernet.accuracy($0)) }
    var expected: [[Double]] = []
    for (cost, accuracy) in all.sorted(by: { ($0.0, $1.1) < ($1.0, $0.1) })
    where accuracy > expected.last?[1] ?? -.infinity {
      expected.append([cost, accuracy])
    }
    var options = ParetoSearch.Options()
    (options.generations, options.seed) = (60, seed)
    let search = ParetoSearch(region, operations, options)
    let front = search.run { $0.map(supernet.accuracy) }
    #expect(expected.count > 10 && expected.count < options.population)
    #expect(front.map { [$0.cost, $0.score] } == expected)
    #expect(front.allSatisfy { region.contains($0.subnet) })
    #expect(front == search.run { $0.map(supernet.accuracy) })
  }

  /// A front of more points than the population keeps its ends, and the points between lie apart.
  @Test func fewPointsSpreadOverALongFront() throws {
    let supernet = Supernet(layers: 12)
    let operations = supernet.space.bitOperations(supernet.layers)
    let region = try FeasibleRegion(supernet.space), possible = try region.interval(operations)
    let first = supernet.space.sites.map { $0.open[0] }
    let widest = supernet.space.sites.map { $0.open[$0.open.count - 1] }
    let narrowest = Array(widest[0...2] + first[3...])
    var options = ParetoSearch.Options()
    (options.population, options.generations) = (20, 100)
    let front = ParetoSearch(region, operations, options).run(initial: [narrowest, widest]) {
      $0.map(supernet.accuracy)
    }
    #expect(front.count == 20)
    #expect(front.first?.cost == possible.lowerBound && front.first?.score == supernet.accuracy(narrowest))
    #expect(front.last?.cost == possible.upperBound && front.last?.score == supernet.accuracy(widest))
    let costs = possible.upperBound - possible.lowerBound
    let scores = supernet.accuracy(widest) - supernet.accuracy(narrowest)
    for (a, b) in zip(front, front.dropFirst()) {
      #expect(a.cost < b.cost && a.score < b.score)
      #expect((b.cost - a.cost) / costs + (b.score - a.score) / scores < 0.25)
    }
  }
}
