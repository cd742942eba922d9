import Search
import Support
import Testing

@Suite struct ElasticSpaceTests {
  /// Three layers of which the middle one is elastic, with the widths 2, 4 and 8.
  let space = ElasticSpace(
    ElasticSpace.conditions + [
      .init("w0", .weights, choices: [8], elements: 10),
      .init("w1", .weights, choices: [2, 4, 8], elements: 30),
      .init("w2", .weights, choices: [4, 2], elements: 10),
      .init("a0", .activations, choices: [8], elements: 5),
      .init("a1", .activations, choices: [8, 4], elements: 7),
    ])
  /// Channel, symmetric, asymmetric; weights of 8, 4 and 2 bits, activations of 8 and 4.
  let subnet = [1, 0, 1, 0, 1, 1, 0, 1]

  @Test func encodingIsOneHotAndPinnedSitesStayZero() {
    let expected: [[Double]] = [
      [0, 1], [1, 0], [0, 1], [0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0],
    ]
    #expect(space.values(subnet) == [1, 0, 1, 8, 4, 2, 8, 4])
    #expect(space.encode(subnet) == Array(expected.joined()))
    #expect(space.encodedCount == 21)
    // The published size: 6 + 14 for every layer.
    #expect(Supernet(layers: 22).space.encodedCount == 6 + 14 * 22)
  }

  @Test func resourcesAreSumsOverSitesAndLayers() {
    #expect(space.averageBits(.weights).cost(subnet) == 3.5)
    #expect(space.averageBits(.activations).cost(subnet) == 4)
    // (30 * 4 + 10 * 2 + 7 * 4) / 47
    #expect(abs(space.averageBits().cost(subnet) - 168.0 / 47) < 1e-12)
    #expect(space.sizeInBytes().cost(subnet) == 27.5)
    let layers: [ElasticSpace.Layer] = [
      .init(weights: 3, activations: 6, multiplyAccumulates: 100),
      .init(weights: 4, activations: 7, multiplyAccumulates: 1000),
    ]
    #expect(space.bitOperations(layers).cost(subnet) == 22_400)
    let table: [[Int: Double]] = [[88: 0.5], [44: 2, 88: 3, 84: 7]]
    let latency = space.latency(layers) { table[$0][10 * $1 + $2] ?? 100 }
    #expect(latency.cost(subnet) == 2.5)
    #expect(latency.cost([0, 0, 0, 0, 2, 0, 0, 0]) == 3.5)
  }

  @Test func restrictingKeepsTheEncoding() throws {
    let restricted = try space.restricting("granularity", to: [1]).restricting("w1", to: [8, 2])
    #expect(restricted.sites[0].open == [1] && restricted.sites[4].open == [0, 2])
    #expect(restricted.encode(subnet) == space.encode(subnet))
    #expect(throws: CompilerError.self) { try space.restricting("w1", to: [3]) }
    #expect(throws: CompilerError.self) { try space.restricting("w9", to: [8]) }
    #expect(throws: CompilerError.self) { try space.restricting("w1", to: []) }
  }

  @Test func windowsAreOpenBelowAndClosedAbove() throws {
    let average = space.averageBits(.weights)  // 3.5
    func contains(_ above: Double, _ limit: Double) throws -> Bool {
      try FeasibleRegion(space, [.init(average, above: above, atMost: limit)]).contains(subnet)
    }
    #expect(try contains(3, 3.5) && !contains(3.5, 4) && !contains(2, 3.4) && contains(3.4, 3.6))
    #expect(try FeasibleRegion(space, [.target(4, average)]).contains(subnet) == false)
    #expect(try FeasibleRegion(space, [.target(3.75, average)]).contains(subnet))
  }

  @Test func infeasibleWindowsNameWhatIsPossible() throws {
    let average = space.averageBits(.weights)
    do {
      _ = try FeasibleRegion(space, [.init(average, atMost: 1.5)])
      Issue.record("2 bits are the least")
    } catch {
      #expect(error.status == .infeasible)
      #expect(error.description.contains("average weight bits <= 1.5"))
      #expect(error.description.contains("2.0 to 7.0"))
    }
    // Each is possible, but not both: 40 and 10 pinned bits make at least 130 / 8 bytes.
    let size = space.sizeInBytes()
    #expect(throws: CompilerError.self) {
      try FeasibleRegion(space, [.init(average, above: 6, atMost: .infinity), .init(size, atMost: 25)])
    }
    #expect(
      try FeasibleRegion(space, [.init(average, above: 6, atMost: .infinity), .init(size, atMost: 45)])
        .member[4] == 2)
  }

  /// Narrow windows, about a third of which hold anything.
  @Test(arguments: UInt64(0)..<30)
  func infeasibleExactlyWhenBruteForceFindsNothing(seed: UInt64) throws {
    let supernet = Supernet(layers: 4, widths: [2, 3, 4, 8], seed: seed)
    let averages = [supernet.space.averageBits(.weights), supernet.space.averageBits(.activations)]
    let windows = averages.map { FeasibleRegion.Window($0, above: 4, atMost: 4.5) }
    let isPossible = supernet.all.contains { subnet in
      averages.allSatisfy { 4 < $0.cost(subnet) && $0.cost(subnet) <= 4.5 }
    }
    let region = try? FeasibleRegion(supernet.space, windows)
    #expect((region != nil) == isPossible)
    if let region { #expect(region.contains(region.member)) }
  }

  /// Both sites must change at once, which no change of a single site leads to.
  @Test func aMemberIsFoundWhereRepairIsStuck() throws {
    let pair = ElasticSpace([
      .init("w", .weights, choices: [8, 4], elements: 1),
      .init("a", .activations, choices: [8, 4], elements: 1),
    ])
    let cost = pair.latency([.init(weights: 0, activations: 1, multiplyAccumulates: 1)]) {
      $1 == $2 ? Double($1) : 20
    }
    #expect(try FeasibleRegion(pair, [.init(cost, atMost: 5)]).member == [1, 1])
    #expect(try FeasibleRegion(pair).interval(cost) == 4...20)
  }
}
