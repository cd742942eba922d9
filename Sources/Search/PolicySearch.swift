import Glibc
import Support

/// One policy a site, learned while it is used, as FLIQS (arXiv 2308.03290) searches formats during training: each step
/// draws a sub-network, is told its quality, and makes its choices likelier the better that is than usual (REINFORCE).
package struct PolicySearch: Sendable {
  package struct Options: Hashable, Sendable {
    package var steps = 2000
    /// Of Adam on the logits.
    package var learningRate = 0.05
    /// How much of the running mean of rewards every step keeps.
    package var baselineDecay = 0.95
    /// What entropy is worth at the start; down to 0 by half a cosine, so that the policies explore first and commit last.
    package var entropy = 0.1
    /// What missing the target by its own size costs.
    package var costWeight = 1.0
    package var seed: UInt64 = 0

    package init() {}
  }
  package struct Result: Hashable, Sendable {
    /// The likeliest choices.
    package var subnet: [Int]
    /// Of every site's choices; 0 for those that are not open.
    package var probabilities: [[Double]]
    /// Of every step.
    package var rewards: [Double]
  }

  package let space: ElasticSpace
  package let options: Options
  private let target: (resource: Resource, cost: Double)?

  /// - Parameter target: what the sub-network shall cost, neither more nor less. Its cost is not 0.
  package init(
    _ space: ElasticSpace, target: (resource: Resource, cost: Double)? = nil, _ options: Options = Options()
  ) {
    precondition(target?.cost != 0)
    self.space = space
    self.target = target
    self.options = options
  }

  /// The quality less `costWeight * |cost / target - 1|`, the absolute reward of TuNAS (arXiv 2008.06120).
  package func reward(_ subnet: [Int], quality: Double) -> Double {
    guard let (resource, cost) = target else { return quality }
    return quality - options.costWeight * abs(resource.cost(subnet) / cost - 1)
  }

  /// - Parameter evaluate: the quality of a sub-network; it may train shared weights on the way, and vary.
  package func run(evaluate: ([Int]) throws -> Double) rethrows -> Result {
    var random = SeededRandom(seed: options.seed), logits = space.sites.map { $0.open.map { _ in 0.0 } }
    var optimizers = logits.map { Adam(count: $0.count) }
    var rewards: [Double] = [], baseline = 0.0
    for step in 0..<options.steps {
      let policies = logits.map(softmax)
      let drawn = policies.map { random.index(probabilities: $0) }
      let subnet = zip(space.sites, drawn).map { $0.open[$1] }
      let reward = reward(subnet, quality: try evaluate(subnet))
      rewards.append(reward)
      if step == 0 { baseline = reward }
      let advantage = reward - baseline
      baseline = options.baselineDecay * baseline + (1 - options.baselineDecay) * reward
      let worth = options.entropy * (1 + cos(.pi * Double(step) / Double(options.steps))) / 2
      for (site, policy) in policies.enumerated() {
        let entropy = policy.reduce(0) { $0 - ($1 > 0 ? $1 * log($1) : 0) }
        // Downhill of: -advantage * log p(drawn) - worth * entropy.
        let gradients = policy.enumerated().map { choice, p in
          advantage * (p - (choice == drawn[site] ? 1 : 0)) + worth * (p > 0 ? p * (log(p) + entropy) : 0)
        }
        optimizers[site].update(&logits[site], gradients, rate: options.learningRate)
      }
    }
    var result = Result(subnet: [], probabilities: [], rewards: rewards)
    for (site, logits) in zip(space.sites, logits) {
      var probabilities = site.choices.map { _ in 0.0 }
      for (choice, p) in zip(site.open, softmax(logits)) { probabilities[choice] = p }
      // The first of equals.
      let best = site.open.max { (probabilities[$0], $1) < (probabilities[$1], $0) }
      result.subnet.append(best ?? site.open[0])
      result.probabilities.append(probabilities)
    }
    return result
  }
}

private func softmax(_ logits: [Double]) -> [Double] {
  let largest = logits.max() ?? 0, weights = logits.map { exp($0 - largest) }, sum = weights.reduce(0, +)
  return weights.map { $0 / sum }
}
