import ArgumentParser
import Explain
import IR
import PassKit
import Passes
import Support

struct BisectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bisect",
    abstract: "Name the smallest set of quantizers that alone costs the accuracy.",
    discussion: """
      Example: qcc bisect assigned.qir --against model.onnx --data test/ --preprocess p.yaml --max-drop 0.5
               qcc bisect assigned.qir --against model.onnx --data images/ --labels labels.tsv --max-drop 1 --json
               qcc bisect assigned.qir --against model.onnx --data images/ --min-sqnr 20 --all
      Quantizers are switched to float and back (weights together with their layer's bias) until a set is left that fails by
      itself and no longer does without any one of its members: delta debugging (ddmin), with those first that do most to
      the answers alone. It fails where it loses more than --max-drop points: of top-1 with labels, without of the same
      answers as the float network; or where the answers have less than --min-sqnr. Exit codes: 0 a set was found, or all
      quantizers together hold; 130 interrupted (Ctrl-C), with the smallest set found so far printed.
      """)
  @Argument(help: "A calibrated .qir graph before lowering.") var model: String
  @Option(
    help: ArgumentHelp(
      "The float network it was made from; default: the graph with all quantizers off.", valueName: "model"))
  var against: String?
  @Option(
    name: .customLong("max-drop"), help: ArgumentHelp("Points that may be lost.", valueName: "points"))
  var largestDrop: Double?
  @Option(
    name: .customLong("min-sqnr"),
    help: ArgumentHelp("Signal to noise that the answers must have.", valueName: "dB"))
  var leastDecibels: Double?
  @Flag(help: "Go on among the other quantizers until they hold: one set after another.") var all = false
  @Flag(help: "Print one JSON object.") var json = false
  @OptionGroup var data: DataFlags
  @OptionGroup var general: GeneralFlags

  func validate() throws {
    guard (largestDrop == nil) != (leastDecibels == nil) else {
      throw ValidationError("give either --max-drop or --min-sqnr")
    }
    if let largestDrop, !(0...100).contains(largestDrop) {
      throw ValidationError("--max-drop must be 0 to 100 points")
    }
  }

  func run() throws {
    general.apply()
    let graph = try LoadedModel(path: model, check: general.onnxCheck, shapes: general.inputShapes).graph(
      for: "bisect", at: model)
    guard graph.stage < .lowered else {
      throw CompilerError(
        "the graph is lowered: its quantizers cannot be switched off; qcc bisect takes an assigned graph",
        at: model)
    }
    let original = try against.map { try canonicalModel($0, general, for: "bisect --against") }
    let network = try QuantizedNetwork(graph, original: original)
    if original == nil {
      Console.report(
        Diagnostic(
          .note, "without --against the float weights are those in the graph, which gptq may have rounded"))
    }
    if let warning = network.rewriteWarning { Console.report(warning) }
    guard let source = try data.source(for: graph) else {
      throw CompilerError("qcc bisect needs --data", status: .usage)
    }
    Interruption.watch()
    var context = PassContext(threads: general.threadCount, seed: data.seed, progress: Console.progress)
    context.isInterrupted = { Interruption.isRequested }
    let gate: SubsetGate = leastDecibels.map { .signalToNoise($0) } ?? .drop(largestDrop ?? 0)
    var search = try GuiltySearch(network, source, gate, context)
    do { try search.run(goesOn: all) } catch let error as CompilerError where error.status == .interrupted {}
    Console.finishProgress()
    print(json ? search.json.text : search.text)
    if !search.isComplete {
      throw CompilerError("interrupted: what is printed is the best so far", status: .interrupted)
    }
  }
}
