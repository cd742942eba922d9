import Program
import Runtime

/// Two programs timed in turns, so that both see the same machine, with their operations side by side by name.
struct ProgramComparison {
  /// An operation of both programs, or of one.
  private struct Row {
    var name: String
    var mnemonic: String
    var first: InstructionTiming?
    var second: InstructionTiming?
  }
  private let rows: [Row]
  private let first: WholeTimes
  private let second: WholeTimes
  private let names: [String]

  /// - Parameter names: of the two programs, for reports.
  /// - Throws: RunError when the inputs do not fit.
  init(_ names: [String], _ first: Interpreter, _ second: Interpreter, runs: Int) throws {
    self.names = names
    let inputs = [first, second].map(benchInputs)
    let whole = [WholeRuns(first, inputs[0]), WholeRuns(second, inputs[1])]
    let profiles = [try Profile(first, inputs[0]), try Profile(second, inputs[1])]
    whole.forEach { $0.repeated(1) }
    var times: [[Double]] = [[], []]
    for run in 0..<runs {
      // Whoever goes first finds the caches as the other left them: take turns.
      for side in run % 2 == 0 ? [0, 1] : [1, 0] { times[side] += whole[side].times(of: 1) }
      for side in run % 2 == 0 ? [0, 1] : [1, 0] { profiles[side].run(1) }
    }
    self.first = WholeTimes(times[0])
    self.second = WholeTimes(times[1])
    rows = ProgramComparison.paired(profiles[0].timings, profiles[1].timings)
  }

  /// Operations of the same name, and those that only one program has where they stand in it.
  private static func paired(_ first: [InstructionTiming], _ second: [InstructionTiming]) -> [Row] {
    func key(_ timing: InstructionTiming) -> String { "\(timing.mnemonic) \(timing.name)" }
    var waiting: [String: [Int]] = [:]
    for (index, timing) in second.enumerated().reversed() { waiting[key(timing), default: []].append(index) }
    var rows: [Row] = [], next = 0
    func addUnpaired(before end: Int, _ partners: Set<Int>) {
      while next < end {
        if !partners.contains(next) {
          let timing = second[next]
          rows.append(Row(name: "\(timing.name)", mnemonic: timing.mnemonic, first: nil, second: timing))
        }
        next += 1
      }
    }
    let partners = first.map { waiting[key($0)]?.popLast() }
    let taken = Set(partners.compactMap { $0 })
    for (timing, partner) in zip(first, partners) {
      if let partner { addUnpaired(before: partner, taken) }
      rows.append(
        Row(
          name: "\(timing.name)", mnemonic: timing.mnemonic, first: timing, second: partner.map { second[$0] }
        ))
    }
    addUnpaired(before: second.count, taken)
    return rows
  }

  var text: String {
    var table = Table(
      ["operation", "name", "first µs", "second µs", "first/second", "first kernel", "second kernel"],
      right: [2, 3, 4])
    func microseconds(_ timing: InstructionTiming?) -> String {
      timing.map { fixed($0.microseconds, 2) } ?? ""
    }
    func kernel(_ timing: InstructionTiming?) -> String { timing?.kernel.map { "\($0)" } ?? "" }
    for row in rows {
      table.add([
        row.mnemonic, row.name, microseconds(row.first), microseconds(row.second),
        ratio(row).map { fixed($0, 3) } ?? "", kernel(row.first), kernel(row.second),
      ])
    }
    return """
      \(table.text)

      first:  \(fixed(first.minimum * 1e6, 1)) µs a sample (median \(fixed(first.median * 1e6, 1))), \(names[0])
      second: \(fixed(second.minimum * 1e6, 1)) µs a sample (median \(fixed(second.median * 1e6, 1))), \(names[1])
      first/second: \(fixed(first.minimum / second.minimum, 3)) (medians \(fixed(first.median / second.median, 3)))
      """
  }

  private func ratio(_ row: Row) -> Double? {
    guard let first = row.first, let second = row.second, second.nanoseconds > 0 else { return nil }
    return first.seconds / second.seconds
  }

  var json: Json {
    func whole(_ times: WholeTimes, _ name: String) -> Json {
      .object([
        ("program", .string(name)), ("microseconds", .double(times.minimum * 1e6)),
        ("medianMicroseconds", .double(times.median * 1e6)),
      ])
    }
    func side(_ timing: InstructionTiming?) -> Json {
      guard let timing else { return .null }
      return .object([
        ("microseconds", .double(timing.microseconds)),
        ("kernel", timing.kernel.map { .string("\($0)") } ?? .null),
      ])
    }
    return .object([
      ("first", whole(first, names[0])), ("second", whole(second, names[1])),
      ("ratio", .double(first.minimum / second.minimum)),
      ("medianRatio", .double(first.median / second.median)),
      (
        "operations",
        .array(
          rows.map { row in
            .object([
              ("operation", .string(row.mnemonic)), ("name", .string(row.name)), ("first", side(row.first)),
              ("second", side(row.second)), ("ratio", ratio(row).map { .double($0) } ?? .null),
            ])
          })
      ),
    ])
  }
}
