import Support

/// Sub-networks that none in a region beats in both score and cost, by NSGA-II (Deb, Pratap, Agarwal and Meyarivan 2002).
package struct ParetoSearch: Sendable {
  package struct Options: Hashable, Sendable {
    /// Also the most points of a front.
    package var population = 100
    package var generations = 200
    /// Of a site.
    package var mutationProbability = 0.1
    package var seed: UInt64 = 0

    package init() {}
  }
  package struct Point: Hashable, Sendable {
    package var subnet: [Int]
    package var score: Double
    package var cost: Double
    /// How far outside the region.
    var violation: Double

    /// Whether this is better in something and worse in nothing; outside the region nothing but the way to it counts.
    func dominates(_ other: Point) -> Bool {
      if violation > 0 || other.violation > 0 { return violation < other.violation }
      return score >= other.score && cost <= other.cost && (score > other.score || cost < other.cost)
    }
  }

  package let region: FeasibleRegion
  package let resource: Resource
  package let options: Options

  package init(_ region: FeasibleRegion, _ resource: Resource, _ options: Options = Options()) {
    precondition(options.population > 0)
    self.region = region
    self.resource = resource
    self.options = options
  }

  /// The front that was found, cheapest first; one sub-network for every point.
  /// - Parameters:
  ///   - initial: sub-networks to start with besides random ones.
  ///   - evaluate: scores of many sub-networks at once; larger is better.
  package func run(
    initial: [[Int]] = [], evaluate: ([[Int]]) throws -> [Double]
  ) rethrows -> [Point] {
    var variation = Variation(
      region: region, mutationProbability: options.mutationProbability,
      random: SeededRandom(seed: options.seed))
    func points(_ subnets: [[Int]]) throws -> [Point] {
      let scores = subnets.isEmpty ? [] : try evaluate(subnets)
      precondition(scores.count == subnets.count, "a score for every sub-network")
      return zip(subnets, scores).map {
        Point(subnet: $0, score: $1, cost: resource.cost($0), violation: region.violation($0))
      }
    }
    var population = ranked(try points(variation.firstPopulation(options.population, initial)))
    for _ in 0..<options.generations {
      // Points lie in order of rank and crowding, so the earlier of two wins a tournament.
      func winner() -> [Int] {
        population[min(variation.random.index(population.count), variation.random.index(population.count))]
          .subnet
      }
      var seen = Set(population.map(\.subnet))
      let children = (0..<options.population).compactMap { _ -> [Int]? in
        let child = variation.mutated(variation.crossed(winner(), winner()))
        return seen.insert(child).inserted ? child : nil
      }
      population = Array(ranked(population + (try points(children))).prefix(options.population))
    }
    let front = population.filter { point in
      point.violation == 0 && !population.contains { $0.dominates(point) }
    }.sorted { ($0.cost, $1.score) < ($1.cost, $0.score) }
    return front.indices.filter { $0 == 0 || front[$0].cost > front[$0 - 1].cost }.map { front[$0] }
  }

  /// Front after front; within each those with the widest gaps around them first.
  private func ranked(_ points: [Point]) -> [Point] {
    nondominatedFronts(points).flatMap { front in
      let crowding = crowdingDistances(front.map { points[$0] })
      return front.indices.sorted { (crowding[$0], $1) > (crowding[$1], $0) }.map { points[front[$0]] }
    }
  }
}

/// Indices of points by rank: those that nothing dominates, those that only these dominate, and so on.
private func nondominatedFronts(_ points: [ParetoSearch.Point]) -> [[Int]] {
  var dominated = points.map { _ in [Int]() }, dominators = points.map { _ in 0 }
  for i in points.indices {
    for j in points.indices where points[i].dominates(points[j]) {
      dominated[i].append(j)
      dominators[j] += 1
    }
  }
  var fronts: [[Int]] = [], front = points.indices.filter { dominators[$0] == 0 }
  while !front.isEmpty {
    fronts.append(front)
    var next: [Int] = []
    for j in front.flatMap({ dominated[$0] }) {
      dominators[j] -= 1
      if dominators[j] == 0 { next.append(j) }
    }
    front = next.sorted()
  }
  return fronts
}

/// The perimeter that the neighbours of every point of a front leave it, relative to the front's; infinite at the ends.
private func crowdingDistances(_ front: [ParetoSearch.Point]) -> [Double] {
  var result = front.map { _ in 0.0 }
  for objective in [\ParetoSearch.Point.score, \.cost] {
    let values = front.map { $0[keyPath: objective] }
    let order = front.indices.sorted { (values[$0], $0) < (values[$1], $1) }
    guard let first = order.first, let last = order.last else { continue }
    let span = values[last] - values[first]
    result[first] = .infinity
    result[last] = .infinity
    for position in order.indices.dropFirst().dropLast() where span > 0 {
      result[order[position]] += (values[order[position + 1]] - values[order[position - 1]]) / span
    }
  }
  return result
}
