import Support

/// The sub-network of the highest score in a region by evolution, as EQ-Net searches its supernet with an accuracy
/// predictor: the best survive, half of the children are mutated, half crossed.
package struct GeneticSearch: Sendable {
  /// The defaults are the paper's.
  package struct Options: Hashable, Sendable {
    /// Children of a generation.
    package var population = 100
    package var generations = 500
    /// Those that survive and have children, as a share of the population.
    package var parentShare = 0.25
    /// Of a site.
    package var mutationProbability = 0.1
    /// Children that are drawn for one inside the region, before the last one is led there.
    package var trials = 20
    /// Ends after so many generations without a better sub-network; nil: never.
    package var patience: Int?
    package var seed: UInt64 = 0

    package init() {}
  }
  package struct Candidate: Hashable, Sendable {
    package var subnet: [Int]
    package var score: Double
  }
  package struct Result: Hashable, Sendable {
    /// The last parents, all different, best first.
    package var candidates: [Candidate]
    /// The best score after every generation, that of the first population in front.
    package var history: [Double]
  }

  package let region: FeasibleRegion
  package let options: Options

  package init(_ region: FeasibleRegion, _ options: Options = Options()) {
    precondition(options.population > 0)
    self.region = region
    self.options = options
  }

  /// - Parameters:
  ///   - initial: sub-networks to start with besides random ones.
  ///   - evaluate: scores of many sub-networks at once; larger is better, and equal ones score alike.
  package func run(
    initial: [[Int]] = [], evaluate: ([[Int]]) throws -> [Double]
  ) rethrows -> Result {
    var variation = Variation(
      region: region, mutationProbability: options.mutationProbability,
      random: SeededRandom(seed: options.seed))
    let parentCount = max(Int(Double(options.population) * options.parentShare), 1)
    func best(_ subnets: [[Int]], _ survivors: [Candidate]) throws -> [Candidate] {
      var seen = Set(survivors.map(\.subnet))
      let new = subnets.filter { seen.insert($0).inserted }
      let scores = new.isEmpty ? [] : try evaluate(new)
      precondition(scores.count == new.count, "a score for every sub-network")
      let all = survivors + zip(new, scores).map { Candidate(subnet: $0, score: $1) }
      // Of equal scores the older one comes first.
      let order = all.indices.sorted { (all[$0].score, $1) > (all[$1].score, $0) }
      return order.prefix(parentCount).map { all[$0] }
    }
    var parents = try best(variation.firstPopulation(options.population, initial), [])
    var history = [parents[0].score], stale = 0
    for _ in 0..<options.generations where stale < options.patience ?? .max {
      let subnets = parents.map(\.subnet)
      let children = (0..<options.population).compactMap { index in
        variation.feasible(options.trials) { variation in
          let first = variation.random.element(subnets)
          return index % 2 == 0
            ? variation.mutated(first) : variation.crossed(first, variation.random.element(subnets))
        }
      }
      parents = try best(children, parents)
      stale = parents[0].score > history[history.count - 1] ? 0 : stale + 1
      history.append(parents[0].score)
    }
    return Result(candidates: parents, history: history)
  }
}
