import IR
import Importer
import Passes
import Testing

@Suite("Real models in canonical form")
struct CanonicalModelTests {
  /// Every operation that is left, by kind.
  @Test(
    .enabled(if: modelFolder != nil),
    arguments: [
      ("resnet20.onnx", "add 9, conv2d 19, flatten 1, gemm 1, global-average-pool 1, pad 2, slice 2"),
      ("resnet20.clean.onnx", "add 9, conv2d 19, flatten 1, gemm 1, global-average-pool 1, pad 2, slice 2"),
      ("resnet20-jpegft.onnx", "add 9, conv2d 19, flatten 1, gemm 1, global-average-pool 1, pad 2, slice 2"),
      ("resnet56.onnx", "add 27, conv2d 55, flatten 1, gemm 1, global-average-pool 1, pad 2, slice 2"),
      ("resnet8-mlperf-tiny.onnx", "add 3, conv2d 9, flatten 1, gemm 1, global-average-pool 1, softmax 1"),
      ("fashion-dscnn.onnx", "conv2d 9, flatten 1, gemm 1, global-average-pool 1, max-pool 2"),
      ("mnist-opset8.onnx", "conv2d 2, flatten 1, gemm 1, max-pool 2"),
      ("mnist-cntk-opset8.onnx", "conv2d 2, flatten 1, gemm 1, max-pool 2"),
      ("efficientnet-lite0.onnx", "add 9, conv2d 49, flatten 1, gemm 1, global-average-pool 1"),
    ])
  func consistsOf(name: String, operations: String) throws {
    let imported = try importModel(path: "\(try #require(modelFolder))/\(name)").graph
    let (graph, _) = try run(canonicalPasses, on: imported)
    #expect(census(graph) == operations)
    #expect(graph.stage == .canonical)
    #expect(graph.verificationDiagnostics().isEmpty)
    #expect(graph.inputs.map { graph[$0].name } == imported.inputs.map { imported[$0].name })
    #expect(graph.outputs.map { graph[$0].name } == imported.outputs.map { imported[$0].name })
    #expect(graph.inputs.allSatisfy { graph[$0].type.shape[0] == .batch })
    for op in graph.order {
      let node = graph[op]
      if case .gemm(let gemm) = node.op { #expect(gemm.isCanonical && node.operands.count == 3) }
    }
    // A second run finds nothing to do.
    let (again, statistics) = try run(canonicalPasses, on: graph)
    #expect(again.text() == graph.text())
    #expect(statistics.isEmpty, "\(statistics)")
  }

  @Test(.enabled(if: modelFolder != nil))
  func keepsStatisticsOfEveryFoldedNormalization() throws {
    let imported = try importModel(path: "\(try #require(modelFolder))/resnet20.onnx").graph
    let (graph, _) = try run(canonicalPasses, on: imported)
    let described = graph.order.filter { graph[graph[$0].results[0]].statistics != nil }
    #expect(described.count == 19)
    #expect(described.allSatisfy { graph[$0].op.mnemonic == "conv2d" })
  }
}
