import IR
import Passes
import Support

/// One solution of a search with its measured quality.
struct SearchPoint {
  let solution: Searcher.Solution
  let averageBits: Double
  let quality: AssignmentQuality

  init(_ solution: Searcher.Solution, _ searcher: Searcher, _ quality: AssignmentQuality) {
    self.solution = solution
    self.quality = quality
    averageBits = searcher.averageBits(solution.forms)
  }

  func json(hasLabels: Bool) -> Json {
    var members: [(String, Json)] = [
      ("bytes", .int(quality.bytes)), ("average-bits", .double(averageBits)),
      ("score", .double(solution.score)), ("is-optimal", .bool(solution.isOptimal)),
    ]
    members += solution.costs.map { ($0.kind.rawValue, .double($0.cost)) }
    members += [
      ("samples", .int(quality.samples)), ("sqnr-db", .double(quality.signalToNoise)),
      ("agreement", .double(quality.agreement)),
    ]
    if hasLabels {
      members += [
        ("top1", .double(quality.top1)), ("float-top1", .double(quality.floatTop1)),
        ("wins", .int(quality.wins)), ("losses", .int(quality.losses)),
      ]
    }
    return .object(members)
  }
}

/// Assignments for a row of budgets between the cheapest and the best.
struct ParetoFront {
  let kind: BudgetKind
  let hasLabels: Bool
  private(set) var points: [(limit: Double, point: SearchPoint)] = []

  /// - Parameter fixed: budgets that hold for every point.
  init(
    _ searcher: Searcher, _ evaluator: AssignmentEvaluator, _ kind: BudgetKind, fixed: Budgets, count: Int
  ) throws {
    self.kind = kind
    hasLabels = evaluator.hasLabels
    let range = try searcher.range(of: kind, fixed)
    for index in 0..<count {
      if Interruption.isRequested { throw interruption() }
      let share = count > 1 ? Double(index) / Double(count - 1) : 1
      let limit = range.lowerBound + share * (range.upperBound - range.lowerBound)
      var budgets = fixed
      budgets[kind] = limit * (1 + 1e-9)
      let solution = try searcher.solve(budgets)
      Console.progress("evaluating assignments", index + 1, count)
      // Neighbouring limits may have the same best.
      if points.last?.point.solution == solution { continue }
      let quality = try evaluator.evaluate(solution.forms)
      points.append((limit, SearchPoint(solution, searcher, quality)))
    }
  }

  private func cost(_ point: SearchPoint) -> Double {
    point.solution.costs.first { $0.kind == kind }?.cost ?? 0
  }

  var csv: String {
    var lines = [
      "limit,\(kind.rawValue),average_bits,bytes,score,sqnr_db,agreement"
        + (hasLabels ? ",top1,float_top1" : "")
    ]
    for (limit, point) in points {
      let q = point.quality
      var cells =
        [limit, cost(point), point.averageBits].map { "\($0)" } + ["\(q.bytes)", "\(point.solution.score)"]
      cells += [fixed(q.signalToNoise, 3), fixed(q.agreement, 2)]
      if hasLabels { cells += [fixed(q.top1, 2), fixed(q.floatTop1, 2)] }
      lines.append(cells.joined(separator: ","))
    }
    return lines.joined(separator: "\n") + "\n"
  }
  var json: Json {
    .object([
      ("budget", .string(kind.rawValue)),
      (
        "points",
        .array(
          points.map {
            .object([("limit", .double($0.limit)), ("result", $0.point.json(hasLabels: hasLabels))])
          })
      ),
    ])
  }
  var table: String {
    var table = Table(
      [kind.rawValue, "bits", "bytes", "score", "SQNR dB", "agreement"]
        + (hasLabels ? ["top-1", "float"] : []),
      right: Set(0...7))
    for (_, point) in points {
      let q = point.quality
      table.add(
        [
          kind.text(cost(point)), fixed(point.averageBits, 2), "\(q.bytes)", fixed(point.solution.score, 5),
          fixed(q.signalToNoise, 2), fixed(q.agreement, 2),
        ] + (hasLabels ? [fixed(q.top1, 2), fixed(q.floatTop1, 2)] : []))
    }
    return table.text
  }
  /// Accuracy (or agreement), signal to noise and score against the mean width of weights, one below the other.
  var chart: LineChart {
    let answers: (SearchPoint) -> Double = hasLabels ? { $0.quality.top1 } : { $0.quality.agreement }
    func series(_ value: (SearchPoint) -> Double) -> [(x: Double, y: Double)] {
      points.map { ($0.point.averageBits, value($0.point)) }.sorted { $0.0 < $1.0 }
    }
    return LineChart(
      title: "Best assignments by \(kind.rawValue)", horizontal: "average weight bits",
      panels: [
        .init(hasLabels ? "top-1 in percent" : "same answer as float in percent", series(answers)),
        .init("signal to noise of the outputs in dB", series { $0.quality.signalToNoise }),
        .init("sum of scores", series { $0.solution.score }),
      ])
  }
}
