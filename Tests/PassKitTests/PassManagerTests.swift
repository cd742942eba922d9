import Glibc
import IR
import PassKit
import Support
import Synchronization
import Testing

@Suite struct PassManagerTests {
  private static func graph() throws -> Graph {
    try Graph(
      text: """
        qir 1
        graph @g stage imported (%x: tensor<4xf32>) {
          %a = relu(%x) : tensor<4xf32>
          %b = relu(%a) : tensor<4xf32>
          %c = relu(%b) : tensor<4xf32>
          return %c
        }
        """)
  }
  private func folder(_ name: String = #function) -> String {
    let path = "/tmp/qcc-passkit-\(getpid())-\(name.prefix { $0 != "(" })"
    mkdir(path, 0o777)
    return path
  }
  /// Runs a pipeline and returns what was printed.
  private func run(
    _ text: String, _ graph: inout Graph, _ change: (inout Instrumentation) -> Void = { _ in }
  ) throws -> (report: PipelineReport, printed: String) {
    let printed = Printed()
    var instrumentation = Instrumentation { text in printed.text.withLock { $0 += text } }
    instrumentation.reproducer = .never
    change(&instrumentation)
    var context = PassContext(seed: 5)
    let report = try PassManager(instrumentation).run(
      Pipeline(text: text, passes: examplePasses), on: &graph, &context)
    return (report, printed.text.withLock { $0 })
  }
  private final class Printed: Sendable { let text = Mutex("") }

  @Test func passesRunInOrderAndAreReported() throws {
    var graph = try PassManagerTests.graph()
    let report = try run("relu-to-abs, relu-to-abs, to-canonical", &graph).report
    #expect(report.entries.map(\.pass) == ["relu-to-abs", "relu-to-abs", "to-canonical"])
    #expect(report.entries.map(\.isChanged) == [true, false, true])
    #expect(report.entries.map(\.steps) == [3, 0, 0])
    #expect(report.steps == 3)
    #expect(
      report.statistics.hasPrefix("relu-to-abs: 3 to 3 operations\n  3 replaced\nrelu-to-abs: unchanged\n"))
    #expect(graph.stage == .canonical)
    for format in PipelineReport.TimingFormat.allCases {
      #expect(report.timing(format).contains("relu-to-abs"))
    }
  }

  @Test(arguments: 0...4)
  func theStepBudgetIsSharedByAllPasses(limit: Int) throws {
    var graph = try PassManagerTests.graph()
    _ = try run("relu-to-abs, relu-to-abs", &graph) { $0.maximumSteps = limit }
    #expect(graph.order.count { graph[$0].op.mnemonic == "abs" } == min(limit, 3))
  }

  @Test func repeatStopsWhenNothingChanges() throws {
    var graph = try PassManagerTests.graph()
    let report = try run("repeat(relu-to-abs)", &graph).report
    #expect(report.entries.map(\.iterations) == [[0], [1]])
  }

  @Test func aPassOfAnotherStageIsRefused() throws {
    var graph = try PassManagerTests.graph()
    let error = #expect(throws: CompilerError.self) { try run("to-canonical, to-canonical", &graph) }
    #expect(
      error?.description.contains("pass 'to-canonical' works on imported graphs, this one is canonical")
        == true)
    #expect(graph.stage == .imported)
  }

  @Test func aBrokenGraphIsFoundBehindThePassThatBrokeIt() throws {
    var graph = try PassManagerTests.graph()
    let path = folder() + "/reproducer.qir"
    let error = #expect(throws: CompilerError.self) {
      try run("relu-to-abs, breaks-types, to-canonical", &graph) { $0.reproducer = .onDefect(path) }
    }
    #expect(error?.status == .internalError)
    #expect(error?.description.contains("found behind pass 'breaks-types'") == true)
    let reproduction = try #require(PassManager.reproduction(try Graph.load(path)))
    #expect(reproduction.pipeline == "breaks-types, to-canonical")
    #expect(reproduction.seed == 5)
    #expect(reproduction.graph.metadata.isEmpty)
    #expect(reproduction.graph.order.allSatisfy { reproduction.graph[$0].op.mnemonic == "abs" })
  }

  @Test func aRejectionLeavesNoReproducerUnlessAsked() throws {
    var graph = try PassManagerTests.graph()
    let path = folder() + "/reproducer.qir"
    #expect(throws: CompilerError.self) { try run("rejects", &graph) { $0.reproducer = .onDefect(path) } }
    #expect(access(path, F_OK) != 0)
    #expect(throws: CompilerError.self) { try run("rejects", &graph) { $0.reproducer = .always(path) } }
    #expect(access(path, F_OK) == 0)
    _ = try run("relu-to-abs", &graph) { $0.reproducer = .always(path) }
    #expect(access(path, F_OK) != 0)
  }

  @Test func anErrorOfTheRewriterIsADefectOfThePass() throws {
    var graph = try PassManagerTests.graph()
    let error = #expect(throws: CompilerError.self) { try run("fails-inside", &graph) }
    #expect(error?.status == .internalError)
    #expect(error?.description.contains("pass 'fails-inside' made an invalid graph: odd operand") == true)
  }

  @Test func graphsArePrintedWhereAsked() throws {
    func printed(_ change: (inout Instrumentation) -> Void) throws -> String {
      var graph = try PassManagerTests.graph()
      return try run("relu-to-abs, relu-to-abs, to-canonical", &graph, change).printed
    }
    #expect(try printed { _ in } == "")
    #expect(try printed { $0.printAfterAll = true }.count(of: "// ----- Graph after ") == 3)
    #expect(try printed { $0.printBeforeAll = true }.count(of: "// ----- Graph before ") == 3)
    #expect(try printed { $0.printAfterChange = true }.count(of: "// ----- Graph after ") == 2)
    #expect(
      try printed { $0.printAfter = ["to-canonical"] }.count(of: "// ----- Graph after to-canonical (3 of 3)")
        == 1)
    #expect(
      try printed { $0.printBefore = ["relu-to-abs"] }.count(of: "// ----- Graph before relu-to-abs") == 2)
    let difference = try printed { $0.printDiff = true }
    #expect(
      difference.contains("-   %a = relu(%x) : tensor<4xf32>\n")
        && difference.contains("+   %a = abs(%x) : tensor<4xf32>\n"))
    #expect(throws: CompilerError.self) { try printed { $0.printAfter = ["absent"] } }
  }

  @Test func everyGraphIsWrittenToANumberedFile() throws {
    var graph = try PassManagerTests.graph()
    let folder = folder()
    _ = try run("relu-to-abs, to-canonical", &graph) { $0.irDirectory = folder }
    for name in ["00-input", "01-relu-to-abs", "02-to-canonical"] {
      _ = try Graph.load("\(folder)/\(name).qir")
    }
  }

  @Test func differencesShowThreeLinesAround() {
    let old = (1...20).map { "\($0)" }.joined(separator: "\n"), new = old.replacing("\n10\n", with: "\nten\n")
    #expect(lineDifference(old, new) == "  …\n  7\n  8\n  9\n- 10\n+ ten\n  11\n  12\n  13\n")
    #expect(lineDifference(old, old) == "")
  }
}

extension String {
  fileprivate func count(of text: String) -> Int { ranges(of: text).count }
}
