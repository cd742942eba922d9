import Foundation
import IR
import Support
import Testing

@testable import Importer

@Suite("Real models import")
struct RealModelTests {
  /// Operator count of each file (Constant nodes become constants), and its output's shape.
  @Test(
    .enabled(if: TestData.shared != nil),
    arguments: [
      ("resnet20.onnx", 19 + 19 + 19 + 9 + 6 + 2 + 3 + 5 + 2 + 2 + 2 + 5, "[N, 10]"),
      ("resnet20.clean.onnx", 19 + 19 + 19 + 9 + 2 + 2 + 7, "[N, 10]"),
      ("resnet20-jpegft.onnx", 19 + 19 + 19 + 9 + 2 + 2 + 7, "[N, 10]"),
      ("resnet56.onnx", 55 + 55 + 55 + 27 + 6 + 2 + 3 + 5 + 2 + 2 + 2 + 5, "[N, 10]"),
      ("resnet8-mlperf-tiny.onnx", 9 + 7 + 7 + 3 + 4, "[N, 10]"),
      ("efficientnet-lite0.onnx", 49 + 49 + 33 + 9 + 7, "[N, 1000]"),
      ("fashion-dscnn.onnx", 9 + 9 + 9 + 2 + 3, "[N, 10]"),
      ("mnist-opset8.onnx", 8, "[N, 10]"),
      ("mnist-cntk-opset8.onnx", 12, "[N, 10]"),
    ])
  func imports(name: String, operations: Int, output: String) throws {
    let directory = try #require(TestData.shared)
    let imported = try importModel(path: "\(directory)/models/\(name)")
    let graph = imported.graph
    #expect(imported.warnings.isEmpty, "\(imported.warnings)")
    #expect(graph.order.count == operations)
    #expect(graph.inputs.count == 1)
    #expect(graph.outputs.map { graph[$0].type.shape.description } == [output])
  }

  @Test(.enabled(if: TestData.shared != nil))
  func openShapesAskForAShape() throws {
    let path = "\(try #require(TestData.shared))/models/ppocr-cls.onnx"
    let error = #expect(throws: CompilerError.self) { try importModel(path: path) }
    #expect(error?.diagnostics.count == 1)
    #expect(error?.diagnostics.first?.message.contains("is open beyond the batch") == true)
    var options = ImportOptions()
    options.inputShapes["x"] = Shape([.batch, .known(3), .known(48), .known(192)])
    let graph = try importModel(path: path, options: options).graph
    #expect(graph[graph.outputs[0]].type.shape == Shape([.batch, .known(2)]))
  }

  @Test func samplesImport() throws {
    let folder = "\(TestData.samples)/tiny"
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".onnx") }
      .sorted()
    #expect(names.count > 5)
    for name in names where name != "unsupported.onnx" {
      let graph = try importModel(path: "\(folder)/\(name)").graph
      #expect(graph[graph.outputs[0]].type.shape.isBatched, "\(name)")
    }
  }

  @Test func unsupportedOperatorsAreReportedTogether() throws {
    let error = try #require(
      #expect(throws: CompilerError.self) {
        try importModel(path: "\(TestData.samples)/tiny/unsupported.onnx")
      })
    let messages = error.diagnostics.map(\.message)
    #expect(messages.count == 2, "\(error)")
    #expect(messages.contains { $0.contains("2 nodes") })
    #expect(error.status == .rejected)
  }

  @Test func missingFilesSaySo() {
    let error = #expect(throws: CompilerError.self) { try importModel(path: "/nonexistent/model.onnx") }
    #expect(error?.status == .missingInput)
  }
}
