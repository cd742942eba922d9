import ArgumentParser
import IR
import PassKit
import Passes
import Support

struct OptCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "opt", abstract: "Run passes on a graph: any stage in, any stage out.",
    discussion: """
      Example: qcc opt --pass-pipeline='canonical, insert-quantizers{target = arm-int4}' model.onnx -o model.qir
               qcc opt --pass-pipeline=canonicalize model.onnx -o - | qcc opt --pass-pipeline=fold-batch-norm - -o -
      A .qir file keeps large weights in a .safetensors file beside it; on standard output they travel in the text.
      """)
  @Argument(help: "An .onnx or .qir file, or - for standard input.") var input: String?
  @Option(
    name: .customLong("pass-pipeline"),
    help: ArgumentHelp(
      "Passes or the pipeline 'canonical', separated by commas; options in braces.", valueName: "passes"))
  var pipeline: String?
  @Option(
    name: .customLong("run-reproducer"),
    help: ArgumentHelp("Repeat the failure recorded in a reproducer.", valueName: "file"))
  var reproducer: String?
  @Option(
    name: .shortAndLong, help: ArgumentHelp("Where the graph goes; - is standard output.", valueName: "file"))
  var output = "-"
  @Flag(name: .customLong("elide-weights"), help: "Print the text without weights; it cannot be read back.")
  var elidesWeights = false
  @OptionGroup var data: DataFlags
  @OptionGroup var passes: PassFlags
  @OptionGroup var general: GeneralFlags

  func validate() throws {
    if (input == nil) == (reproducer == nil) { throw ValidationError("give one input, or --run-reproducer") }
    if reproducer != nil && pipeline != nil { throw ValidationError("a reproducer brings its own pipeline") }
  }

  func run() throws {
    general.apply()
    let path = input ?? reproducer ?? "-"
    var graph = try LoadedModel(path: path, check: general.onnxCheck, shapes: general.inputShapes).graph(
      for: "opt", at: path)
    var seed = data.seed, text = pipeline
    if reproducer != nil {
      guard let reproduction = PassManager.reproduction(graph) else {
        throw CompilerError(
          "the graph is no reproducer: it records no pipeline and seed", at: path, status: .malformedInput)
      }
      (graph, text, seed) = (reproduction.graph, reproduction.pipeline, reproduction.seed)
    }
    if let text {
      let pipeline = try Pipeline(text: text, passes: allPasses, named: namedPipelines)
      var context = PassContext(threads: general.threadCount, seed: seed, progress: Console.progress)
      context.calibration = try data.calibration(for: graph)
      let report = try passes.manager.run(pipeline, on: &graph, &context)
      context.diagnostics.forEach(Console.report)
      passes.report(report)
    }
    if elidesWeights { print(graph.text(.elided), terminator: "") } else { try graph.save(output) }
  }
}
