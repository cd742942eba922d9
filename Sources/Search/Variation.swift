import Support

/// Children of sub-networks, for the evolutionary searches.
struct Variation: Sendable {
  let region: FeasibleRegion
  let mutationProbability: Double
  var random: SeededRandom

  /// Every open site takes a random choice with the probability of a mutation.
  mutating func mutated(_ parent: [Int]) -> [Int] {
    var child = parent
    for site in region.variable where random.unit() < mutationProbability {
      child[site] = random.element(region.space.sites[site].open)
    }
    return child
  }

  /// Every site from either parent alike.
  mutating func crossed(_ first: [Int], _ second: [Int]) -> [Int] {
    zip(first, second).map { random.next() & 1 == 0 ? $0 : $1 }
  }

  /// The first of `trials` draws that lies in the region, else the last one repaired; nil when that is stuck.
  mutating func feasible(_ trials: Int, _ draw: (inout Variation) -> [Int]) -> [Int]? {
    var child = draw(&self)
    for _ in 1..<max(trials, 1) where !region.contains(child) { child = draw(&self) }
    return region.repaired(child, &random)
  }

  /// A member, what is given, and random sub-networks of all averages, led into the region where they lie outside.
  mutating func firstPopulation(_ count: Int, _ given: [[Int]]) -> [[Int]] {
    var sampler = SubnetSampler(region.space, seed: random.next()), seen: Set<[Int]> = []
    var result: [[Int]] = []
    for subnet in [region.member] + given + sampler.spread(count) where result.count < count {
      // A choice that is not open in this search becomes one that is.
      let opened = zip(region.space.sites, subnet).map { $0.open.contains($1) ? $1 : $0.open[0] }
      if let subnet = region.repaired(opened, &random), seen.insert(subnet).inserted { result.append(subnet) }
    }
    return result
  }
}
