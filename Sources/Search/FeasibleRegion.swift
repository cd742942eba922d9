import Support

/// The sub-networks of open choices whose resources lie in windows; at least one.
package struct FeasibleRegion: Sendable {
  /// `above < cost <= limit`.
  package struct Window: Hashable, Sendable {
    package var resource: Resource
    package var above: Double
    package var limit: Double

    package init(_ resource: Resource, above: Double = -.infinity, atMost limit: Double) {
      self.resource = resource
      self.above = above
      self.limit = limit
    }
    /// EQ-Net's window about a target of average bits.
    package static func target(_ bits: Double, _ resource: Resource) -> Window {
      Window(resource, above: bits - 0.5, atMost: bits)
    }

    /// The relative distance from the window, 0 inside. Sums may miss a limit in their last digits.
    func violation(_ subnet: [Int]) -> Double {
      let cost = resource.cost(subnet), unit = max(abs(limit.isFinite ? limit : above), .leastNormalMagnitude)
      let excess = max(cost - limit, above - cost) / unit
      return cost <= above || excess > 1e-9 ? max(excess, 1e-9) : 0
    }
    var text: String {
      let most = "\(resource.name) <= \(resource.text(limit))"
      return above.isFinite ? "\(resource.text(above)) < \(most)" : most
    }
  }

  package let space: ElasticSpace
  package let windows: [Window]
  /// A sub-network inside.
  package private(set) var member: [Int] = []
  /// Sites with a choice to make.
  let variable: [Int]
  /// Sites of which a choice is not open.
  private let restricted: [Int]

  /// - Throws: `infeasible` when the windows leave nothing, with what would be possible.
  package init(_ space: ElasticSpace, _ windows: [Window] = [], seed: UInt64 = 0) throws(CompilerError) {
    self.space = space
    self.windows = windows
    variable = space.sites.indices.filter { space.sites[$0].open.count > 1 }
    restricted = space.sites.indices.filter { space.sites[$0].open.count < space.sites[$0].choices.count }
    var random = SeededRandom(seed: seed)
    if let found = repaired(space.sites.map { $0.open[0] }, &random) {
      member = found
    } else {
      member = try solved()
    }
  }

  package func contains(_ subnet: [Int]) -> Bool {
    isOpen(subnet) && windows.allSatisfy { $0.violation(subnet) == 0 }
  }
  /// Whether every choice is open, within the windows or not.
  package func isOpen(_ subnet: [Int]) -> Bool {
    restricted.allSatisfy { space.sites[$0].open.contains(subnet[$0]) }
  }
  /// The sum of the relative distances from all windows; 0 inside.
  package func violation(_ subnet: [Int]) -> Double { windows.reduce(0) { $0 + $1.violation(subnet) } }

  /// A sub-network inside that random changes of single sites lead to, each of which brings it closer; nil when they are
  /// stuck.
  func repaired(_ subnet: [Int], _ random: inout SeededRandom) -> [Int]? {
    var subnet = subnet, distance = violation(subnet)
    // On average every choice is tried eight times.
    var trials = 8 * variable.reduce(0) { $0 + space.sites[$1].open.count }
    while distance > 0 {
      guard trials > 0 else { return nil }
      trials -= 1
      let site = variable[random.index(variable.count)], before = subnet[site]
      subnet[site] = random.element(space.sites[site].open)
      let changed = violation(subnet)
      if changed < distance { distance = changed } else { subnet[site] = before }
    }
    return subnet
  }
}

// MARK: Exact answers

extension FeasibleRegion {
  private func solved() throws(CompilerError) -> [Int] {
    var rows: [Row] = []
    for window in windows {
      rows.append((window.resource, 1, window.limit))
      // The open bound becomes a closed one, beyond the solver's tolerance.
      let above = window.above + 1e-6 * abs(window.above)
      if above.isFinite { rows.append((window.resource, -1, -above)) }
    }
    let problem = problem(rows)
    if let found = try problem.solved() {
      let subnet = zip(space.sites, found.choices).map { $0.open[$1] }
      if contains(subnet) { return subnet }
    }
    var possible: [String] = []
    for window in windows {
      let range = try interval(window.resource)
      possible.append(
        "\(window.resource.name): \(window.resource.text(range.lowerBound)) to \(window.resource.text(range.upperBound))"
      )
    }
    throw CompilerError(
      [
        .error(
          "no sub-network has " + windows.map(\.text).joined(separator: ", "),
          notes: ["possible, each by itself, is " + possible.joined(separator: "; ")])
      ], status: .infeasible)
  }

  /// The least and the largest cost of any open sub-network, whatever the windows.
  package func interval(_ resource: Resource) throws(CompilerError) -> ClosedRange<Double> {
    let both = problem([(resource, 1, .greatestFiniteMagnitude), (resource, -1, .greatestFiniteMagnitude)])
    // Without limits there always is an assignment.
    guard let least = try both.cheapest(0), let most = try both.cheapest(1) else { return 0...0 }
    return least.costs[0]...max(most.costs[0], least.costs[0])
  }

  /// An upper limit of a resource times a sign.
  private typealias Row = (resource: Resource, sign: Double, limit: Double)

  private func problem(_ rows: [Row]) -> AssignmentProblem {
    let sites = space.sites
    var problem = AssignmentProblem(
      sites: sites.indices.map { site in
        AssignmentProblem.Site(
          sites[site].name,
          sites[site].open.map { choice in
            .init(score: 0, costs: rows.map { $0.sign * $0.resource.costs[site][choice] })
          })
      },
      budgets: rows.map { .init($0.resource.name, $0.limit.isFinite ? $0.limit : .greatestFiniteMagnitude) })
    for (index, row) in rows.enumerated() {
      for pair in row.resource.couplings {
        var costs = rows.map { _ in [[Double]]() }
        costs[index] = sites[pair.first].open.map { i in
          sites[pair.second].open.map { row.sign * pair.costs[i][$0] }
        }
        problem.pairs.append(.init(pair.first, pair.second, costs: costs))
      }
    }
    return problem
  }
}
