import Glibc
import Support
import Synchronization

/// Messages and progress on standard error; colours and a bar on a terminal only.
enum Console {
  private struct State {
    var isBarShown = false
    var lastPercent = -1
    var lastPhase = ""
    /// When the phase began, and how far it was then: what is left is told from there.
    var phaseStart = ContinuousClock.now
    var doneAtStart = 0
    var isQuiet = false
    var phase = ""

    /// `, 12 s left`, once enough was done to tell.
    func timeLeft(_ done: Int, _ total: Int) -> String {
      let elapsed = (ContinuousClock.now - phaseStart).seconds, progress = done - doneAtStart
      guard elapsed > 2, progress > 0, done < total else { return "" }
      return ", \(fixed((elapsed / Double(progress) * Double(total - done)).rounded(.up), 0)) s left"
    }
  }
  private static let state = Mutex(State())
  static let isTerminal = isatty(STDERR_FILENO) == 1 && getenv("TERM").map { String(cString: $0) } != "dumb"
  private static let usesColor =
    getenv("FORCE_COLOR") != nil || (isTerminal && getenv("NO_COLOR") == nil)

  static func setQuiet(_ quiet: Bool) { state.withLock { $0.isQuiet = quiet } }

  /// Writes text to standard error as it is.
  static func write(_ text: String) {
    var bytes = Array(text.utf8)
    bytes.withUnsafeMutableBytes { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  static func report(_ diagnostic: Diagnostic) {
    finishProgress()
    if diagnostic.severity != .error, state.withLock({ $0.isQuiet }) { return }
    guard usesColor else { return write("\(diagnostic)\n") }
    let color =
      switch diagnostic.severity {
      case .error: "\u{1B}[31m"
      case .warning: "\u{1B}[33m"
      case .note: "\u{1B}[36m"
      }
    let place = diagnostic.location.isEmpty ? "" : "\(diagnostic.location): "
    let notes = diagnostic.notes.map { "\n  note: \($0)" }.joined()
    write("\(place)\(color)\(diagnostic.severity.rawValue):\u{1B}[0m \(diagnostic.message)\(notes)\n")
  }

  /// A line about work that goes on.
  static func line(_ text: String) {
    finishProgress()
    if !state.withLock({ $0.isQuiet }) { write(text + "\n") }
  }

  /// Shows how far a phase is: a bar on a terminal, else a line at every quarter.
  static func progress(_ phase: String, _ done: Int, _ total: Int) {
    guard total > 0 else { return }
    state.withLock { state in
      guard !state.isQuiet else { return }
      let percent = done * 100 / total
      if phase != state.phase || done < state.doneAtStart {
        state.phase = phase
        state.phaseStart = .now
        state.doneAtStart = done
      }
      let left = state.timeLeft(done, total)
      if isTerminal {
        guard percent != state.lastPercent || phase != state.lastPhase else { return }
        let filled = percent * 30 / 100
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
        write("\r\u{1B}[K\(phase) [\(bar)] \(done)/\(total)\(left)")
        state.isBarShown = true
        if done >= total {
          write("\r\u{1B}[K")
          state.isBarShown = false
        }
      } else {
        let quarter = percent / 25 * 25
        guard phase != state.lastPhase || quarter > state.lastPercent else { return }
        if quarter > 0 { write("\(phase): \(done) of \(total)\(left)\n") }
        state.lastPercent = quarter
        state.lastPhase = phase
        return
      }
      state.lastPercent = percent
      state.lastPhase = phase
    }
  }
  static func finishProgress() {
    state.withLock { state in
      if state.isBarShown { write("\r\u{1B}[K") }
      state.isBarShown = false
    }
  }
}

/// `12.3 KiB`
func humanBytes(_ bytes: Int) -> String {
  let units = ["B", "KiB", "MiB", "GiB"]
  var value = Double(bytes), unit = 0
  while value >= 1024, unit < units.count - 1 {
    value /= 1024
    unit += 1
  }
  return unit == 0 ? "\(bytes) B" : "\(fixed(value, 1)) \(units[unit])"
}

/// `41.2 M`
func humanCount(_ count: Int) -> String {
  if count >= 1_000_000_000 { return "\(fixed(Double(count) / 1e9, 2)) G" }
  if count >= 1_000_000 { return "\(fixed(Double(count) / 1e6, 1)) M" }
  if count >= 10_000 { return "\(fixed(Double(count) / 1e3, 1)) k" }
  return "\(count)"
}

/// A number with a fixed number of decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
  let scale = (0..<decimals).reduce(1.0) { product, _ in product * 10 }
  let rounded = Int64((abs(value) * scale).rounded())
  let whole = rounded / Int64(scale), part = rounded % Int64(scale)
  let sign = value < 0 && rounded != 0 ? "-" : ""
  guard decimals > 0 else { return "\(sign)\(whole)" }
  let digits = String(part)
  return "\(sign)\(whole).\(String(repeating: "0", count: decimals - digits.count))\(digits)"
}

/// Columns padded to equal width; numbers to the right where `right` says so.
struct Table {
  private var rows: [[String]]
  private let right: Set<Int>

  init(_ header: [String], right: Set<Int> = []) {
    rows = [header]
    self.right = right
  }
  mutating func add(_ row: [String]) { rows.append(row) }
  var text: String {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = row.enumerated().map { column, cell in
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        return right.contains(column) ? padding + cell : cell + padding
      }
      var line = cells.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return line
    }.joined(separator: "\n")
  }
}
