import Glibc
import IR
import Support

/// Runs pipelines: checks stages, verifies after every pass, shows what was asked for, keeps time, and leaves a
/// reproducer when a pass fails.
package struct PassManager: Sendable {
  package var instrumentation: Instrumentation
  /// `repeat` gives up after this many rounds.
  package static let maximumRounds = 16

  package init(_ instrumentation: Instrumentation = Instrumentation()) {
    self.instrumentation = instrumentation
  }

  /// Runs `pipeline` on `graph`, which stays as it was when a pass fails.
  package func run(
    _ pipeline: Pipeline, on graph: inout Graph, _ context: inout PassContext
  ) throws(CompilerError) -> PipelineReport {
    let unknown = instrumentation.unknownNames(in: pipeline)
    guard unknown.isEmpty else {
      throw CompilerError(
        "the pipeline has no pass '\(unknown[0])' to print at; it has \(pipeline.text)", status: .usage)
    }
    var run = PipelineRun(graph, instrumentation, pipeline, context)
    defer { context = run.context }
    try run.start()
    try run.run(pipeline.elements, rest: [], iterations: [])
    run.finish()
    graph = run.graph
    return run.report
  }

  /// What a reproducer recorded, and its graph without the record; nil for other graphs.
  package static func reproduction(_ graph: Graph) -> (graph: Graph, pipeline: String, seed: UInt64)? {
    guard let pipeline = graph.metadata(pipelineKey),
      let seed = graph.metadata(seedKey).flatMap({ UInt64($0) })
    else { return nil }
    var graph = graph
    graph.removeMetadata(pipelineKey)
    graph.removeMetadata(seedKey)
    return (graph, pipeline, seed)
  }
  fileprivate static let pipelineKey = "reproducer-pipeline"
  fileprivate static let seedKey = "reproducer-seed"
}

private struct PipelineRun {
  var graph: Graph
  var context: PassContext
  var report = PipelineReport()
  private let instrumentation: Instrumentation
  private let passCount: Int
  private var stepsLeft: Int
  /// Passes begun, which number the files in the IR directory.
  private var runCount = 0

  init(_ graph: Graph, _ instrumentation: Instrumentation, _ pipeline: Pipeline, _ context: PassContext) {
    self.graph = graph
    self.instrumentation = instrumentation
    self.context = context
    passCount = pipeline.passNames.count
    stepsLeft = instrumentation.maximumSteps
  }

  mutating func start() throws(CompilerError) {
    if instrumentation.verifiesEach { try graph.verify(status: .malformedInput) }
    if let directory = instrumentation.irDirectory {
      guard mkdir(directory, 0o777) == 0 || errno == EEXIST else {
        throw CompilerError(
          "cannot create the directory: \(systemMessage())", at: directory, status: .cannotCreate)
      }
    }
    try writeNumbered("input")
  }
  func finish() {
    if case .always(let path) = instrumentation.reproducer { unlink(path) }
  }

  /// - Parameter rest: what runs after `elements`, for the reproducer.
  mutating func run(
    _ elements: [Pipeline.Element], rest: [Pipeline.Element], iterations: [Int]
  ) throws(CompilerError) {
    for (index, element) in elements.enumerated() {
      let rest = elements[(index + 1)...] + rest
      switch element {
      case .pass(let pass, let options): try run(pass, options, rest: [element] + rest, iterations)
      case .repeated(let body):
        for round in 0..<PassManager.maximumRounds {
          let before = report.entries.count
          try run(body, rest: [element] + rest, iterations: iterations + [round])
          if !report.entries[before...].contains(where: \.isChanged) { break }
        }
      }
    }
  }

  private mutating func run(
    _ pass: Pass, _ options: [(name: String, text: String)], rest: [Pipeline.Element], _ iterations: [Int]
  ) throws(CompilerError) {
    guard pass.accepts.contains(graph.stage) else {
      let accepted =
        pass.accepts.lowerBound == pass.accepts.upperBound
        ? pass.accepts.lowerBound.text : "\(pass.accepts.lowerBound.text) to \(pass.accepts.upperBound.text)"
      throw CompilerError(
        "pass '\(pass.name)' works on \(accepted) graphs, this one is \(graph.stage.text)",
        notes: ["'qcc passes' shows which passes lead there"], status: .usage)
    }
    runCount += 1
    if instrumentation.printBeforeAll || instrumentation.printBefore.contains(pass.name) {
      show("before", pass, graph)
    }
    if case .always(let path) = instrumentation.reproducer { try writeReproducer(path, rest) }

    let clock = ContinuousClock(), start = clock.now
    var rewriter = Rewriter(graph, maximumSteps: stepsLeft)
    do { try pass.run(&rewriter, &context, options) } catch {
      throw failure(of: pass, wrapped(error, pass), after: nil, rest)
    }
    if let stage = pass.produces { rewriter.setStage(stage) }
    let passEnd = clock.now, after = rewriter.graph
    let violations = violations(in: after, canStop: rewriter.stepsLeft == 0)
    let end = clock.now
    if !violations.diagnostics.isEmpty { throw failure(of: pass, violations, after: after, rest) }

    let isChanged = !after.isIdentical(to: graph)
    report.entries.append(
      PipelineReport.Entry(
        pass: pass.name, iterations: iterations, seconds: (passEnd - start).seconds,
        verificationSeconds: (end - passEnd).seconds,
        isChanged: isChanged, steps: stepsLeft - rewriter.stepsLeft, statistics: rewriter.statistics,
        operationsBefore: graph.order.count, operationsAfter: after.order.count))
    if instrumentation.printDiff {
      if isChanged {
        let difference = lineDifference(
          graph.text(instrumentation.weights), after.text(instrumentation.weights))
        instrumentation.print("\(heading("Changes by", pass))\(difference)\n")
      }
    } else if instrumentation.printAfterAll || instrumentation.printAfter.contains(pass.name)
      || (instrumentation.printAfterChange && isChanged)
    {
      show("after", pass, after)
    }
    stepsLeft = rewriter.stepsLeft
    graph = after
    try writeNumbered(pass.name)
  }

  /// What breaks the rules. Rules of a stage may be broken where the step budget cut rewrites short; where a pass
  /// merely declared a stage whose rules earlier passes did not establish, the pipeline is at fault, not qcc.
  private func violations(in graph: Graph, canStop: Bool) -> CompilerError {
    guard instrumentation.verifiesEach else { return CompilerError([]) }
    let structural = graph.structuralDiagnostics()
    if !structural.isEmpty { return CompilerError(structural.cutShort(), status: .internalError) }
    return CompilerError(canStop ? [] : graph.verificationDiagnostics().cutShort(), status: .rejected)
  }
  private func wrapped(_ error: any Error, _ pass: Pass) -> CompilerError {
    if let error = error as? CompilerError { return error }
    return CompilerError("pass '\(pass.name)' made an invalid graph: \(error)", status: .internalError)
  }

  /// The error to throw, after showing and writing what helps to find its cause.
  private func failure(
    of pass: Pass, _ error: CompilerError, after: Graph?, _ rest: [Pipeline.Element]
  ) -> CompilerError {
    var error = error
    if let after, let first = error.diagnostics.indices.first {
      let rules = after.stage == graph.stage ? "" : ", which declares stage \(after.stage.text)"
      error.diagnostics[first].notes.append("found behind pass '\(pass.name)'\(rules)")
    }
    if instrumentation.printAfterFailure {
      show("before the failing", pass, graph)
      if let after { show("after the failing", pass, after) }
    }
    let isWritten = error.status == .internalError || instrumentation.reproducer.isAlways
    if isWritten, let path = instrumentation.reproducer.path {
      do throws(CompilerError) {
        try writeReproducer(path, rest)
        error.diagnostics.append(
          Diagnostic(
            .note,
            "the graph before pass '\(pass.name)' and the rest of the pipeline are in \(path); run it with --run-reproducer"
          ))
      } catch let writeError {
        error.diagnostics += writeError.diagnostics
      }
    }
    return error
  }

  // MARK: Output

  private func heading(_ what: String, _ pass: Pass) -> String {
    "// ----- \(what) \(pass.name) (\(runCount) of \(max(passCount, runCount))) -----\n"
  }
  private func show(_ when: String, _ pass: Pass, _ graph: Graph) {
    instrumentation.print("\(heading("Graph \(when)", pass))\(graph.text(instrumentation.weights))\n")
  }
  private func writeNumbered(_ name: String) throws(CompilerError) {
    guard let directory = instrumentation.irDirectory else { return }
    let number = runCount < 10 ? "0\(runCount)" : "\(runCount)"
    try writeFile("\(directory)/\(number)-\(name).qir", graph.text(instrumentation.weights))
  }
  private func writeReproducer(_ path: String, _ rest: [Pipeline.Element]) throws(CompilerError) {
    var copy = graph
    copy.setMetadata(PassManager.pipelineKey, Pipeline(rest).text)
    copy.setMetadata(PassManager.seedKey, "\(context.seed)")
    try writeFile(path, copy.text(.embedded))
  }
}

extension Instrumentation.Reproducer {
  fileprivate var isAlways: Bool { if case .always = self { true } else { false } }
}

extension Duration {
  fileprivate var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
