import ArgumentParser
import Evaluator
import Explain
import IR
import KernelInterface
import PassKit
import Passes
import Program
import Runtime
import Support

struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Show where a quantized network loses precision, why, and what to do: site by site.",
    discussion: """
      Example: qcc opt --pass-pipeline='canonical, insert-quantizers{target = x86-int4}, assign, calibrate, gptq, correct-bias' \\
                   --data train/ --preprocess p.yaml model.onnx -o assigned.qir
               qcc compare assigned.qir --against model.onnx --data test/ --preprocess p.yaml
               qcc compare assigned.qir --against model.onnx --data test/ --sort local --limit 5 --json
               qcc compare model.qpk --against model.onnx --data test/ --min-sqnr 25
      All figures are signal to noise in decibels, higher is better; 6 dB are one bit. For every quantizer of an assigned graph:
        weight  of the rounded weights
        local   behind the site when it alone rounds, its inputs float
        cumul.  at the same place when all quantizers round
        output  of the network's answers when this site alone rounds: what the table is sorted by
      The cause is the remedy that would gain most, if it halves the error at least (3 dB): outlier, clipped tail, channel
      spread, bias overflow; else depthwise or few levels. Any other pair of models is compared value by value where names
      agree; a program's inner tensors are compared under the scale that fits best, since it stores none.
      Exit code 2: the answers have less than --min-sqnr.
      """)
  @Argument(help: "An .onnx, .qir or .qpk model.") var model: String
  @Option(help: ArgumentHelp("The float network that it was made from.", valueName: "model"))
  var against: String
  @Option(help: "What comes first: the least output, cumulative, local or weight; or graph for the order.")
  var sort: SortKey = .output
  @Option(help: "How many rows; 0: all.") var limit = 20
  @Option(
    name: .customLong("min-sqnr"),
    help: ArgumentHelp("Fail where the answers have less signal to noise.", valueName: "dB"))
  var leastDecibels: Double?
  @Option(help: ArgumentHelp("Also draw the figures in the order of the graph.", valueName: "file"))
  var svg: String?
  @Flag(help: "Print one JSON object, with all sites.") var json = false
  @OptionGroup var data: DataFlags
  @OptionGroup var general: GeneralFlags

  enum SortKey: String, ExpressibleByArgument, CaseIterable { case output, cumulative, local, weight, graph }

  func validate() throws {
    if limit < 0 { throw ValidationError("--limit must not be negative") }
  }

  func run() throws {
    general.apply()
    var flags = data
    flags.samples = data.samples ?? 64
    let loaded = try LoadedModel(path: model, check: general.onnxCheck, shapes: general.inputShapes)
    if case .graph(let graph) = loaded, graph.stage == .assigned || graph.isCalibrated, graph.stage < .lowered
    {
      try compareSites(graph, flags)
    } else {
      try compareValues(loaded, flags)
    }
  }

  // MARK: Sites

  private func compareSites(_ graph: Graph, _ flags: DataFlags) throws {
    let original = try canonicalModel(against, general, for: "compare --against")
    let network = try QuantizedNetwork(graph, original: original)
    guard let source = try flags.source(for: graph) else {
      throw CompilerError("qcc compare needs --data", status: .usage)
    }
    if let warning = network.rewriteWarning { Console.report(warning) }
    Interruption.watch()
    var context = PassContext(threads: general.threadCount, seed: data.seed, progress: Console.progress)
    context.isInterrupted = { Interruption.isRequested }
    if let warning = try InputCheck(original, source, context)?.diagnostic { Console.report(warning) }
    let report = try explain(network, source, samples: source.count, context)
    Console.finishProgress()
    let view = SiteTable(report, sort: sort, limit: limit == 0 ? .max : limit)
    if let svg { try writeFile(svg, view.chart.svg) }
    print(json ? view.json.text : view.text)
    try gate(report.outputs.decibels)
  }

  private func gate(_ decibels: Double) throws {
    guard let leastDecibels, !(decibels >= leastDecibels) else { return }
    throw CompilerError(
      "the answers have \(fixed(decibels, 1)) dB of signal to noise, less than --min-sqnr \(fixed(leastDecibels, 1))",
      at: model, status: .gateFailed)
  }

  // MARK: Values

  private func compareValues(_ loaded: LoadedModel, _ flags: DataFlags) throws {
    var original = try LoadedModel(path: against, check: general.onnxCheck, shapes: general.inputShapes)
      .graph(
        for: "compare --against", at: against)
    let own: ([Float]) throws -> [NamedValue]
    var embedded: String?
    switch loaded {
    case .graph(let graph):
      // Canonical forms share names; an exporter's own graph is compared as it is.
      if graph.stage != .imported, original.stage == .imported {
        original = try canonicalModel(against, general, for: "compare --against")
      }
      let tracer = try ValueTracer(graph, mode: .quantized)
      own = { try tracer.values($0) }
    case .program(let program):
      original = try canonicalModel(against, general, for: "compare --against")
      embedded = Metadata(json: program.metadata)?["preprocessing"]
      own = try ProgramTracer(program).values
    }
    guard original.inputs.count == 1, let input = original.inputs.first else {
      throw CompilerError(
        "models with one input can be compared; this one has \(original.inputs.count)", at: against)
    }
    guard
      let source = try flags.source(
        inputShape: original[input].type.shape.extents.map(\.value), embedded: embedded)
    else { throw CompilerError("qcc compare needs --data", status: .usage) }
    let context = PassContext(threads: general.threadCount)
    if let warning = try InputCheck(original, source, context)?.diagnostic { Console.report(warning) }
    let reference = try ValueTracer(original, mode: .float)
    var comparison = ValueComparison(reference: original)
    for index in 0..<source.count {
      let sample = try source.sample(index)
      let values = try reference.values(sample).map { ($0.name, $0.values) }
      comparison.add(try own(sample), reference: Dictionary(values) { first, _ in first })
      Console.progress("comparing", index + 1, source.count)
    }
    Console.finishProgress()
    let reports = comparison.reports
    guard !reports.isEmpty else {
      throw CompilerError(
        "no value of the model has a name and a size that the other knows", at: model,
        notes: ["--against takes the network that it was made from"])
    }
    let view = ValueTable(
      reports, samples: source.count, unmatched: comparison.unmatched, sort: sort,
      limit: limit == 0 ? .max : limit)
    if let svg { try writeFile(svg, view.chart.svg) }
    print(json ? view.json.text : view.text)
    let outputs = Set(original.outputs.map { original[$0].name })
    if let answer = reports.last(where: { outputs.contains($0.otherName) }) ?? reports.last {
      try gate(answer.energies.decibels)
    }
  }
}

/// A program's tensors by name: floats, or stored integers without a scale.
private struct ProgramTracer {
  private let program: Program
  private let interpreter: Interpreter

  init(_ program: Program) throws(CompilerError) {
    guard program.inputs.count == 1 else {
      throw CompilerError("programs with one input can be compared; this one has \(program.inputs.count)")
    }
    self.program = program
    interpreter = Interpreter(program, features: try chosenFeatures(nil))
  }

  func values(_ sample: [Float]) throws -> [NamedValue] {
    var found: [NamedValue] = []
    do {
      _ = try interpreter.run([sample]) { tensor, bytes in
        let name = program.tensors[tensor].name.description
        switch program.tensors[tensor].element {
        case .u8: found.append(NamedValue(name, bytes.map { Float($0) }, isStored: true))
        case .f32:
          let values = bytes.withUnsafeBytes { raw in
            (0..<bytes.count / 4).map {
              Float(
                bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
            }
          }
          found.append(NamedValue(name, values, isStored: false))
        }
      }
    } catch { throw CompilerError("\(error)") }
    return found
  }
}
