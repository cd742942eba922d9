import Evaluator
import Foundation
import IR
import Support
import Testing

@testable import Importer

/// Imported networks as the evaluator runs them, against ONNX Runtime 1.31.
@Suite("Reference outputs")
struct ReferenceOutputTests {
  /// The relative error allowed, against the largest output.
  static let tolerance: Float = 1e-4

  struct Network: Sendable {
    var name: String
    var shape: [Int]
    /// Inputs are ((31 i² + 17 i) mod 251 / 250 - offset) * scale for element i.
    var scale: Float
    var offset: Float = 0
    /// The first outputs.
    var expected: [Float]
  }
  static let networks = [
    Network(
      name: "resnet20", shape: [3, 32, 32], scale: 4, offset: 0.5,
      expected: [
        1.12891, -0.877645, 7.62841, -0.463273, -1.41398, -6.34402, 6.2078, -6.20655, -7.66368, 8.02093,
      ]),
    Network(
      name: "resnet20.clean", shape: [3, 32, 32], scale: 4, offset: 0.5,
      expected: [
        1.12891, -0.877645, 7.62841, -0.463273, -1.41398, -6.34402, 6.2078, -6.20655, -7.66368, 8.02093,
      ]),
    Network(
      name: "resnet20-jpegft", shape: [3, 32, 32], scale: 4, offset: 0.5,
      expected: [
        -0.757284, 2.52639, 2.32776, 1.9256, -3.85851, -1.77065, 1.86481, -4.22844, -7.30613, 9.27272,
      ]),
    Network(
      name: "resnet56", shape: [3, 32, 32], scale: 4, offset: 0.5,
      expected: [
        -7.05141, 0.83715, 6.61613, 6.86193, -3.63434, 0.0157664, 3.78859, -3.00834, -3.77478, -0.625703,
      ]),
    Network(
      name: "resnet8-mlperf-tiny", shape: [3, 32, 32], scale: 255,
      expected: [0, 6.78513e-05, 0.439105, 0.00176848, 0, 0, 0.396744, 0, 0.162314, 0]),
    Network(
      name: "efficientnet-lite0", shape: [3, 224, 224], scale: 2, offset: 0.5,
      expected: [
        -1.11101, 0.425388, -1.00939, -1.57847, -0.425587, -0.478026, -0.404381, -0.868728, -1.73141,
        -1.81466,
      ]),
    Network(
      name: "fashion-dscnn", shape: [1, 28, 28], scale: 1,
      expected: [
        -0.0632941, -1.11801, 1.53549, -2.46088, -4.30169, -5.67428, -1.36765, -3.1428, 3.18762, -3.08045,
      ]),
    Network(
      name: "mnist-opset8", shape: [1, 28, 28], scale: 255,
      expected: [
        -216.312, -128.952, -273.104, -154.161, 231.927, -248.328, 101.75, -102.56, 208.159, -247.353,
      ]),
    Network(
      name: "mnist-cntk-opset8", shape: [1, 28, 28], scale: 255,
      expected: [
        -216.312, -128.952, -273.104, -154.161, 231.927, -248.328, 101.75, -102.56, 208.159, -247.353,
      ]),
    Network(name: "ppocr-cls", shape: [3, 48, 192], scale: 2, offset: 0.5, expected: [0.700835, 0.299165]),
  ]

  static let embedding: [Float] = [
    -0.0692557, 0.0022435, 0.0735343, 0.0220613, -0.00032495, 0.100715, 0.0293344, -0.0298982, 0.0224544,
    0.0278844,
  ]

  @Test(.enabled(if: TestData.shared != nil), arguments: networks)
  func realModels(network: Network) throws {
    let directory = try #require(TestData.shared)
    var options = ImportOptions()
    if network.name == "ppocr-cls" {
      options.inputShapes["x"] = Shape([.batch] + network.shape.map { .known($0) })
    }
    let graph = try importModel(path: "\(directory)/models/\(network.name).onnx", options: options).graph
    let sample = (0..<network.shape.reduce(1, *)).map { (i: Int) -> Float in
      let level: Int = (i * i * 31 + i * 17) % 251
      return (Float(level) / 250 - network.offset) * network.scale
    }
    // Two equal samples: the batch is symbolic even where the file fixes it to 1.
    let twice = Tensor([2] + network.shape, Array([sample, sample].joined()))
    let results = try Evaluator(graph, mode: .float).run([twice])[0]
    #expect(results.shape[0] == 2)
    let size = results.count / 2, largest = network.expected.map(abs).max() ?? 1
    for (index, expected) in network.expected.enumerated() {
      #expect(abs(results.floats[index] - expected) <= Self.tolerance * largest, "output \(index)")
      #expect(results.floats[index] == results.floats[index + size])
    }
  }

  /// A sentence of 16 tokens, the last four masked.
  @Test(.enabled(if: TestData.shared != nil))
  func sentenceEncoder() throws {
    var options = ImportOptions()
    for name in ["input_ids", "attention_mask"] { options.inputShapes[name] = Shape([.batch, .known(16)]) }
    let path = "\(try #require(TestData.shared))/models/minilm-l6-v2.onnx"
    let graph = try importModel(path: path, options: options).graph
    let tokens = (0..<16).map { Int64(($0 * 37 + 5) % 8368) }, mask = (0..<16).map { Int64($0 < 12 ? 1 : 0) }
    let result = try Evaluator(graph, mode: .float).run([Tensor([1, 16], tokens), Tensor([1, 16], mask)])[0]
    #expect(result.shape == [1, 384])
    for (actual, expected) in zip(result.floats, Self.embedding) { #expect(abs(actual - expected) <= 1e-5) }
  }

  @Test func samples() throws {
    let folder = "\(TestData.samples)/tiny"
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
      .filter { $0.hasSuffix(".output.npy") }.map { String($0.dropLast(".output.npy".count)) }.sorted()
    #expect(names.count > 5)
    for name in names {
      let graph = try importModel(path: "\(folder)/\(name).onnx").graph
      let result = try Evaluator(graph, mode: .float).run([npy("\(folder)/\(name).input.npy")])[0]
      let expected = try npy("\(folder)/\(name).output.npy")
      #expect(result.shape == expected.shape, "\(name)")
      let largest = expected.floats.map(abs).max() ?? 1
      let error = zip(result.floats, expected.floats).map { abs($0 - $1) }.max() ?? 0
      #expect(error <= Self.tolerance * largest, "\(name)")
    }
  }

  /// A C-order f32 array of NumPy's format 1.0.
  private func npy(_ path: String) throws -> Tensor {
    let bytes = try Array(Data(contentsOf: URL(fileURLWithPath: path)))
    let headerEnd = 10 + Int(bytes[8]) + Int(bytes[9]) << 8
    let header = String(decoding: bytes[10..<headerEnd], as: UTF8.self)
    try #require(header.contains("'<f4'") && header.contains("'fortran_order': False"))
    let open = try #require(header.firstIndex(of: "(")), close = try #require(header.lastIndex(of: ")"))
    let shape = header[open..<close].dropFirst().split(separator: ",").compactMap {
      Int($0.trimmingCharacters(in: .whitespaces))
    }
    let values = stride(from: headerEnd, to: bytes.count, by: 4).map { offset in
      Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) })
    }
    return Tensor(shape, values)
  }
}
