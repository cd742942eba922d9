import Support

extension AssignmentProblem {
  /// The best assignment, by branch and bound over one binary variable a choice; nil when there is none.
  ///
  /// Pairs are linearized exactly: `y[i][j]` shares the choices out, so that rows of y add up to the first site's
  /// variables and columns to the second's. The same problem gives the same assignment: GLPK draws no random numbers, and
  /// of choices that are equal in everything the first is taken.
  /// - Throws: `rejected` when `seconds` pass before any assignment is found.
  package func solved(seconds: Double = 60) throws(CompilerError) -> Assignment? {
    let reduced = ReducedProblem(self)
    // GLPK keeps to budgets within 1e-7 of them; where that shows, they are narrowed by as much.
    for margin in [0, 1e-7, 1e-6] {
      let program = Linearization(reduced.problem, margin: margin)
      let values: [Double], isOptimal: Bool
      switch program.program.solve(seconds: seconds) {
      case .optimal(let solution): (values, isOptimal) = (solution, true)
      case .feasible(let solution): (values, isOptimal) = (solution, false)
      case .infeasible: return nil
      case .unknown:
        throw CompilerError("the search found no assignment in \(seconds) seconds; give it more time")
      case .failed(let code):
        throw CompilerError("GLPK failed with code \(code)", status: .internalError)
      }
      let choices = reduced.original(program.choices(values))
      guard isFeasible(choices) else { continue }
      return Assignment(
        choices: choices, score: score(choices), costs: budgets.indices.map { cost($0, choices) },
        isOptimal: isOptimal)
    }
    return nil
  }

  /// The assignment that takes least of a budget while it keeps to the others; nil when there is none.
  package func cheapest(_ budget: Int, seconds: Double = 60) throws(CompilerError) -> Assignment? {
    guard var result = try minimizing(budget).solved(seconds: seconds) else { return nil }
    result.score = score(result.choices)
    return result
  }
}

/// The integer program of a problem.
private struct Linearization {
  private(set) var program = IntegerProgram()
  /// The variables of every site; none for a site with one choice.
  private var variables: [[Int]] = []

  init(_ problem: AssignmentProblem, margin: Double) {
    var costs = problem.budgets.map { _ in [(column: Int, coefficient: Double)]() }
    var fixed = problem.budgets.map { _ in 0.0 }
    // Scores near 1 keep GLPK's absolute tolerances out of the way.
    let largest = problem.sites.flatMap(\.choices).reduce(0) { max($0, abs($1.score)) }
    let unit = largest > 0 ? largest : 1
    for site in problem.sites {
      guard site.choices.count > 1 else {
        for budget in fixed.indices { fixed[budget] += site.choices[0].costs[budget] }
        variables.append([])
        continue
      }
      let columns = site.choices.map { program.addColumn(objective: $0.score / unit, isBinary: true) }
      program.addRow(.equal(1), columns.map { ($0, 1) })
      for (column, choice) in zip(columns, site.choices) {
        for budget in costs.indices { costs[budget].append((column, choice.costs[budget])) }
      }
      variables.append(columns)
    }
    for pair in problem.pairs {
      // Both have several choices: products with a single one were folded into sums.
      let rows = variables[pair.first], columns = variables[pair.second]
      let products = rows.indices.map { i in
        columns.indices.map { j in
          program.addColumn(objective: pair.score(i, j) / unit, isBinary: false)
        }
      }
      for i in rows.indices { program.addRow(.equal(0), products[i].map { ($0, 1) } + [(rows[i], -1)]) }
      for j in columns.indices {
        program.addRow(.equal(0), products.map { ($0[j], 1) } + [(columns[j], -1)])
      }
      for budget in costs.indices {
        for i in rows.indices {
          for j in columns.indices { costs[budget].append((products[i][j], pair.cost(budget, i, j))) }
        }
      }
    }
    if program.objective.isEmpty { _ = program.addColumn(objective: 0, isBinary: true) }
    for (index, budget) in problem.budgets.enumerated() where budget.limit < .greatestFiniteMagnitude {
      let limit = budget.limit - fixed[index]
      let scale = max(abs(budget.limit), abs(fixed[index]), .leastNormalMagnitude)
      program.addRow(
        .atMost(limit / scale - margin + 1e-10), costs[index].map { ($0.column, $0.coefficient / scale) })
    }
  }

  func choices(_ values: [Double]) -> [Int] {
    variables.map { columns in
      columns.indices.max { values[columns[$0]] < values[columns[$1]] } ?? 0
    }
  }
}
