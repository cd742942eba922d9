import ArgumentParser
import IR
import PassKit
import Passes
import Support

/// Flags that show and check what passes do, shared by `compile` and `opt`.
struct PassFlags: ParsableArguments {
  @Option(name: .customLong("print-ir-before"), help: ArgumentHelp("Print the graph before this pass.", valueName: "pass"))
  var printBefore: [String] = []
  @Option(name: .customLong("print-ir-after"), help: ArgumentHelp("Print the graph after this pass.", valueName: "pass"))
  var printAfter: [String] = []
  @Flag(name: .customLong("print-ir-before-all"), help: "Print the graph before every pass.") var printBeforeAll = false
  @Flag(name: .customLong("print-ir-after-all"), help: "Print the graph after every pass.") var printAfterAll = false
  @Flag(name: .customLong("print-ir-after-change"), help: "Print the graph after every pass that changes it.")
  var printAfterChange = false
  @Flag(name: .customLong("print-ir-after-failure"), help: "Print the graph that a failing pass left.")
  var printAfterFailure = false
  @Flag(name: .customLong("print-ir-diff"), help: "Print changed lines instead of whole graphs.") var printDifference = false
  @Option(name: .customLong("ir-dir"), help: ArgumentHelp("Write dumps as numbered files into this folder.", valueName: "folder"))
  var dumpFolder: String?
  @Flag(name: .customLong("no-verify"), help: "Do not verify the graph after every pass.") var skipsVerification = false
  @Option(name: .customLong("stop-after"), help: ArgumentHelp("Make at most this many optional rewrites, for bisecting.", valueName: "n"))
  var stopAfter: Int?
  @Flag(help: "Print the time of every pass.") var timing = false
  @Flag(name: .customLong("pass-statistics"), help: "Print what every pass did.") var statistics = false
  @Option(
    name: .customLong("crash-reproducer"),
    help: ArgumentHelp("Where the graph before a failing pass goes; 'none' writes none.", valueName: "file"))
  var reproducer = "qcc-reproducer.qir"

  func validate() throws {
    for name in printBefore + printAfter where !allPasses.contains(where: { $0.name == name }) {
      throw ValidationError("there is no pass '\(name)'; 'qcc passes' lists them")
    }
    if let stopAfter, stopAfter < 0 { throw ValidationError("--stop-after must not be negative") }
  }

  /// A manager with these flags. Only failures that are defects of qcc leave a reproducer.
  var manager: PassManager {
    var options = PassManagerOptions()
    options.printBefore = Set(printBefore)
    options.printAfter = Set(printAfter)
    options.printBeforeAll = printBeforeAll
    options.printAfterAll = printAfterAll
    options.printAfterChange = printAfterChange
    options.printAfterFailure = printAfterFailure
    options.printDifference = printDifference
    options.dumpFolder = dumpFolder
    options.verifiesAfterEachPass = !skipsVerification
    options.stopAfter = stopAfter ?? .max
    options.reproducerPath = reproducer == "none" ? nil : reproducer
    return PassManager(options, verify: { $0.verificationDiagnostics() }, printDump: { Console.write($0 + "\n") })
  }

  func report(_ records: [PassRecord]) {
    if timing {
      let total = records.reduce(0.0) { $0 + $1.duration.seconds }
      var table = Table(["pass", "ms", "share", "operations"], right: [1, 2, 3])
      for record in records {
        let share = total > 0 ? 100 * record.duration.seconds / total : 0
        table.add([
          record.name, fixed(1000 * record.duration.seconds, 1), "\(fixed(share, 1)) %",
          "\(record.operationsBefore) → \(record.operationsAfter)",
        ])
      }
      table.add(["total", fixed(1000 * total, 1), "", ""])
      Console.write(table.text + "\n")
    }
    if statistics {
      for record in records {
        let text = record.statistics.map { "\($0.count) \($0.name)" }.joined(separator: ", ")
        Console.write("\(record.name): \(text.isEmpty ? "nothing" : text)\n")
      }
    }
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
