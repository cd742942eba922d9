import Program
import Runtime

/// Where the time of a program goes, beside what the machine can do.
struct BenchReport {
  let program: Program
  let timings: [InstructionTiming]
  let whole: WholeTimes
  let peaks: Peaks
  let threads: Int
  let runs: Int
  private let path: CriticalPath

  init(
    _ program: Program, _ timings: [InstructionTiming], _ whole: WholeTimes, _ peaks: Peaks, threads: Int,
    runs: Int
  ) {
    self.program = program
    self.timings = timings
    self.whole = whole
    self.peaks = peaks
    self.threads = threads
    self.runs = runs
    path = CriticalPath(program, nanoseconds: timings.map(\.nanoseconds))
  }

  private var products: Int { timings.reduce(0) { $0 + $1.products } }
  private var sum: Double { 1e-9 * Double(timings.reduce(0) { $0 + $1.nanoseconds }) }
  private var pathSeconds: Double { 1e-9 * Double(path.nanoseconds) }
  private var traffic: Int { timings.reduce(0) { $0 + program.traffic($1.instruction) } }

  /// Of all threads' peak.
  private func share(_ timing: InstructionTiming) -> Double? {
    peaks[timing.peak].map { timing.gops / ($0 * Double(threads)) }
  }
  /// What the products would take if each instruction ran at its peak, of the whole time.
  private var wholeShare: Double? {
    let atPeak = timings.reduce(0.0) { sum, timing in
      sum + (peaks[timing.peak].map { 2e-9 * Double(timing.products) / ($0 * Double(threads)) } ?? 0)
    }
    return atPeak > 0 ? atPeak / whole.minimum : nil
  }

  var text: String {
    var table = Table(
      [
        "operation", "name", "µs", "median", "share", "MACs", "GOPS", "of peak", "bytes", "GB/s", "path",
        "kernel",
      ], right: [2, 3, 4, 5, 6, 7, 8, 9])
    let onPath = Set(path.instructions)
    for timing in timings {
      let hasProducts = timing.products > 0, traffic = program.traffic(timing.instruction)
      table.add([
        timing.mnemonic, timing.name.description, fixed(timing.microseconds, 2),
        fixed(Double(timing.medianNanoseconds) * 1e-3, 2),
        "\(fixed(100 * timing.seconds / max(sum, 1e-12), 1)) %",
        hasProducts ? humanCount(timing.products) : "",
        hasProducts ? fixed(timing.gops, 1) : "",
        hasProducts ? share(timing).map { "\(fixed(100 * $0, 1)) %" } ?? "" : "", humanBytes(traffic),
        fixed(1e-9 * Double(traffic) / max(timing.seconds, 1e-12), 1),
        onPath.contains(timing.instruction) ? "*" : "", timing.kernel.map { "\($0)" } ?? "",
      ])
    }
    let share = wholeShare.map { ", \(fixed(100 * $0, 1)) % of the peak" } ?? ""
    return """
      \(table.text)

      total \(fixed(whole.minimum * 1e6, 1)) µs a sample (median \(fixed(whole.median * 1e6, 1))), \
      \(fixed(2e-9 * Double(products) / whole.minimum, 1)) GOPS\(share), \(humanBytes(traffic)) moved, \
      \(threads) thread\(threads == 1 ? "" : "s")
      critical path (*): \(path.instructions.count) of \(timings.count) operations, \
      \(fixed(pathSeconds * 1e6, 1)) of \(fixed(sum * 1e6, 1)) µs: what remains if independent operations run side by side
      \(peaks.arithmetic.map { "peak of one core: \($0.name) \(fixed($0.gops, 0)) GOPS" }.joined(separator: "\n"))
      """
  }

  var json: Json {
    .object([
      ("microseconds", .double(whole.minimum * 1e6)), ("medianMicroseconds", .double(whole.median * 1e6)),
      ("threads", .int(threads)), ("runs", .int(runs)),
      ("gops", .double(2e-9 * Double(products) / whole.minimum)),
      ("shareOfPeak", wholeShare.map { .double($0) } ?? .null), ("bytesMoved", .int(traffic)),
      (
        "criticalPath",
        .object([
          ("microseconds", .double(pathSeconds * 1e6)), ("ofMicroseconds", .double(sum * 1e6)),
          ("instructions", .array(path.instructions.map { .int($0) })),
        ])
      ), ("peakGops", .object(peaks.arithmetic.map { ($0.name, .double($0.gops)) })),
      ("operations", .array(timings.map(json))),
    ])
  }

  private func json(_ timing: InstructionTiming) -> Json {
    let traffic = program.traffic(timing.instruction)
    return .object([
      ("operation", .string(timing.mnemonic)), ("name", .string(timing.name.description)),
      ("microseconds", .double(timing.microseconds)),
      ("medianMicroseconds", .double(Double(timing.medianNanoseconds) * 1e-3)),
      ("macs", .int(timing.products)), ("gops", .double(timing.gops)),
      ("shareOfPeak", share(timing).map { .double($0) } ?? .null), ("bytesMoved", .int(traffic)),
      ("gigabytesPerSecond", .double(1e-9 * Double(traffic) / max(timing.seconds, 1e-12))),
      ("kernel", timing.kernel.map { .string("\($0)") } ?? .null),
    ])
  }
}

extension InstructionTiming {
  var seconds: Double { 1e-9 * Double(nanoseconds) }
  var microseconds: Double { 1e-3 * Double(nanoseconds) }
  /// A multiply-accumulate counts as two operations.
  var gops: Double { nanoseconds > 0 ? 2 * Double(products) / Double(nanoseconds) : 0 }
}
