import Search
import Support

/// A problem with random scores and whole costs.
/// - Parameter tightness: where between the least and the largest cost the limits lie.
func randomProblem(
  seed: UInt64, sites: ClosedRange<Int>, choices: ClosedRange<Int>, budgets: Int, pairs: Int = 0,
  tightness: Double = 0.5
) -> AssignmentProblem {
  var random = SeededRandom(seed: seed)
  func number(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound + Int(random.below(UInt64(range.count)))
  }
  let all = (0..<number(sites)).map { index in
    AssignmentProblem.Site(
      "site\(index)",
      (0..<number(choices)).map { _ in
        AssignmentProblem.Choice(
          score: Double(number(0...1000)) / 64, costs: (0..<budgets).map { _ in Double(number(0...40)) })
      })
  }
  var problem = AssignmentProblem(sites: all, budgets: [])
  for _ in 0..<pairs where all.count > 1 {
    let first = number(0...all.count - 2), second = number(first + 1...all.count - 1)
    func matrix(_ range: ClosedRange<Int>) -> [[Double]] {
      all[first].choices.map { _ in all[second].choices.map { _ in Double(number(range)) } }
    }
    problem.pairs.append(
      AssignmentProblem.Pair(
        first, second, scores: matrix(-4...4),
        costs: (0..<budgets).map { _ in number(0...1) == 0 ? [] : matrix(0...20) }))
  }
  for budget in 0..<budgets {
    let low = all.reduce(0.0) { $0 + ($1.choices.map { $0.costs[budget] }.min() ?? 0) }
    let high = all.reduce(0.0) { $0 + ($1.choices.map { $0.costs[budget] }.max() ?? 0) }
    problem.budgets.append(.init("budget\(budget)", (low + tightness * (high - low)).rounded()))
  }
  return problem
}

/// The best assignment of all, in order; nil when none is feasible.
func bruteForce(_ problem: AssignmentProblem) -> (choices: [Int], score: Double)? {
  var best: (choices: [Int], score: Double)?
  var choices = problem.sites.map { _ in 0 }
  while true {
    if problem.isFeasible(choices) {
      let score = problem.score(choices)
      if best.map({ score < $0.score }) ?? true { best = (choices, score) }
    }
    guard let index = choices.indices.last(where: { choices[$0] + 1 < problem.sites[$0].choices.count })
    else { return best }
    choices[index] += 1
    for later in choices.indices where later > index { choices[later] = 0 }
  }
}
