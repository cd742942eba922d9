import Foundation
import IR
import Importer
import PassKit
import Passes
import Support
import Testing

/// A compilation may stop behind any pass and go on from the text.
@Suite("Every stage as text")
struct StageTextTests {
  private static func pipeline(_ target: String) throws -> Pipeline {
    let text = compilePipeline(
      from: .imported, isCalibrated: false, target: target, assignment: "weight-bits = 0",
      calibration: "activations = l2.4")
    return try Pipeline(text: text, passes: allPasses, named: namedPipelines)
  }
  private static func compiled(
    _ graph: Graph, _ pipeline: Pipeline, maximumSteps: Int = .max
  ) throws -> (graph: Graph, steps: Int) {
    var graph = graph, context = PassContext(), instrumentation = Instrumentation()
    instrumentation.reproducer = .never
    instrumentation.maximumSteps = maximumSteps
    let report = try PassManager(instrumentation).run(pipeline, on: &graph, &context)
    return (graph, report.steps)
  }
  /// Runs the passes one by one; between them the graph exists as text alone.
  private static func compiledThroughText(_ graph: Graph, _ pipeline: Pipeline) throws -> Graph {
    try pipeline.elements.reduce(graph) { graph, element in
      let after = try compiled(graph, Pipeline([element])).graph, text = after.text(.embedded)
      let again = try Graph(text: text)
      #expect(again.text(.embedded) == text, "behind \(element.text)")
      return again
    }
  }

  @Test(
    arguments: ["mnist-resnet/model.onnx", "tiny/grouped.onnx", "tiny/pools.onnx", "tiny/relu6-opset7.onnx"],
    ["arm-int4", "x86-int8"])
  func goesOnFromTheText(sample: String, target: String) throws {
    let imported = try importModel(path: "\(Golden.packageRoot)/samples/\(sample)").graph
    let pipeline = try StageTextTests.pipeline(target)
    let direct = try StageTextTests.compiled(imported, pipeline).graph
    #expect(direct.stage == .lowered)
    #expect(
      try StageTextTests.compiledThroughText(imported, pipeline).text(.embedded) == direct.text(.embedded))
  }

  @Test func goesOnFromTheTextOfRandomNetworks() throws {
    let pipeline = try StageTextTests.pipeline("generic-int8")
    var compiledCount = 0
    for seed in UInt64(0)..<12 {
      let network = try RandomNetwork.make(seed: seed)
      // A network with a float island is rejected, which other tests look at.
      guard let direct = try? StageTextTests.compiled(network, pipeline).graph else { continue }
      compiledCount += 1
      #expect(
        try StageTextTests.compiledThroughText(network, pipeline).text(.embedded) == direct.text(.embedded),
        "seed \(seed)")
    }
    #expect(compiledCount > 3)
  }

  /// Bisecting with `--stop-after` needs a valid graph for every budget.
  @Test func everyBudgetOfRewritesGivesAValidGraph() throws {
    let imported = try importModel(path: "\(Golden.packageRoot)/samples/mnist-resnet/model.onnx").graph
    let pipeline = Pipeline(
      Array(try StageTextTests.pipeline("arm-int4").elements.prefix { !$0.text.hasPrefix("insert") }))
    let (full, steps) = try StageTextTests.compiled(imported, pipeline)
    #expect(steps > 0)
    for limit in 0...steps {
      let (graph, taken) = try StageTextTests.compiled(imported, pipeline, maximumSteps: limit)
      #expect(taken == limit)
      #expect(graph.structuralDiagnostics().isEmpty)
      if limit == steps { #expect(graph.text() == full.text()) }
    }
  }
}
