import ArgumentParser
import KernelInterface
import Program
import Runtime
import Support

struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Time a packed program: every operation and the whole, beside what the machine can do.",
    discussion: """
      Example: qcc bench model.qpk
               qcc bench model.qpk --runs 1000 --threads 2 --json
               qcc bench model.qpk --compare other.qpk     two programs in turns, operations side by side by name
               qcc bench --peak                            what this machine can do at most
               qcc bench model.qpk --tune                  measure which kernels are fastest here, and remember
               qcc bench model.qpk --tune --in-place       … in the program itself
               perf record qcc bench model.qpk --repeat 1000
      Times are minima over the runs, with medians beside them. GOPS count a multiply-accumulate as two operations; the
      peak is what the kernel's own instructions give on registers. Bytes are inputs, weights and output, once each. The
      critical path is the longest chain of operations that wait for one another, each with its measured time.
      Tunings are kept under $XDG_CACHE_HOME/qcc/tuning; they change the time, never the results.
      """)
  @Argument(help: "A .qpk program.") var model: String?
  @Option(help: "Runs after one warm-up.") var runs = 200
  @Option(
    help:
      "Instructions the interpreter may use: auto, portable, avx2, avxvnni, vnni or popcount. Also QCC_CPU.")
  var cpu: String?
  @Option(help: "Threads for one sample.") var threads = 1
  @Flag(help: "Print JSON.") var json = false
  @Option(
    help: ArgumentHelp("A second program, timed in turns with the first.", valueName: "other.qpk"))
  var compare: String?
  @Flag(help: "Measure the peaks of this machine: arithmetic, memory, frequency.") var peak = false
  @Flag(help: "Time all kernels that can run each layer, and store the choice in the cache.") var tune = false
  @Flag(name: .customLong("in-place"), help: "With --tune: store the choice in the program as well.")
  var inPlace = false
  @OptionGroup var tuningFlags: TuningFlags
  @Flag(
    help: ArgumentHelp(
      "Measure on request: for each line of standard input, a number of milliseconds, run so long and print a line of JSON.",
      discussion: "So that programs and other runtimes can be timed alternately.")) var serve = false
  @Option(
    help: ArgumentHelp(
      "Only run so many samples, without a clock: for profilers and instruction counters.", valueName: "runs")
  ) var `repeat`: Int?

  func validate() throws {
    if runs < 1 || runs > 10_000_000 { throw ValidationError("--runs must be 1 to 10000000") }
    if threads < 1 || threads > 1024 { throw ValidationError("--threads must be 1 to 1024") }
    if let `repeat`, `repeat` < 0 { throw ValidationError("--repeat must not be negative") }
    if model == nil && !peak { throw ValidationError("give a program, or --peak") }
    if model != nil && peak { throw ValidationError("--peak takes no program: it measures the machine") }
    if inPlace && !tune { throw ValidationError("--in-place goes with --tune") }
    let modes = [compare != nil, tune, serve, `repeat` != nil].count { $0 }
    if modes > 1 { throw ValidationError("--compare, --tune, --serve and --repeat exclude one another") }
  }

  func run() throws {
    let features = try chosenFeatures(cpu)
    guard let model else {
      let peaks = Peaks(features: features)
      return print(json ? peaks.json.text : peaks.text)
    }
    let program = try packedProgram(model)
    if tune { return try tune(program, at: model, features) }
    let interpreter = interpreter(program, features)
    if let compare {
      let other = self.interpreter(try packedProgram(compare), features)
      let comparison = try ProgramComparison([model, compare], interpreter, other, runs: runs)
      return print(json ? comparison.json.text : comparison.text)
    }
    let inputs = benchInputs(interpreter), wholeRuns = WholeRuns(interpreter, inputs)
    if serve { return try serveMeasurements(of: wholeRuns) }
    if let `repeat` { return wholeRuns.repeated(`repeat`) }
    let names = Set(program.instructions.indices.compactMap { interpreter.peak(of: $0).map { "\($0)" } })
    let peaks = Peaks(only: names, features: features)
    wholeRuns.repeated(1)
    let whole = WholeTimes(wholeRuns.times(of: runs))
    let timings = try interpreter.profile(inputs, runs: runs)
    let report = BenchReport(program, timings, whole, peaks, threads: interpreter.threads, runs: runs)
    print(json ? report.json.text : report.text)
  }

  private func packedProgram(_ path: String) throws(CompilerError) -> Program {
    guard case .program(let program) = try LoadedModel(path: path) else {
      throw CompilerError(
        "qcc bench takes a packed program; compile the model first", at: path, status: .usage)
    }
    return program
  }

  private func interpreter(_ program: Program, _ features: CPUFeatures) -> Interpreter {
    Interpreter(
      program, features: features, threads: threads, tuning: tuningFlags.tuning(of: program, features))
  }

  private func tune(_ program: Program, at path: String, _ features: CPUFeatures) throws {
    let tuner = try Tuner(program, features: features, threads: threads, runs: runs)
    let processor = Processor(features: features)
    var record = TuningRecord(
      processor: processor.identity, program: program.contentHash, kernelTable: Processor.kernelTableHash,
      choices: tuner.choices)
    let tuned = Interpreter(
      program, features: features, threads: threads,
      tuning: record.tuning(instructions: program.instructions.count))
    let usual = Interpreter(program, features: features, threads: threads)
    let inputs = benchInputs(usual)
    guard try usual.run(inputs) == tuned.run(inputs) else {
      throw CompilerError(
        "kernels give different results; nothing is stored", at: path, status: .internalError)
    }
    let before = WholeRuns(usual, inputs), after = WholeRuns(tuned, inputs)
    var times: [[Double]] = [[], []]
    for _ in 0..<runs {
      times[0] += before.times(of: 1)
      times[1] += after.times(of: 1)
    }
    let (first, second) = (WholeTimes(times[0]), WholeTimes(times[1]))
    // Layers that are faster by themselves need not be so together.
    if second.minimum >= first.minimum { record.choices = [:] }
    let file = try TuningCache.store(record, of: program, processor)
    if inPlace {
      var changed = program
      changed.tuning = TuningCache.section(record, of: program)
      try writeFile(path, changed.serialize())
    }
    let places = [file] + (inPlace ? [path] : [])
    if json {
      let report = Json.object([
        ("layers", tuner.json), ("usualMicroseconds", .double(first.minimum * 1e6)),
        ("tunedMicroseconds", .double(second.minimum * 1e6)), ("choices", .int(record.choices.count)),
        ("stored", .array(places.map { .string($0) })),
      ])
      return print(report.text)
    }
    print(
      """
      \(tuner.text)

      \(tuner.choices.count) of \(tuner.layers.count) layers have a faster kernel: \
      \(fixed(first.minimum * 1e6, 1)) µs a sample before, \(fixed(second.minimum * 1e6, 1)) after\
      \(tuner.choices.count > record.choices.count ? ", so that the usual ones stay" : "")
      stored in \(places.joined(separator: " and "))
      """)
  }
}

/// Values that fill the range of quantized inputs; the time of integer kernels does not depend on them.
func benchInputs(_ interpreter: Interpreter) -> [[Float]] {
  interpreter.inputNumbers.map { number in
    (0..<interpreter.inputCount(number)).map { Float($0 * 37 % 255) / 255 }
  }
}
