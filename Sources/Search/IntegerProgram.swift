import CGLPK

/// A mixed integer linear program, solved by GLPK on the calling thread: minimize `c x` for `0 <= x <= 1` and rows.
struct IntegerProgram {
  enum Bound { case equal(Double), atMost(Double) }
  struct Row {
    var bound: Bound
    var terms: [(column: Int, coefficient: Double)]
  }
  enum Outcome: Hashable {
    case optimal([Double])
    /// The time ran out behind this solution.
    case feasible([Double])
    case infeasible
    /// The time ran out before any solution was found.
    case unknown
    /// GLPK gave up with this code.
    case failed(Int32)
  }
  private(set) var objective: [Double] = []
  private(set) var isBinary: [Bool] = []
  private(set) var rows: [Row] = []

  /// - Returns: the new column.
  mutating func addColumn(objective coefficient: Double, isBinary: Bool) -> Int {
    objective.append(coefficient)
    self.isBinary.append(isBinary)
    return objective.count - 1
  }
  mutating func addRow(_ bound: Bound, _ terms: [(column: Int, coefficient: Double)]) {
    rows.append(Row(bound: bound, terms: terms.filter { $0.coefficient != 0 }))
  }

  /// - Requires: all numbers are finite, and there is a column.
  func solve(seconds: Double) -> Outcome {
    glp_term_out(GLP_OFF)
    let problem = glp_create_prob()
    defer { glp_delete_prob(problem) }
    glp_set_obj_dir(problem, GLP_MIN)
    glp_add_cols(problem, Int32(objective.count))
    for (index, coefficient) in objective.enumerated() {
      let column = Int32(index + 1)
      glp_set_obj_coef(problem, column, coefficient)
      glp_set_col_kind(problem, column, isBinary[index] ? GLP_BV : GLP_CV)
      glp_set_col_bnds(problem, column, GLP_DB, 0, 1)
    }
    if !rows.isEmpty { glp_add_rows(problem, Int32(rows.count)) }
    for (index, row) in rows.enumerated() {
      let number = Int32(index + 1)
      switch row.bound {
      case .equal(let value): glp_set_row_bnds(problem, number, GLP_FX, value, value)
      case .atMost(let value): glp_set_row_bnds(problem, number, GLP_UP, 0, value)
      }
      // GLPK counts from 1 and skips the first element.
      let columns = [0] + row.terms.map { Int32($0.column + 1) }
      let coefficients = [0] + row.terms.map(\.coefficient)
      glp_set_mat_row(problem, number, Int32(row.terms.count), columns, coefficients)
    }
    var parameters = glp_iocp()
    glp_init_iocp(&parameters)
    parameters.msg_lev = GLP_MSG_OFF
    parameters.presolve = GLP_ON
    parameters.mir_cuts = GLP_ON
    parameters.cov_cuts = GLP_ON
    parameters.tol_obj = 1e-9
    parameters.tm_lim = Int32(min(max(seconds, 0.001) * 1000, 2e9))
    let code = glp_intopt(problem, &parameters)
    let status = glp_mip_status(problem)
    func solution() -> [Double] { objective.indices.map { glp_mip_col_val(problem, Int32($0 + 1)) } }
    switch (code, status) {
    case (0, GLP_OPT), (GLP_EMIPGAP, GLP_FEAS), (GLP_EMIPGAP, GLP_OPT): return .optimal(solution())
    case (0, GLP_NOFEAS), (GLP_ENOPFS, _): return .infeasible
    case (GLP_ETMLIM, GLP_FEAS), (GLP_ETMLIM, GLP_OPT): return .feasible(solution())
    case (GLP_ETMLIM, _): return .unknown
    case _: return .failed(code)
    }
  }
}
