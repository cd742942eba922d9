import Support

/// Draws sub-networks for measurements and first populations, by a seed.
package struct SubnetSampler: Sendable {
  private let space: ElasticSpace
  private var random: SeededRandom

  package init(_ space: ElasticSpace, seed: UInt64) {
    self.space = space
    random = SeededRandom(seed: seed)
  }

  /// Different sub-networks in which every site takes each of its open choices alike; fewer than `count` when a small space
  /// has no more.
  package mutating func uniform(_ count: Int) -> [[Int]] {
    let space = space
    return distinct(count) { random in space.sites.map { random.element($0.open) } }
  }

  /// Different sub-networks whose average bits spread evenly over a range, in which `uniform` finds hardly any but the middle
  /// (EQ-Net): a target is drawn for weights and, independently, for activations, then every width given it.
  /// Conditions are drawn alike.
  package mutating func spread(
    _ count: Int, weightBits: ClosedRange<Double>, activationBits: ClosedRange<Double>
  ) -> [[Int]] {
    let space = space
    let parts = [(Part(space, .weights), weightBits), (Part(space, .activations), activationBits)]
    return distinct(count) { random in
      var subnet = space.sites.map { random.element($0.open) }
      for (part, range) in parts {
        let target = range.lowerBound + random.unit() * (range.upperBound - range.lowerBound)
        for (site, drawn) in zip(part.sites, part.distribution.draw(average: target, &random)) {
          subnet[site] = space.sites[site].open[drawn]
        }
      }
      return subnet
    }
  }
  /// The same over all averages that sites allow, but for a fifteenth at either end (2.4 to 7.6 of 2 to 8 bits).
  package mutating func spread(_ count: Int) -> [[Int]] {
    func range(_ role: ElasticSpace.Role) -> ClosedRange<Double> {
      let all = Part(space, role).distribution.averages, margin = (all.upperBound - all.lowerBound) / 15
      return all.lowerBound + margin...all.upperBound - margin
    }
    return spread(count, weightBits: range(.weights), activationBits: range(.activations))
  }

  /// The sites of a role that have a choice.
  private struct Part: Sendable {
    let sites: [Int]
    let distribution: WidthDistribution

    init(_ space: ElasticSpace, _ role: ElasticSpace.Role) {
      sites = space.sites.indices.filter { space.sites[$0].role == role && !space.sites[$0].isPinned }
      distribution = WidthDistribution(
        sites.map { index in
          let site = space.sites[index]
          return (site.elements, site.open.map { Double(site.choices[$0]) })
        })
    }
  }

  private mutating func distinct(_ count: Int, _ draw: (inout SeededRandom) -> [Int]) -> [[Int]] {
    var result: [[Int]] = [], seen: Set<[Int]> = [], trials = 20 * count
    while result.count < count, trials > 0 {
      trials -= 1
      let subnet = draw(&random)
      if seen.insert(subnet).inserted { result.append(subnet) }
    }
    return result
  }
}
