import Foundation
import IR
import Support
import Testing

@testable import Importer

@Suite("Hostile files give a diagnostic")
struct HostileInputTests {
  /// A small valid model: relu(x * w).
  static let valid = Proto.model(
    Proto { graph in
      graph.node("Mul", ["x", "w"], ["product"])
      graph.node("Relu", ["product"], ["y"])
      graph.message(5, Proto.tensor("w", [2]) { tensor in tensor.data(9, [0, 0, 128, 63, 0, 0, 0, 64]) })
      graph.value(11, "x", [nil, 2])
      graph.value(12, "y", [nil, 2])
    })

  @Test func theValidModelImports() throws {
    let graph = try importBytes(Self.valid).graph
    #expect(graph.order.map { graph[$0].op.mnemonic } == ["multiply", "relu"])
    #expect(graph.constants.map(\.floats) == [[1, 2]])
    #expect(graph[graph.outputs[0]].name == "y")
  }

  @Test func everyTruncationFails() {
    for count in 0..<Self.valid.count {
      let error = importError(Array(Self.valid[..<count]))
      // A cut between top-level fields leaves a shorter model, never a complete one.
      #expect(error != nil, "cut to \(count) bytes")
      #expect(
        error?.diagnostics.allSatisfy { !$0.message.isEmpty && $0.location.hasPrefix("test.onnx") } == true)
    }
  }

  /// Every byte of the valid model and of a real exporter's, changed in several ways: an error or a graph, no crash.
  @Test func mutationsNeverCrash() throws {
    let folder = "\(TestData.samples)/tiny"
    let models =
      [Self.valid] + [
        try Array(Data(contentsOf: URL(fileURLWithPath: "\(folder)/shape-chain.onnx"))),
        try Array(Data(contentsOf: URL(fileURLWithPath: "\(folder)/pools.onnx"))),
      ]
    for model in models {
      for index in model.indices {
        for change: UInt8 in [0x01, 0x7F, 0x80, 0xFF] {
          var mutated = model
          mutated[index] ^= change
          if let error = importError(mutated) { #expect(!error.diagnostics.isEmpty) }
        }
      }
    }
  }

  /// attribute.g.node.attribute.g…: libprotobuf-c alone overflows its stack on this.
  @Test func deepNestingIsRefused() {
    var graph = Proto()
    for _ in 0..<5000 {
      let inner = graph
      graph = Proto { outer in
        outer.message(1) { node in
          node.message(5) { attribute in
            attribute.text(1, "body")
            attribute.int(20, 5)
            attribute.message(6, inner)
          }
        }
      }
    }
    let error = importError(Proto.model(graph))
    #expect(error?.description.contains("nest deeper than 64") == true)
    #expect(error?.status == .malformedInput)
  }

  /// Two bytes for an empty node, a hundred and fifty in memory.
  @Test func amplificationIsRefused() {
    var graph = Proto()
    graph.bytes = Array(repeating: [0x0A, 0], count: 2_000_000).flatMap { $0 }
    let error = importError(Proto.model(graph))
    #expect(error?.description.contains("MiB of memory") == true, "\(String(describing: error))")
  }

  @Test func tooManyMessagesAreRefused() throws {
    let bytes = Proto.model(Proto { graph in for _ in 0..<100 { graph.message(1, Proto()) } })
    var scan = bytes.withUnsafeBytes { WirePrescan(bytes: $0, location: "f") }
    scan.limits.messages = 50
    let limited = scan
    let error = #expect(throws: CompilerError.self) {
      try bytes.withUnsafeBytes { _ in try limited.check(onnxModel()) }
    }
    #expect(error?.description.contains("more than 50 messages") == true)
  }

  @Test(
    arguments: [
      ([0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], "more than 64 bits"),
      ([0x08, 0xFF], "cut off"),
      ([0x3A, 0x7F, 0x00], "overruns its message"),
      ([0x3B], "wire type 3"),
      ([0x00, 0x00], "field number 0"),
      ([0x38, 0x00], "wire type 0"),
      ([0x12, 0x01, 0xFF], "is not UTF-8"),
      ([0x12, 0x03, 0x61, 0x00, 0x62], "is not UTF-8"),
      ([0x3A, 0x00, 0x3A, 0x00], "occurs twice"),
      ([0x08, 0x07], "no graph"),
      ([], "empty"),
    ] as [([UInt8], String)])
  func malformedWireFormat(bytes: [UInt8], expected: String) {
    let error = importError(bytes)
    #expect(error?.description.contains(expected) == true, "\(String(describing: error))")
    #expect(error?.status == .malformedInput)
  }

  @Test func allocationFailuresAreSurvived() {
    let bytes = Self.valid
    for limit in stride(from: 0, to: 8192, by: 8) {
      _ = bytes.withUnsafeBufferPointer { buffer in
        try? UnpackedMessage(
          UnsafeRawBufferPointer(buffer), as: onnxModel(), of: UInt8.self, memoryLimit: limit, location: "f")
      }
    }
  }

  // MARK: - Graphs

  private func error(_ build: (inout Proto) -> Void) -> String {
    importError(Proto.model(Proto(build)))?.description ?? "imported"
  }

  @Test func brokenGraphsNameTheFault() {
    #expect(
      error {
        $0.node("Relu", ["nowhere"], ["y"])
        $0.value(12, "y", [nil, 2])
      }.contains("reads 'nowhere', which no earlier node makes"))
    #expect(
      error {
        $0.value(11, "x", [nil, 2])
        $0.node("Relu", ["x"], ["y"])
        $0.node("Relu", ["x"], ["y"])
        $0.value(12, "y", [nil, 2])
      }.contains("'y' is made twice"))
    #expect(error { $0.value(11, "x", [nil, 2]) }.contains("no outputs"))
    #expect(
      error {
        $0.value(11, "x", [nil, 2])
        $0.value(12, "z", [nil, 2])
      }.contains("output 'z' is made by no node"))
    #expect(
      error {
        $0.value(11, "x", type: 8, [nil, 2])
        $0.value(12, "x", type: 8, [nil, 2])
      }.contains("STRING is not supported"))
  }

  @Test func faultsOfSeveralNodesAreReportedAtOnce() {
    let text = error {
      $0.value(11, "x", [nil, 3, 8, 8])
      $0.node("Softmax", ["x"], ["a"]) { $0.attribute("axis", int: 9) }
      $0.node("Relu", ["a"], ["b"])
      $0.node("MaxPool", ["x"], ["c"]) { $0.attribute("kernel_shape", ints: [3]) }
      $0.node("Relu", ["x"], ["d"]) { $0.attribute("slope", int: 9) }
      $0.node("FancyOp", ["x"], ["e"])
      $0.value(12, "b", [nil])
      $0.value(12, "c", [nil])
    }
    #expect(text.contains("axis 9 is out of range"))
    #expect(text.contains("'kernel_shape' is [3]"))
    #expect(text.contains("attribute 'slope' is unknown"))
    #expect(text.contains("operator 'FancyOp' of ai.onnx 13 is not supported"))
    #expect(text.split(separator: "\n").filter { $0.contains("error:") }.count == 4, "\(text)")
  }

  /// Sizes whose products overflow, and shapes that no memory holds.
  @Test func enormousSizesAreRefused() {
    let huge = Int.max
    #expect(
      error {
        $0.value(11, "x", [nil, huge, huge])
        $0.value(12, "x", [nil])
      }.contains("does not fit in memory"))
    #expect(
      error {
        $0.message(5, Proto.tensor("w", [huge, huge]) { $0.data(9, []) })
        $0.value(12, "w", [1])
      }.contains("too large"))
    #expect(
      error {
        $0.message(
          5,
          Proto.tensor("shape", type: 7, [2]) {
            $0.int(7, 1 << 40); $0.int(7, 1 << 40)
          })
        $0.node("ConstantOfShape", ["shape"], ["y"])
        $0.value(12, "y", [1])
      }.contains("too large"))
    #expect(
      error {
        $0.value(11, "x", [nil, 4, 8, 8])
        $0.message(5, Proto.tensor("w", [4, 4, 1, 1]) { $0.data(9, Array(repeating: 0, count: 64)) })
        $0.node("ConvTranspose", ["x", "w"], ["y"]) { $0.attribute("strides", ints: [huge, huge]) }
        $0.value(12, "y", [1])
      }.contains("attribute 'strides'"))
    #expect(
      error {
        $0.value(11, "x", [nil, 4, 8, 8])
        $0.message(5, Proto.tensor("w", [4, 4, 1, 1]) { $0.data(9, Array(repeating: 0, count: 64)) })
        $0.node("Conv", ["x", "w"], ["y"]) { $0.attribute("group", int: huge) }
        $0.value(12, "y", [1])
      }.contains("attribute 'group'"))
  }
}
