import Support
import Testing

@testable import Search

@Suite struct VariationTests {
  let supernet = Supernet(layers: 22)

  private func variation(_ region: FeasibleRegion) -> Variation {
    Variation(region: region, mutationProbability: 0.1, random: SeededRandom(seed: 1))
  }

  @Test func mutationsAreRareAndTakeOpenChoices() throws {
    let space = try supernet.space.restricting("weights 1", to: [3, 4, 5])
    var variation = variation(try FeasibleRegion(space))
    let parent = space.sites.map { $0.open[0] }, children = (0..<500).map { _ in variation.mutated(parent) }
    // 43 sites, of which 3 have two choices, one three and 40 seven: 0.1 (3 / 2 + 2 / 3 + 40 * 6 / 7) = 3.6 changes.
    let changes = children.map { child in zip(child, parent).count { $0 != $1 } }
    #expect((3.3...4).contains(Double(changes.reduce(0, +)) / 500))
    for (index, site) in space.sites.enumerated() {
      #expect(Set(children.map { $0[index] }).isSubset(of: site.open))
    }
  }

  @Test func childrenOfTwoHaveHalfOfEither() throws {
    var variation = variation(try FeasibleRegion(supernet.space))
    let sites = supernet.space.sites.count
    let child = (0..<100).map { _ in
      variation.crossed(Array(repeating: 0, count: sites), Array(repeating: 1, count: sites))
    }
    let share = Double(child.joined().reduce(0, +)) / Double(100 * sites)
    #expect(abs(share - 0.5) < 0.05 && Set(child).count == 100)
  }

  @Test func repairLeadsIntoNarrowWindowsAndLeavesMembersAlone() throws {
    let region = try FeasibleRegion(supernet.space, supernet.windows(2.5, width: 0.1))
    var random = SeededRandom(seed: 2), sampler = SubnetSampler(supernet.space, seed: 3)
    for subnet in sampler.spread(50) {
      let repaired = try #require(region.repaired(subnet, &random))
      #expect(region.contains(repaired) && !region.contains(subnet))
      #expect(region.repaired(repaired, &random) == repaired)
    }
  }

  /// A first population starts with a member and what is given, and lies in the region.
  @Test func firstPopulationsHaveTheirSize() throws {
    let region = try FeasibleRegion(supernet.space, supernet.windows(3))
    var variation = variation(region), sampler = SubnetSampler(supernet.space, seed: 3)
    let given = try #require(sampler.spread(1).compactMap { region.repaired($0, &variation.random) }.first)
    let population = variation.firstPopulation(40, [given, given])
    #expect(population.count == 40 && Set(population).count == 40)
    #expect(population[0] == region.member && population[1] == given)
    #expect(population.allSatisfy(region.contains))
  }
}
