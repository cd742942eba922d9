import Passes
import Support

/// The smallest budget whose best assignment keeps the measured accuracy.
struct AccuracyBisection {
  /// The assignment that holds with the least limit found; nil when even the best one does not.
  private(set) var holding: (limit: Double, point: SearchPoint)?
  /// The largest limit found whose assignment does not hold.
  private(set) var failing: (limit: Double, point: SearchPoint)?
  private(set) var evaluations = 0

  /// Bisects the limit of `kind` until it is known to a 200th of its range. Accuracy is measured, so that it need not
  /// grow with the limit; what is returned was measured to hold.
  /// - Parameter largestDrop: in points of top-1 below the float network.
  init(
    _ searcher: Searcher, _ evaluator: AssignmentEvaluator, _ kind: BudgetKind, fixed: Budgets,
    largestDrop: Double
  ) throws {
    let range = try searcher.range(of: kind, fixed)
    func measured(_ limit: Double) throws -> SearchPoint {
      if Interruption.isRequested { throw interruption() }
      var budgets = fixed
      budgets[kind] = limit * (1 + 1e-9)
      let solution = try searcher.solve(budgets)
      return SearchPoint(solution, searcher, try evaluator.evaluate(solution.forms))
    }
    var low = range.lowerBound, high = range.upperBound
    let total = 10
    func note(_ limit: Double, _ point: SearchPoint) -> Bool {
      evaluations += 1
      Console.progress("bisecting", min(evaluations, total), total)
      // A hair for binary fractions of percent.
      let holds = point.quality.drop <= largestDrop + 1e-9
      if holds { holding = (limit, point) } else { failing = (limit, point) }
      return holds
    }
    guard note(high, try measured(high)) else { return }
    if note(low, try measured(low)) { return }
    while high - low > (range.upperBound - range.lowerBound) / 200 {
      let middle = (low + high) / 2
      let point = try measured(middle)
      if note(middle, point) {
        // The assignment may take less than it was allowed.
        high = max(min(middle, point.solution.costs.first { $0.kind == kind }?.cost ?? middle), low)
      } else {
        low = middle
      }
    }
    Console.finishProgress()
  }
}
