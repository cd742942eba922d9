import Foundation
import Runtime
import Support

/// Whole runs of one sample with inputs and outputs at stable addresses, so that a run allocates nothing.
final class WholeRuns {
  private let interpreter: Interpreter
  private let sources: [UnsafePointer<Float>]
  private let targets: [UnsafeMutablePointer<Float>]
  private let clock = ContinuousClock()

  init(_ interpreter: Interpreter, _ inputs: [[Float]]) {
    self.interpreter = interpreter
    sources = inputs.map { values in
      let pointer = UnsafeMutablePointer<Float>.allocate(capacity: max(values.count, 1))
      pointer.initialize(from: values, count: values.count)
      return UnsafePointer(pointer)
    }
    targets = interpreter.outputNumbers.map { number in
      let count = max(interpreter.outputCount(number), 1)
      let pointer = UnsafeMutablePointer<Float>.allocate(capacity: count)
      pointer.initialize(repeating: 0, count: count)
      return pointer
    }
  }

  deinit {
    sources.forEach { $0.deallocate() }
    targets.forEach { $0.deallocate() }
  }

  /// Seconds of so many runs.
  func times(of runs: Int) -> [Double] { (0..<runs).map { _ in once() } }

  /// Runs without looking at the clock.
  func repeated(_ runs: Int) {
    for _ in 0..<runs { interpreter.run(1, inputs: sources, outputs: targets) }
  }

  /// Seconds of every run, until they add up to `limit` seconds: at least one.
  func times(for limit: Double) -> [Double] {
    var times: [Double] = [], sum = 0.0
    repeat {
      times.append(once())
      sum += times[times.count - 1]
    } while sum < limit
    return times
  }

  private func once() -> Double {
    clock.measure { interpreter.run(1, inputs: sources, outputs: targets) }.seconds
  }
}

/// The least and the middle of some times, in seconds.
struct WholeTimes {
  let minimum: Double
  let median: Double

  /// - Requires: one time at least.
  init(_ times: [Double]) {
    let sorted = times.sorted()
    (minimum, median) = (sorted[0], sorted[sorted.count / 2])
  }
}

/// Measures on request, so that several programs can be timed alternately: for every line of standard input,
/// a number of milliseconds, runs so long and prints one line of JSON. Blocks in between; ends with the input.
func serveMeasurements(of runs: WholeRuns) throws(CompilerError) {
  runs.repeated(2)
  while let line = readLine() {
    guard let milliseconds = Double(line), milliseconds >= 0, milliseconds <= 1e7 else {
      throw CompilerError("'\(line)' is no number of milliseconds from 0 to 10000000", status: .usage)
    }
    let times = runs.times(for: milliseconds * 1e-3).sorted()
    let report = Json.object([
      ("minimum", .double(times[0] * 1e6)), ("median", .double(times[times.count / 2] * 1e6)),
      ("runs", .int(times.count)),
    ])
    print(report.text)
    fflush(nil)  // standard output may be a pipe
  }
}
