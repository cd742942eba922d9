import Support
import Testing

@testable import Search

@Suite struct SubnetSamplerTests {
  let supernet = Supernet(layers: 22)

  @Test func averagesSpreadEvenlyAndIndependently() {
    var sampler = SubnetSampler(supernet.space, seed: 3)
    let subnets = sampler.spread(600)
    #expect(Set(subnets).count == 600)
    let weights = subnets.map(supernet.space.averageBits(.weights).cost)
    let activations = subnets.map(supernet.space.averageBits(.activations).cost)
    for averages in [weights, activations] {
      // 11.5 % of 2.4 ... 7.6 each, 69 on average.
      for low in stride(from: 2.5, to: 7, by: 0.6) {
        let count = averages.count { low..<low + 0.6 ~= $0 }
        #expect((40...100).contains(count), "\(count) from \(low)")
      }
    }
    #expect(abs(PredictionQuality(weights, activations).pearson) < 0.1)
    // Uniform widths crowd around 5 bits.
    let uniform = sampler.uniform(600).map(supernet.space.averageBits(.weights).cost)
    #expect(uniform.count { abs($0 - 5) < 1 } > 540)
    #expect(Set(subnets.map { $0[0...2] }).count == 8)
  }

  /// The distribution is that of counting uniform assignments by their average, where these are not too rare to count.
  @Test(arguments: [4.2, 5, 5.6])
  func widthsAreThoseOfCountingAssignments(average: Double) {
    let weights = supernet.space.sites.filter { $0.role == .weights && !$0.isPinned }
    let distribution = WidthDistribution(weights.map { ($0.elements, $0.choices.map(Double.init)) })
    let sites = distribution.sites
    var random = SeededRandom(seed: 11), found = 0
    var counts = sites.map { $0.widths.map { _ in 0.0 } }
    for _ in 0..<40_000 {
      let drawn = sites.map { Int(random.below(UInt64($0.widths.count))) }
      let mean = zip(sites, drawn).reduce(0) { $0 + $1.0.share * $1.0.widths[$1.1] }
      guard abs(mean - average) < 0.1 else { continue }
      found += 1
      for (site, choice) in drawn.enumerated() { counts[site][choice] += 1 }
    }
    #expect(found > 1000)
    let tilt = distribution.tilt(average: average)
    for (site, counts) in zip(sites, counts) {
      for (chance, count) in zip(distribution.chances(site, tilt), counts) {
        #expect(abs(chance - count / Double(found)) < 0.05)
      }
    }
  }

  @Test func theSeedDecides() {
    func draw(_ seed: UInt64) -> [[Int]] {
      var sampler = SubnetSampler(supernet.space, seed: seed)
      return sampler.spread(20) + sampler.uniform(20)
    }
    #expect(draw(1) == draw(1) && draw(1) != draw(2))
  }

  @Test func aSmallSpaceIsDrawnWholeAndClosedChoicesNever() throws {
    let small = Supernet(layers: 3, widths: [4, 8])
    var sampler = SubnetSampler(try small.space.restricting("granularity", to: [1]), seed: 1)
    #expect(Set(sampler.uniform(1000)) == Set(small.all.filter { $0[0] == 1 }))
    #expect(sampler.spread(1000).allSatisfy { $0[0] == 1 })
  }
}
