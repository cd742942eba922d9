import Foundation
import IR
import Support
import Testing

@testable import Importer

/// ONNX's own single-operator tests, as far as their operators and types are supported.
@Suite("ONNX node tests")
struct ConformanceTests {
  @Test(.enabled(if: TestData.nodeTests != nil))
  func shapes() throws {
    let folder = try #require(TestData.nodeTests)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    var reasons: [String: Int] = [:]
    var imported = 0
    for name in names {
      let path = "\(folder)/\(name)"
      let graph: Graph
      do throws(CompilerError) {
        var options = ImportOptions()
        options.generalizesBatch = false
        options.check = .off
        graph = try importModel(path: "\(path)/model.onnx", options: options).graph
      } catch {
        let reason = error.diagnostics[0].message
        print("REASON \(name): \(reason)")
        reasons[reason, default: 0] += 1
        continue
      }
      imported += 1
      for (index, output) in graph.outputs.enumerated() {
        let data = try Data(contentsOf: URL(fileURLWithPath: "\(path)/test_data_set_0/output_\(index).pb"))
        let expected = try Array(data).withUnsafeBufferPointer {
          try OnnxReader.tensor(UnsafeRawBufferPointer($0), location: name)
        }
        #expect(graph[output].type.shape.description == Shape(expected.dimensions).description, "\(name)")
      }
    }
    print("IMPORTED \(imported) of \(names.count)")
  }
}
