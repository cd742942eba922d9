import IR
import PassKit
import Passes
import Support

/// A float network that others are compared with or learn from: in canonical form, in which layers have the names and
/// weights that quantizers saw.
/// - Parameter option: that named it, such as 'compare --against'.
func canonicalModel(_ path: String, _ general: GeneralFlags, for option: String) throws -> Graph {
  var graph = try LoadedModel(path: path, check: general.onnxCheck, shapes: general.inputShapes).graph(
    for: option, at: path)
  switch graph.stage {
  case .imported: try canonicalize(&graph, general)
  case .canonical, .elastic: break
  case .assigned, .lowered:
    throw CompilerError(
      "the graph is \(graph.stage.text), not float; qcc \(option) takes a float network", at: path,
      status: .usage)
  }
  return graph
}

/// Runs the pipeline 'canonical', which also folds the batch normalizations that training in float left apart.
func canonicalize(_ graph: inout Graph, _ general: GeneralFlags) throws {
  var context = PassContext(threads: general.threadCount)
  var instrumentation = Instrumentation()
  instrumentation.reproducer = .never
  _ = try PassManager(instrumentation).run(
    Pipeline(text: "canonical", passes: allPasses, named: namedPipelines), on: &graph, &context)
  context.diagnostics.forEach(Console.report)
}
