import IR
import PassKit
import Passes
import Support

/// The float network that models are explained by: in canonical form, in which layers have the names and weights that
/// quantizers saw.
func canonicalModel(_ path: String, _ general: GeneralFlags) throws -> Graph {
  var graph = try LoadedModel(path: path, check: general.onnxCheck, shapes: general.inputShapes).graph(
    for: "compare --against", at: path)
  switch graph.stage {
  case .imported:
    var context = PassContext(threads: general.threadCount)
    var instrumentation = Instrumentation()
    instrumentation.reproducer = .never
    _ = try PassManager(instrumentation).run(
      Pipeline(text: "canonical", passes: allPasses, named: namedPipelines), on: &graph, &context)
    context.diagnostics.forEach(Console.report)
  case .canonical, .elastic: break
  case .assigned, .lowered:
    throw CompilerError(
      "the graph is \(graph.stage.text), not float; --against takes the model it was made from", at: path,
      status: .usage)
  }
  return graph
}
