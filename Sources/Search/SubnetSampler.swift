import Glibc
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
  ///
  /// The paper counts the widths of random assignments in bins of their average, which leaves the outer bins
  /// empty. Their limit for many sites is known (Gibbs' conditioning principle): width b of a site with the share s of all
  /// elements has a probability proportional to exp(λ s b), with one λ for all sites such that the expected average is
  /// the target.
  package mutating func spread(
    _ count: Int, weightBits: ClosedRange<Double>, activationBits: ClosedRange<Double>
  ) -> [[Int]] {
    let space = space
    let weights = WidthDistribution(space, .weights), activations = WidthDistribution(space, .activations)
    return distinct(count) { random in
      var subnet = space.sites.map { random.element($0.open) }
      for (distribution, range) in [(weights, weightBits), (activations, activationBits)] {
        let target = range.lowerBound + random.unit() * (range.upperBound - range.lowerBound)
        distribution.draw(&subnet, average: target, &random)
      }
      return subnet
    }
  }
  /// The same over all averages that sites allow, but for a fifteenth at either end (2.4 to 7.6 of 2 to 8 bits).
  package mutating func spread(_ count: Int) -> [[Int]] {
    func range(_ role: ElasticSpace.Role) -> ClosedRange<Double> {
      let sites = WidthDistribution(space, role).sites, margin = 1 / 15.0
      let least = sites.reduce(0) { $0 + $1.share * ($1.widths.min() ?? 0) }
      let most = sites.reduce(0) { $0 + $1.share * ($1.widths.max() ?? 0) }
      return least + margin * (most - least)...most - margin * (most - least)
    }
    return spread(count, weightBits: range(.weights), activationBits: range(.activations))
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

/// The widths of the sites of a role, given their average.
struct WidthDistribution: Sendable {
  struct Site: Sendable {
    var index: Int
    /// Of all elements that count.
    var share: Double
    var open: [Int]
    var widths: [Double]
  }
  let sites: [Site]

  init(_ space: ElasticSpace, _ role: ElasticSpace.Role) {
    let counted = space.sites.indices.filter { space.sites[$0].role == role && !space.sites[$0].isPinned }
    let total = counted.reduce(0) { $0 + max(space.sites[$1].elements, 1) }
    sites = counted.map { index in
      let site = space.sites[index]
      return Site(
        index: index, share: Double(max(site.elements, 1)) / Double(total), open: site.open,
        widths: site.open.map { Double(site.choices[$0]) })
    }
  }

  func draw(_ subnet: inout [Int], average: Double, _ random: inout SeededRandom) {
    let tilt = tilt(average: average)
    for site in sites {
      subnet[site.index] = site.open[random.index(probabilities: chances(site, tilt))]
    }
  }

  /// The probabilities of a site's open widths.
  func chances(_ site: Site, _ tilt: Double) -> [Double] {
    let exponents = site.widths.map { tilt * site.share * $0 }, largest = exponents.max() ?? 0
    let weights = exponents.map { exp($0 - largest) }, sum = weights.reduce(0, +)
    return weights.map { $0 / sum }
  }

  /// The λ whose expected average is `average`, which grows with it, by bisection.
  func tilt(average: Double) -> Double {
    // Beyond this every site takes its least or largest width almost surely.
    var high = 40 / (sites.map(\.share).min() ?? 1), low = -high
    for _ in 0..<64 {
      let middle = (low + high) / 2
      let expected = sites.reduce(0) { sum, site in
        sum + site.share * zip(chances(site, middle), site.widths).reduce(0) { $0 + $1.0 * $1.1 }
      }
      if expected < average { low = middle } else { high = middle }
    }
    return (low + high) / 2
  }
}
