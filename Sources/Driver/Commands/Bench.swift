import ArgumentParser
import KernelInterface
import Program
import Runtime
import Support

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Time a packed program: every operation and the whole, with GOPS.",
    discussion: """
      Example: qcc bench model.qpk
               qcc bench model.qpk --runs 1000 --threads 1 --json
      Times are minima over the runs. GOPS count a multiply-accumulate as two operations.
      """)
  @Argument(help: "A .qpk program.") var model: String
  @Option(help: "Runs after one warm-up; the minimum counts.") var runs = 200
  @Option(help: "Instructions the interpreter may use: auto, portable, avx2, avxvnni or vnni. Also QCC_CPU.")
  var cpu: String?
  @Option(help: "Threads for one sample.") var threads = 1
  @Flag(help: "Print JSON.") var json = false
  @Flag(
    help: ArgumentHelp(
      "Measure on request: for each line of standard input, a number of milliseconds, run so long and print a line of JSON.",
      discussion: "So that programs and other runtimes can be timed alternately.")) var serve = false

  func validate() throws {
    if runs < 1 || runs > 10_000_000 { throw ValidationError("--runs must be 1 to 10000000") }
    if threads < 1 || threads > 1024 { throw ValidationError("--threads must be 1 to 1024") }
  }

  func run() throws {
    guard case .program(let program) = try LoadedModel(path: model) else {
      throw CompilerError(
        "qcc bench takes a packed program; compile the model first", at: model, status: .usage)
    }
    let interpreter = Interpreter(program, features: try chosenFeatures(cpu), threads: threads)
    let inputs = interpreter.inputNumbers.map { pattern(interpreter.inputCount($0)) }
    let wholeRuns = WholeRuns(interpreter, inputs)
    if serve { return try serveMeasurements(of: wholeRuns) }
    let whole = wholeRuns.fastest(of: runs + 1)
    let timings: [InstructionTiming]
    do { timings = try interpreter.profile(inputs, runs: runs) } catch { throw CompilerError("\(error)") }
    print(json ? jsonReport(program, timings, whole).text : textReport(timings, whole))
  }

  /// Values that fill the range of the quantized input; the time of integer kernels does not depend on them.
  private func pattern(_ count: Int) -> [Float] { (0..<count).map { Float($0 * 37 % 255) / 255 } }

  private func gops(_ products: Int, _ seconds: Double) -> Double {
    seconds > 0 ? 2e-9 * Double(products) / seconds : 0
  }

  private func textReport(_ timings: [InstructionTiming], _ whole: Double) -> String {
    var table = Table(["operation", "name", "µs", "share", "MACs", "GOPS", "kernel"], right: [2, 3, 4, 5])
    let sum = timings.reduce(0.0) { $0 + Double($1.nanoseconds) }
    for timing in timings {
      let seconds = Double(timing.nanoseconds) * 1e-9
      table.add([
        timing.mnemonic, timing.name.description, fixed(seconds * 1e6, 2),
        "\(fixed(100 * Double(timing.nanoseconds) / max(sum, 1), 1)) %",
        timing.products == 0 ? "" : humanCount(timing.products),
        timing.products == 0 ? "" : fixed(gops(timing.products, seconds), 1),
        timing.kernel.map { "\($0)" } ?? "",
      ])
    }
    let products = timings.reduce(0) { $0 + $1.products }
    return table.text
      + "\ntotal \(fixed(whole * 1e6, 1)) µs a sample, \(fixed(gops(products, whole), 1)) GOPS, \(threads) thread\(threads == 1 ? "" : "s")"
  }

  private func jsonReport(_ program: Program, _ timings: [InstructionTiming], _ whole: Double) -> Json {
    .object([
      ("microseconds", .double(whole * 1e6)), ("threads", .int(threads)), ("runs", .int(runs)),
      ("gops", .double(gops(timings.reduce(0) { $0 + $1.products }, whole))),
      (
        "operations",
        .array(
          timings.map {
            .object([
              ("operation", .string($0.mnemonic)), ("name", .string($0.name.description)),
              ("microseconds", .double(Double($0.nanoseconds) * 1e-3)), ("macs", .int($0.products)),
              ("gops", .double(gops($0.products, Double($0.nanoseconds) * 1e-9))),
              ("kernel", $0.kernel.map { .string("\($0)") } ?? .null),
            ])
          })
      ),
    ])
  }
}
