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
}
