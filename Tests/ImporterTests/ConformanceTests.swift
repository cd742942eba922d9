import Evaluator
import Foundation
import IR
import Support
import Testing

@testable import Importer

/// ONNX's own single-operator tests: whatever imports must give the expected results in the evaluator.
@Suite("ONNX node tests")
struct ConformanceTests {
  /// Their data store bfloat16 as another type than the model declares.
  static let exceptions: Set = [
    "test_cast_BFLOAT16_to_FLOAT", "test_cast_FLOAT_to_BFLOAT16", "test_castlike_BFLOAT16_to_FLOAT",
    "test_castlike_BFLOAT16_to_FLOAT_expanded", "test_castlike_FLOAT_to_BFLOAT16",
    "test_castlike_FLOAT_to_BFLOAT16_expanded",
  ]

  /// Debian's libonnx-testdata: operator sets up to 17.
  @Test(.enabled(if: TestData.nodeTests != nil))
  func debian() throws {
    #expect(try passes(#require(TestData.nodeTests)) >= 450)
  }

  /// A selection of newer ones.
  @Test(.enabled(if: TestData.shared != nil))
  func newer() throws {
    let archive = "\(try #require(TestData.shared))/onnx-node-tests.tar.xz"
    try TestData.withTemporaryFolder { folder in
      let tar = try Process.run(
        URL(fileURLWithPath: "/usr/bin/tar"), arguments: ["-xJf", archive, "-C", folder])
      tar.waitUntilExit()
      try #require(tar.terminationStatus == 0)
      #expect(try passes("\(folder)/onnx-conformance/node") >= 340)
    }
  }

  /// How many tests of a folder pass; those that import and fail are issues.
  private func passes(_ folder: String) throws -> Int {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
    var passed = 0, unsupported = 0
    for name in names where !Self.exceptions.contains(name) {
      let test = try NodeTest("\(folder)/\(name)")
      guard let graph = test.graph() else {
        unsupported += 1
        continue
      }
      if let difference = try test.difference(graph) {
        Issue.record("\(name): \(difference)")
      } else {
        passed += 1
      }
    }
    print("ONNX node tests: \(passed) pass, \(unsupported) are not supported, of \(names.count)")
    return passed
  }
}

/// One folder of ONNX's test data.
struct NodeTest {
  let path: String
  private let model: OnnxModel
  private let inputs: [OnnxTensor]
  private let outputs: [OnnxTensor]

  init(_ path: String) throws {
    self.path = path
    func bytes(_ name: String) throws -> [UInt8] {
      try Array(Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")))
    }
    func tensors(_ prefix: String) throws -> [OnnxTensor] {
      var result: [OnnxTensor] = []
      while FileManager.default.fileExists(atPath: "\(path)/test_data_set_0/\(prefix)_\(result.count).pb") {
        let contents = try bytes("test_data_set_0/\(prefix)_\(result.count).pb")
        let tensor = try? contents.withUnsafeBufferPointer {
          try OnnxReader.tensor(UnsafeRawBufferPointer($0), location: prefix)
        }
        guard let tensor else { return [] }  // sequences and optionals
        result.append(tensor)
      }
      return result
    }
    model = try bytes("model.onnx").withUnsafeBufferPointer {
      try OnnxReader.model(UnsafeRawBufferPointer($0), location: path, directory: path)
    }
    inputs = try tensors("input")
    outputs = try tensors("output")
  }

  /// The graph; inputs whose contents must be known at compile time (shapes, axes, bounds) become constants. Nil when
  /// the operator or its form is not supported.
  /// Where later outputs are what is not supported, the first alone.
  func graph() -> Graph? { graph(model) ?? graph(firstOutputOnly) }

  private var firstOutputOnly: OnnxModel {
    var result = model
    result.graph.outputs = Array(model.graph.outputs.prefix(1))
    return result
  }

  private func graph(_ model: OnnxModel) -> Graph? {
    guard inputs.count == model.graph.inputs.count, !outputs.isEmpty,
      let opset = model.operatorSets.first(where: { $0.domain.isEmpty })?.version,
      OnnxOperator.operatorSets.contains(opset)
    else { return nil }
    let small = inputs.indices.filter { inputs[$0].dimensions.count <= 1 }
    for constants in [[], small.filter { $0 > 0 }, small] {
      var bound = model
      for index in constants {
        var tensor = inputs[index]
        tensor.name = model.graph.inputs[index].name
        bound.graph.initializers.append(tensor)
      }
      guard let nodes = try? flattenedNodes(of: bound, path) else { return nil }
      var walk = GraphImport(
        model: bound, nodes: nodes, opset: opset, inputShapes: [:], generalizesBatch: false, location: path)
      if let graph = try? walk.run() { return graph }
    }
    return nil
  }

  /// How the evaluator's results differ from the expected ones, or nil.
  func difference(_ graph: Graph) throws -> String? {
    var given: [Tensor] = []
    for value in graph.inputs {
      let name = graph[value].name
      guard let index = model.graph.inputs.firstIndex(where: { $0.name == name }),
        let constant = inputs[index].constant(named: name)
      else { return "input '\(name)' is not given" }
      given.append(Tensor(constant))
    }
    let results: [Tensor]
    do throws(CompilerError) {
      results = try Evaluator(graph, mode: .float, threads: 1).run(given)
    } catch {
      return error.description
    }
    for (result, expected) in zip(results, outputs) {
      guard let constant = expected.constant(named: "expected") else {
        return "the expected output is no number"
      }
      let reference = Tensor(constant)
      guard result.shape == reference.shape else {
        return "shape \(result.shape), expected \(reference.shape)"
      }
      guard result.element == reference.element else {
        return "type \(result.element), expected \(reference.element)"
      }
      let tolerance: Float = expected.type == .float16 || expected.type == .bfloat16 ? 1e-2 : 1e-4
      for (x, y) in zip(result.floats, reference.floats) {
        let isClose = x == y || (x.isNaN && y.isNaN) || abs(x - y) <= 1e-6 + tolerance * abs(y)
        if !isClose { return "\(x), expected \(y)" }
      }
    }
    return nil
  }
}
