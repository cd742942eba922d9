/// What a run of a pipeline did: one entry a pass, in order.
package struct PipelineReport: Sendable {
  package struct Entry: Sendable {
    package var pass: String
    /// How often the `repeat` around it had run before; empty outside of any.
    package var iterations: [Int]
    package var seconds: Double
    package var verificationSeconds: Double
    package var isChanged: Bool
    /// Rewrites counted against `--stop-after`.
    package var steps: Int
    package var statistics: [(name: String, count: Int)]
    package var operationsBefore: Int
    package var operationsAfter: Int
  }
  package enum TimingFormat: String, CaseIterable, Sendable { case list, tree, json }

  package var entries: [Entry] = []
  package var seconds: Double { entries.reduce(0) { $0 + $1.seconds + $1.verificationSeconds } }
  package var steps: Int { entries.reduce(0) { $0 + $1.steps } }

  package init() {}

  /// Times for people, slowest first (`list`) or in order with verification below each pass (`tree`), or for programs.
  package func timing(_ format: TimingFormat) -> String {
    switch format {
    case .list:
      let sorted = entries.enumerated().sorted {
        ($1.element.seconds, $0.offset) < ($0.element.seconds, $1.offset)
      }
      let verification = entries.reduce(0) { $0 + $1.verificationSeconds }
      return
        (sorted.map { line($0.element.seconds, $0.element.label) } + [
          line(verification, "verification"), line(seconds, "total"),
        ])
        .joined(separator: "\n") + "\n"
    case .tree:
      let lines = entries.flatMap { entry in
        let indent = String(repeating: "  ", count: entry.iterations.count)
        return [
          line(entry.seconds + entry.verificationSeconds, indent + entry.label),
          line(entry.seconds, indent + "  pass"),
          line(entry.verificationSeconds, indent + "  verification"),
        ]
      }
      return (lines + [line(seconds, "total")]).joined(separator: "\n") + "\n"
    case .json:
      let objects = entries.map { entry in
        "{\"pass\": \"\(entry.pass)\", \"seconds\": \(entry.seconds), \"verification\": \(entry.verificationSeconds)}"
      }
      return "{\"passes\": [" + objects.joined(separator: ", ") + "], \"seconds\": \(seconds)}\n"
    }
  }

  /// What every pass counted.
  package var statistics: String {
    entries.map { entry in
      let size = "\(entry.operationsBefore) to \(entry.operationsAfter) operations"
      let state = entry.isChanged ? size : "unchanged"
      return "\(entry.label): \(state)\n" + entry.statistics.map { "  \($0.count) \($0.name)\n" }.joined()
    }.joined()
  }

  private func line(_ seconds: Double, _ label: String) -> String {
    let tenths = Int((seconds * 10_000).rounded()), text = "\(tenths / 10).\(tenths % 10) ms"
    let share = self.seconds > 0 ? Int((100 * seconds / self.seconds).rounded()) : 0, percent = "\(share) %"
    return String(repeating: " ", count: max(12 - text.count, 0)) + text
      + String(repeating: " ", count: max(7 - percent.count, 0)) + percent + "  " + label
  }
}

extension PipelineReport.Entry {
  fileprivate var label: String {
    iterations.isEmpty ? pass : "\(pass) #\(iterations.map { "\($0 + 1)" }.joined(separator: "."))"
  }
}
