/// One choice for every site with the least sum of scores, within budgets: what `qcc search` solves.
///
/// Sites are independent but for pairs, which add what two choices cost or score together: products of two widths, and
/// interactions between layers.
package struct AssignmentProblem: Sendable {
  package struct Choice: Hashable, Sendable {
    /// What this choice loses; smaller is better.
    package var score: Double
    /// What it takes of every budget, in the order of `budgets`.
    package var costs: [Double]

    package init(score: Double, costs: [Double]) {
      self.score = score
      self.costs = costs
    }
  }
  package struct Site: Hashable, Sendable {
    package var name: String
    /// At least one; the first of equals is chosen.
    package var choices: [Choice]

    package init(_ name: String, _ choices: [Choice]) {
      self.name = name
      self.choices = choices
    }
  }
  /// What two sites add together: `[i][j]` for choice i of the first and j of the second.
  package struct Pair: Hashable, Sendable {
    package var first: Int
    package var second: Int
    /// Empty: nothing.
    package var scores: [[Double]]
    /// For every budget; an empty matrix is nothing.
    package var costs: [[[Double]]]

    package init(_ first: Int, _ second: Int, scores: [[Double]] = [], costs: [[[Double]]] = []) {
      self.first = first
      self.second = second
      self.scores = scores
      self.costs = costs
    }
    package func score(_ i: Int, _ j: Int) -> Double { scores.isEmpty ? 0 : scores[i][j] }
    package func cost(_ budget: Int, _ i: Int, _ j: Int) -> Double {
      costs.isEmpty || costs[budget].isEmpty ? 0 : costs[budget][i][j]
    }
  }
  package struct Budget: Hashable, Sendable {
    package var name: String
    package var limit: Double

    package init(_ name: String, _ limit: Double) {
      self.name = name
      self.limit = limit
    }
  }

  package var sites: [Site]
  package var pairs: [Pair]
  package var budgets: [Budget]

  package init(sites: [Site], pairs: [Pair] = [], budgets: [Budget]) {
    self.sites = sites
    self.pairs = pairs
    self.budgets = budgets
  }

  /// The sum of the scores of one choice for every site.
  package func score(_ choices: [Int]) -> Double {
    zip(sites, choices).reduce(0) { $0 + $1.0.choices[$1.1].score }
      + pairs.reduce(0) { $0 + $1.score(choices[$1.first], choices[$1.second]) }
  }
  /// What one choice for every site takes of a budget.
  package func cost(_ budget: Int, _ choices: [Int]) -> Double {
    zip(sites, choices).reduce(0) { $0 + $1.0.choices[$1.1].costs[budget] }
      + pairs.reduce(0) { $0 + $1.cost(budget, choices[$1.first], choices[$1.second]) }
  }
  package func isFeasible(_ choices: [Int]) -> Bool {
    budgets.indices.allSatisfy { fits(cost($0, choices), $0) }
  }
  /// Whether a cost keeps to a budget, but for rounding in the last digits of a sum.
  package func fits(_ cost: Double, _ budget: Int) -> Bool {
    let limit = budgets[budget].limit
    return cost <= limit + 1e-9 * max(abs(limit), 1e-300)
  }

  /// The problem with score `budget`: the least of one cost, whatever the scores and the budget's own limit.
  package func minimizing(_ budget: Int) -> AssignmentProblem {
    var result = self
    for site in sites.indices {
      for choice in sites[site].choices.indices {
        result.sites[site].choices[choice].score = sites[site].choices[choice].costs[budget]
      }
    }
    for pair in pairs.indices {
      result.pairs[pair].scores = pairs[pair].costs.isEmpty ? [] : pairs[pair].costs[budget]
    }
    result.budgets[budget].limit = .greatestFiniteMagnitude
    return result
  }
}

/// A solution of an `AssignmentProblem`.
package struct Assignment: Hashable, Sendable {
  /// For every site the index of its choice.
  package var choices: [Int]
  package var score: Double
  /// What is taken of every budget.
  package var costs: [Double]
  /// Whether no better one exists; else time ran out.
  package var isOptimal: Bool
}
