import IR
import Support

/// What to show and check while a pipeline runs.
package struct PassManagerOptions: Sendable {
  /// Passes before and after which the graph is printed; `all` sets hold for every pass.
  package var printBefore: Set<String> = []
  package var printAfter: Set<String> = []
  package var printBeforeAll = false
  package var printAfterAll = false
  /// Print after passes that changed the text.
  package var printAfterChange = false
  /// Print the graph that a failing pass left or was given.
  package var printAfterFailure = false
  /// Print changed lines instead of whole graphs.
  package var printDifference = false
  /// Write dumps as numbered files into this folder instead of standard error.
  package var dumpFolder: String?
  package var verifiesAfterEachPass = true
  /// How many optional rewrites the whole pipeline may make; bisecting it finds the one that breaks a model.
  package var stopAfter = Int.max
  /// Where the reproducer of a failing pass goes; nil: none is written.
  package var reproducerPath: String?
  package init() {}

  func printsBefore(_ pass: String) -> Bool { printBeforeAll || printBefore.contains(pass) }
  func printsAfter(_ pass: String) -> Bool { printAfterAll || printAfter.contains(pass) }
}

/// What one pass did.
package struct PassRecord: Sendable {
  package var name: String
  package var duration: Duration
  package var statistics: [(name: String, count: Int)]
  package var operationsBefore: Int
  package var operationsAfter: Int
}

/// Runs pipelines: checks stages, verifies after every pass, dumps, times, counts, and leaves a reproducer on failure.
package struct PassManager: Sendable {
  package var options: PassManagerOptions
  /// Checks the graph against the rules of its stage.
  package var verify: @Sendable (Graph) -> [Diagnostic]
  /// Where dumps go that have no file.
  package var printDump: @Sendable (String) -> Void

  package init(
    _ options: PassManagerOptions = PassManagerOptions(), verify: @escaping @Sendable (Graph) -> [Diagnostic],
    printDump: @escaping @Sendable (String) -> Void
  ) {
    self.options = options
    self.verify = verify
    self.printDump = printDump
  }

  /// Runs `pipeline` on `graph`, which keeps the last good state when a pass fails.
  /// - Throws: the pass's diagnostics with a note naming the pass and the reproducer; `internalError` when the graph it
  ///   left breaks a rule.
  package func run(_ pipeline: Pipeline, on graph: inout Graph, _ context: inout PassContext) throws(CompilerError) -> [PassRecord] {
    var records: [PassRecord] = [], stepsLeft = options.stopAfter
    var dumps = DumpWriter(options, printDump)
    for (index, step) in pipeline.steps.enumerated() {
      let pass = step.pass
      try checkStage(pass, graph)
      if options.printsBefore(pass.name) { try dumps.write(graph, "before", pass.name, previous: nil) }
      var rewriter = Rewriter(graph, maximumSteps: stepsLeft)
      let clock = ContinuousClock(), start = clock.now
      do throws(CompilerError) { try apply(step, &rewriter, &context) } catch {
        if options.printAfterFailure { try dumps.write(rewriter.graph, "failed in", pass.name, previous: nil) }
        throw failure(error, graph, pipeline, index, context)
      }
      let duration = clock.now - start
      let before = graph
      graph = rewriter.graph
      stepsLeft = rewriter.stepsLeft
      records.append(
        PassRecord(
          name: pass.name, duration: duration, statistics: rewriter.statistics, operationsBefore: before.order.count,
          operationsAfter: graph.order.count))
      let previous = options.printDifference || options.printAfterChange ? before.text(.hashed) : nil
      let isChanged = options.printAfterChange && previous != graph.text(.hashed)
      if options.printsAfter(pass.name) || isChanged {
        try dumps.write(graph, "after", pass.name, previous: options.printDifference ? previous : nil)
      }
    }
    return records
  }

  /// Runs one pass, sets the stage it produces and verifies what it left.
  private func apply(_ step: PipelineStep, _ rewriter: inout Rewriter, _ context: inout PassContext) throws(CompilerError) {
    let pass = step.pass
    do { try pass.run(&rewriter, &context, step.options) } catch let error as CompilerError { throw error } catch {
      throw CompilerError("\(error)", at: "pass \(pass.name)", status: .internalError)
    }
    if let produced = pass.produces { rewriter.setStage(produced) }
    guard options.verifiesAfterEachPass else { return }
    let broken = verify(rewriter.graph).filter { $0.severity == .error }
    guard broken.isEmpty else {
      throw CompilerError(
        broken.map { diagnostic in
          var diagnostic = diagnostic
          diagnostic.notes.append("found after pass \(pass.name): a defect of the pass, please report it")
          return diagnostic
        }, status: .internalError)
    }
  }

  private func checkStage(_ pass: Pass, _ graph: Graph) throws(CompilerError) {
    guard pass.accepts.contains(graph.stage) else {
      let stages = pass.accepts.lowerBound == pass.accepts.upperBound
        ? pass.accepts.lowerBound.rawValue : "\(pass.accepts.lowerBound.rawValue) to \(pass.accepts.upperBound.rawValue)"
      throw CompilerError(
        "pass '\(pass.name)' works on graphs of stage \(stages); this one is \(graph.stage.rawValue)",
        notes: ["'qcc passes' shows which passes lead from one stage to the next"])
    }
  }

  /// The error with a note, after writing the graph before the pass and the rest of the pipeline to the reproducer.
  private func failure(
    _ error: CompilerError, _ graph: Graph, _ pipeline: Pipeline, _ index: Int, _ context: PassContext
  ) -> CompilerError {
    var error = error
    guard let path = options.reproducerPath, error.status == .internalError || error.status == .rejected else { return error }
    var reproducer = graph
    reproducer.setMetadata("reproduce-pipeline", Pipeline(Array(pipeline.steps[index...])).text)
    reproducer.setMetadata("reproduce-seed", "\(context.seed)")
    guard !error.diagnostics.isEmpty else { return error }
    let last = error.diagnostics.count - 1
    do throws(CompilerError) {
      try reproducer.save(path)
      error.diagnostics[last].notes.append("the graph before pass \(pipeline.steps[index].pass.name) is in \(path); 'qcc opt --run-reproducer \(path)' repeats this")
    } catch {
      return error
    }
    return error
  }
}

/// Writes dumps to standard error or to numbered files.
private struct DumpWriter {
  private let options: PassManagerOptions
  private let printDump: @Sendable (String) -> Void
  private var count = 0

  init(_ options: PassManagerOptions, _ printDump: @escaping @Sendable (String) -> Void) {
    self.options = options
    self.printDump = printDump
  }

  mutating func write(_ graph: Graph, _ when: String, _ pass: String, previous: String?) throws(CompilerError) {
    let text = graph.text(.hashed)
    let shown = previous.map { lineDifference($0, text) } ?? text
    if let folder = options.dumpFolder {
      let number = count < 10 ? "0\(count)" : "\(count)"
      try writeFile("\(folder)/\(number)-\(when.replacingSpaces)-\(pass).\(previous == nil ? "qir" : "diff")", shown)
    } else {
      printDump("// ---- graph \(when) \(pass) ----\n\(shown)")
    }
    count += 1
  }
}

extension String {
  fileprivate var replacingSpaces: String { String(map { $0 == " " ? "-" : $0 }) }
}

/// Removed lines with `-`, added ones with `+`, in order; unchanged ones are left out.
package func lineDifference(_ old: String, _ new: String) -> String {
  let a = old.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  let b = new.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  let difference = b.difference(from: a)
  // Merge removals and insertions by position in the old text: walk both line lists together.
  var removed: Set<Int> = [], inserted: Set<Int> = []
  for change in difference {
    switch change {
    case .remove(let offset, _, _): removed.insert(offset)
    case .insert(let offset, _, _): inserted.insert(offset)
    }
  }
  var lines: [String] = [], i = 0, j = 0
  while i < a.count || j < b.count {
    if i < a.count, removed.contains(i) {
      lines.append("- \(a[i])")
      i += 1
    } else if j < b.count, inserted.contains(j) {
      lines.append("+ \(b[j])")
      j += 1
    } else {
      i += 1
      j += 1
    }
  }
  return lines.joined(separator: "\n") + "\n"
}
