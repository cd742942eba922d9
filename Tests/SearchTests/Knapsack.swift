import Search

/// The best assignment under one budget of whole numbers by dynamic programming, independent of the integer program;
/// nil when there is none.
/// - Requires: no pairs, one budget, costs that are whole and not negative.
func knapsackSolution(_ problem: AssignmentProblem) -> [Int]? {
  precondition(problem.pairs.isEmpty && problem.budgets.count == 1)
  guard problem.budgets[0].limit >= 0 else { return nil }
  let limit = Int(problem.budgets[0].limit)
  // least[c] is the least score of the sites so far at cost c; from[s][c] the choice that led there.
  var least = [Double](repeating: .infinity, count: limit + 1)
  least[0] = 0
  var from: [[Int]] = []
  for site in problem.sites {
    var next = [Double](repeating: .infinity, count: limit + 1),
      chosen = [Int](repeating: -1, count: limit + 1)
    for (index, choice) in site.choices.enumerated() {
      let cost = Int(choice.costs[0])
      guard cost <= limit else { continue }
      for used in 0...limit - cost where least[used] + choice.score < next[used + cost] {
        next[used + cost] = least[used] + choice.score
        chosen[used + cost] = index
      }
    }
    least = next
    from.append(chosen)
  }
  guard var cost = least.indices.min(by: { least[$0] < least[$1] }), least[cost].isFinite else { return nil }
  var choices: [Int] = []
  for (site, chosen) in zip(problem.sites, from).reversed() {
    choices.append(chosen[cost])
    cost -= Int(site.choices[chosen[cost]].costs[0])
  }
  return choices.reversed()
}
