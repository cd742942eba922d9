import Explain
import IR
import Support

/// `18.3`, `exact` or `none` of a signal-to-noise ratio.
func decibelText(_ value: Double) -> String {
  value == .infinity ? "exact" : value.isFinite ? fixed(value, 1) : "none"
}

/// One line for every cause among the rows, with the hint of the first that has it.
func hintLines(_ rows: [SiteReport]) -> [String] {
  var groups: [(first: SiteReport, count: Int)] = []
  for row in rows where !row.cause.hint.isEmpty && row.cause.kind != .inherited {
    let index = groups.firstIndex {
      $0.first.cause.kind == row.cause.kind && $0.first.site.role == row.site.role
    }
    if let index { groups[index].count += 1 } else { groups.append((row, 1)) }
  }
  return groups.map { first, count in
    let role = first.site.role == .weight ? "weights" : "activations"
    return
      "  \(first.cause.kind.rawValue), \(role) of \(count) \(count == 1 ? "site" : "sites"): \(first.cause.hint)"
  }
}

/// What `qcc compare` prints of a network's quantizers.
struct SiteTable {
  private let report: NetworkReport
  private let sort: CompareCommand.SortKey
  private let limit: Int

  init(_ report: NetworkReport, sort: CompareCommand.SortKey, limit: Int) {
    self.report = report
    self.sort = sort
    self.limit = limit
  }

  private var agreement: Double { 100 * Double(report.same) / Double(max(report.samples, 1)) }

  /// The worst first; equals in the order of the graph.
  private var sorted: [SiteReport] {
    func key(_ site: SiteReport) -> Double {
      switch sort {
      case .output: site.output.decibels
      case .cumulative: site.cumulative.decibels
      case .local: site.local.decibels
      case .weight: site.weights?.decibels ?? .infinity
      case .graph: 0
      }
    }
    return report.sites.sorted { (key($0), $0.site.index) < (key($1), $1.site.index) }
  }

  var text: String {
    var lines = [
      "\(report.samples) samples, \(report.sites.count) quantizers: answers "
        + "\(decibelText(report.outputs.decibels)) dB, the same on \(fixed(agreement, 1)) %; rounding weights alone "
        + "\(decibelText(report.weightsAlone.decibels)) dB, activations alone "
        + "\(decibelText(report.activationsAlone.decibels)) dB",
      "",
    ]
    let rows = sorted.prefix(limit)
    var table = Table(["site", "form", "weight", "local", "cumul.", "output", "cause"], right: [2, 3, 4, 5])
    for row in rows {
      let cause = row.cause
      table.add([
        row.site.name, row.site.width, row.weights.map { decibelText($0.decibels) } ?? "",
        decibelText(row.local.decibels), decibelText(row.cumulative.decibels),
        decibelText(row.output.decibels),
        cause.evidence.isEmpty ? cause.kind.rawValue : "\(cause.kind.rawValue): \(cause.evidence)",
      ])
    }
    lines.append(table.text)
    if rows.count < report.sites.count {
      lines.append("\(report.sites.count - rows.count) more; --limit 0 shows all")
    }
    let hints = hintLines(Array(rows))
    if !hints.isEmpty { lines += ["", "What to do:"] + hints }
    return lines.joined(separator: "\n")
  }

  var json: Json {
    func energies(_ energies: Energies) -> Json { .double(energies.decibels) }
    return .object([
      ("samples", .int(report.samples)), ("sqnr-db", energies(report.outputs)),
      ("agreement", .double(agreement)), ("weights-alone-db", energies(report.weightsAlone)),
      ("activations-alone-db", energies(report.activationsAlone)),
      (
        "sites",
        .array(
          sorted.map { row in
            .object([
              ("site", .string(row.site.name)), ("form", .string(row.site.width)),
              ("position", .int(row.site.index)),
              ("weight-db", row.weights.map(energies) ?? .null), ("local-db", energies(row.local)),
              ("cumulative-db", energies(row.cumulative)), ("output-db", energies(row.output)),
              ("cause", .string(row.cause.kind.rawValue)), ("number", .double(row.cause.number)),
              ("evidence", .string(row.cause.evidence)), ("hint", .string(row.cause.hint)),
            ])
          })
      ),
    ])
  }

  /// The figures in the order of the graph.
  var chart: LineChart {
    func panel(_ title: String, _ value: (SiteReport) -> Energies?) -> LineChart.Panel {
      LineChart.Panel(
        title, report.sites.compactMap { site in value(site).map { (Double(site.site.index), $0.decibels) } })
    }
    return LineChart(
      title: "Signal to noise, in decibels", horizontal: "quantizer, in the order of the network",
      panels: [
        panel("local: this site alone, behind it") { $0.local },
        panel("cumulative: all sites") { $0.cumulative },
        panel("output: this site alone, at the answers") { $0.output },
      ])
  }
}

/// What `qcc compare` prints of two models' values.
struct ValueTable {
  private let reports: [ValueReport]
  private let samples: Int
  private let unmatched: Int
  private let sort: CompareCommand.SortKey
  private let limit: Int

  init(
    _ reports: [ValueReport], samples: Int, unmatched: Int, sort: CompareCommand.SortKey, limit: Int
  ) {
    self.reports = reports
    self.samples = samples
    self.unmatched = unmatched
    self.sort = sort
    self.limit = limit
  }

  private var sorted: [ValueReport] {
    guard sort != .graph else { return reports }
    return reports.enumerated().sorted {
      ($0.element.energies.decibels, $0.offset) < ($1.element.energies.decibels, $1.offset)
    }.map(\.element)
  }

  var text: String {
    var table = Table(["value", "elements", "dB", ""], right: [1, 2])
    let rows = sorted.prefix(limit)
    for row in rows {
      table.add([
        row.name, "\(row.elements)", decibelText(row.energies.decibels),
        (row.otherName == row.name ? "" : "against \(row.otherName)")
          + (row.isFitted ? " (scale fitted)" : ""),
      ])
    }
    var lines = [
      "\(samples) samples, \(reports.count) values in both, \(unmatched) in one alone", "", table.text,
    ]
    if rows.count < reports.count {
      lines.append("\(reports.count - rows.count) more; --limit 0 shows all")
    }
    return lines.joined(separator: "\n")
  }

  var json: Json {
    .object([
      ("samples", .int(samples)), ("unmatched", .int(unmatched)),
      (
        "values",
        .array(
          sorted.map {
            .object([
              ("value", .string($0.name)), ("against", .string($0.otherName)),
              ("elements", .int($0.elements)),
              ("sqnr-db", .double($0.energies.decibels)), ("fitted", .bool($0.isFitted)),
            ])
          })
      ),
    ])
  }

  var chart: LineChart {
    let points = reports.enumerated().map { (Double($0), $1.energies.decibels) }
    return LineChart(
      title: "Signal to noise, in decibels", horizontal: "value, in the order of the network",
      panels: [LineChart.Panel("of values with the same name", points)])
  }
}
