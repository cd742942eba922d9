import ArgumentParser
import IR
import PassKit
import Passes
import Support

/// Flags that show and check what passes do, shared by `compile` and `opt`.
struct PassFlags: ParsableArguments {
  @Option(
    name: .customLong("print-ir-before"),
    help: ArgumentHelp("Print the graph before this pass.", valueName: "pass"))
  var printBefore: [String] = []
  @Option(
    name: .customLong("print-ir-after"),
    help: ArgumentHelp("Print the graph after this pass.", valueName: "pass"))
  var printAfter: [String] = []
  @Flag(name: .customLong("print-ir-before-all"), help: "Print the graph before every pass.")
  var printBeforeAll = false
  @Flag(name: .customLong("print-ir-after-all"), help: "Print the graph after every pass.")
  var printAfterAll = false
  @Flag(name: .customLong("print-ir-after-change"), help: "Print the graph after every pass that changes it.")
  var printAfterChange = false
  @Flag(name: .customLong("print-ir-after-failure"), help: "Print the graph that a failing pass left.")
  var printAfterFailure = false
  @Flag(name: .customLong("print-ir-diff"), help: "Print changed lines instead of whole graphs.")
  var printDifference = false
  @Option(
    name: .customLong("ir-dir"),
    help: ArgumentHelp("Write dumps as numbered files into this folder.", valueName: "folder"))
  var dumpFolder: String?
  @Flag(name: .customLong("no-verify"), help: "Do not verify the graph after every pass.")
  var skipsVerification = false
  @Option(
    name: .customLong("stop-after"),
    help: ArgumentHelp("Make at most this many optional rewrites, for bisecting.", valueName: "n"))
  var stopAfter: Int?
  @Option(help: "Print the time of every pass: list (slowest first), tree (in order) or json.")
  var timing: PipelineReport.TimingFormat?
  @Flag(name: .customLong("pass-statistics"), help: "Print what every pass did.") var statistics = false
  @Option(
    name: .customLong("crash-reproducer"),
    help: ArgumentHelp(
      "Keep the graph before the running pass here, even for a crash; 'none' writes none. Default: qcc-reproducer.qir, after a defect of qcc.",
      valueName: "file"))
  var reproducer: String?

  func validate() throws {
    for name in printBefore + printAfter where !allPasses.contains(where: { $0.name == name }) {
      throw ValidationError("there is no pass '\(name)'; 'qcc passes' lists them")
    }
    if let stopAfter, stopAfter < 0 { throw ValidationError("--stop-after must not be negative") }
  }

  /// A manager with these flags. Only failures that are defects of qcc leave a reproducer, unless one was asked for.
  var manager: PassManager {
    var instrumentation = Instrumentation { Console.write($0) }
    instrumentation.printBefore = printBefore
    instrumentation.printAfter = printAfter
    instrumentation.printBeforeAll = printBeforeAll
    instrumentation.printAfterAll = printAfterAll
    instrumentation.printAfterChange = printAfterChange
    instrumentation.printAfterFailure = printAfterFailure
    instrumentation.printDiff = printDifference
    instrumentation.irDirectory = dumpFolder
    instrumentation.verifiesEach = !skipsVerification
    instrumentation.maximumSteps = stopAfter ?? .max
    switch reproducer {
    case nil: instrumentation.reproducer = .onDefect("qcc-reproducer.qir")
    case "none": instrumentation.reproducer = .never
    case .some(let path): instrumentation.reproducer = .always(path)
    }
    return PassManager(instrumentation)
  }

  func report(_ report: PipelineReport) {
    if let timing { Console.write(report.timing(timing)) }
    if statistics { Console.write(report.statistics) }
  }
}

extension PipelineReport.TimingFormat: ExpressibleByArgument {}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
