import Glibc
import Support

/// Random widths of several sites, given their average weighted by elements.
///
/// EQ-Net counts the widths of random assignments in bins of their average, which leaves the outer bins empty. Their limit for
/// many sites is known (Gibbs' conditioning principle): width b of a site with the share s of all elements has a
/// probability proportional to exp(λ s b), with one λ for all sites such that the expected average is the target.
package struct WidthDistribution: Sendable {
  struct Site: Sendable {
    /// Of all elements.
    var share: Double
    var widths: [Double]
  }
  let sites: [Site]

  /// - Parameter sites: how many elements each has, and the widths they can take, in bits.
  package init(_ sites: [(elements: Int, widths: [Double])]) {
    let total = sites.reduce(0) { $0 + max($1.elements, 1) }
    self.sites = sites.map { Site(share: Double(max($0.elements, 1)) / Double(total), widths: $0.widths) }
  }

  /// The averages that can be had.
  package var averages: ClosedRange<Double> {
    let least = sites.reduce(0) { $0 + $1.share * ($1.widths.min() ?? 0) }
    let most = sites.reduce(0) { $0 + $1.share * ($1.widths.max() ?? 0) }
    return least...max(least, most)
  }

  /// The position of a width for every site.
  /// - Parameter average: what is expected, in bits; beyond `averages` the nearest of them.
  package func draw(average: Double, _ random: inout SeededRandom) -> [Int] {
    let tilt = tilt(average: average)
    return sites.map { random.index(probabilities: chances($0, tilt)) }
  }

  /// The probabilities of a site's widths.
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
