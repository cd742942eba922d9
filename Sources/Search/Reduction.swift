/// A problem without what cannot matter: choices that another one beats in everything, and pairs that are sums of what
/// their sites cost alone.
struct ReducedProblem {
  private(set) var problem: AssignmentProblem
  /// For every site the original indices of the choices that are left.
  private(set) var kept: [[Int]]

  init(_ original: AssignmentProblem) {
    problem = original
    kept = original.sites.map { Array($0.choices.indices) }
    foldPairs()
    dropDominated()
    foldPairs()  // a site with one choice left makes a product a sum
  }

  /// The choices of the original problem.
  func original(_ choices: [Int]) -> [Int] { zip(kept, choices).map { $0[$1] } }

  /// Moves pairs `a[i] + b[j]` into their sites.
  private mutating func foldPairs() {
    var left: [AssignmentProblem.Pair] = []
    for var pair in problem.pairs {
      if let (rows, columns) = split(pair.scores) {
        for (i, x) in rows.enumerated() { problem.sites[pair.first].choices[i].score += x }
        for (j, x) in columns.enumerated() { problem.sites[pair.second].choices[j].score += x }
        pair.scores = []
      }
      for budget in pair.costs.indices {
        guard let (rows, columns) = split(pair.costs[budget]) else { continue }
        for (i, x) in rows.enumerated() { problem.sites[pair.first].choices[i].costs[budget] += x }
        for (j, x) in columns.enumerated() { problem.sites[pair.second].choices[j].costs[budget] += x }
        pair.costs[budget] = []
      }
      if !pair.scores.isEmpty || pair.costs.contains(where: { !$0.isEmpty }) { left.append(pair) }
    }
    problem.pairs = left
  }

  /// The two addends of a matrix that is their sum; nil for others and for an empty one.
  private func split(_ matrix: [[Double]]) -> (rows: [Double], columns: [Double])? {
    guard let first = matrix.first, let corner = first.first else { return nil }
    let largest = matrix.joined().reduce(0) { max($0, abs($1)) }
    for row in matrix {
      for (j, x) in row.enumerated() where abs(x - row[0] - first[j] + corner) > 1e-12 * largest {
        return nil
      }
    }
    return (matrix.map { $0[0] }, first.map { $0 - corner })
  }

  /// Drops choices that are nowhere better than another one, or equal to an earlier one.
  private mutating func dropDominated() {
    for site in problem.sites.indices {
      let profiles = problem.sites[site].choices.indices.map { profile(site, $0) }
      let staying = profiles.indices.filter { index in
        !profiles.indices.contains { other in
          other != index && zip(profiles[other], profiles[index]).allSatisfy { $0 <= $1 }
            && (profiles[other] != profiles[index] || other < index)
        }
      }
      keep(staying, of: site)
    }
  }

  /// Everything that a choice adds, whatever its partners do.
  private func profile(_ site: Int, _ choice: Int) -> [Double] {
    let own = problem.sites[site].choices[choice]
    var result = [own.score] + own.costs
    for pair in problem.pairs where pair.first == site || pair.second == site {
      for matrix in [pair.scores] + pair.costs where !matrix.isEmpty {
        result += pair.first == site ? matrix[choice] : matrix.map { $0[choice] }
      }
    }
    return result
  }

  private mutating func keep(_ choices: [Int], of site: Int) {
    guard choices.count < problem.sites[site].choices.count else { return }
    func cut(_ matrix: [[Double]], _ pair: AssignmentProblem.Pair) -> [[Double]] {
      if matrix.isEmpty { return [] }
      return pair.first == site ? choices.map { matrix[$0] } : matrix.map { row in choices.map { row[$0] } }
    }
    problem.sites[site].choices = choices.map { problem.sites[site].choices[$0] }
    kept[site] = choices.map { kept[site][$0] }
    for index in problem.pairs.indices {
      let pair = problem.pairs[index]
      guard pair.first == site || pair.second == site else { continue }
      problem.pairs[index].scores = cut(pair.scores, pair)
      problem.pairs[index].costs = pair.costs.map { cut($0, pair) }
    }
  }
}
