import Support
import Testing

@testable import Search

@Suite struct AdditiveNoiseTests {
  private static let supernet = Supernet(layers: 6)

  @Test func findsSensitivitiesThatMadeTheScores() {
    let space = Self.supernet.space
    var sampler = SubnetSampler(space, seed: 3), random = SeededRandom(seed: 9)
    let free = space.sites.indices.filter { space.sites[$0].role != .condition && !space.sites[$0].isPinned }
    let sensitivities = free.map { _ in random.below(4) == 0 ? 0 : random.unit() }
    func score(_ subnet: [Int]) -> Double {
      let values = space.values(subnet)
      // A third less with every bit beyond two.
      return zip(free, sensitivities).reduce(95) { sum, site in
        sum - site.1 * (0..<values[site.0] - 2).reduce(1) { power, _ in power / 3 }
      }
    }
    let subnets = sampler.spread(80)
    let noise = AdditiveNoise.fitted(space, subnets, subnets.map(score))
    #expect(noise.decay == 3 && abs(noise.ceiling - 95) < 1e-3)
    for (site, sensitivity) in zip(free, sensitivities) {
      #expect(abs(noise.sensitivities[site] - sensitivity) < 1e-3)
    }
    for subnet in sampler.spread(20) {
      #expect(abs(noise.predict(space, subnet) - score(subnet)) < 1e-3)
      let losses = noise.losses(space, subnet)
      for (site, sensitivity) in zip(free, sensitivities) {
        let lost = sensitivity * (0..<space.values(subnet)[site] - 2).reduce(1.0) { power, _ in power / 3 }
        #expect(abs(losses[site] - lost) < 1e-3)
      }
    }
  }

  /// Scores that fall with more bits are no reason to expect them to.
  @Test func isNeverNegative() {
    let space = Self.supernet.space
    var sampler = SubnetSampler(space, seed: 3)
    let subnets = sampler.spread(60), average = space.averageBits(.weights)
    let noise = AdditiveNoise.fitted(space, subnets, subnets.map { -average.cost($0) })
    #expect(noise.sensitivities.allSatisfy { $0 >= 0 } && noise.sensitivities.contains(0))
  }

  @Test func oneMeasurementIsItsCeiling() {
    let space = Self.supernet.space
    let subnet = space.sites.map { $0.open[0] }
    #expect(AdditiveNoise.fitted(space, [subnet], [90]).predict(space, subnet) == 90)
  }
}
