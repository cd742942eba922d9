import Evaluator
import Foundation
import IR
import Importer
import Passes
import PassKit
import Testing

/// Float passes must not change what a graph computes: both graphs run on seeded random inputs.
@Suite("Float passes keep the meaning")
struct SemanticsTests {
  static let floatPasses = [
    foldConstants, canonicalize, generalizeBatch, foldBatchNorm, convolveAffine, fuseActivations,
    eliminateDeadCode, equalize, absorbBias, splitOutliers,
  ]

  /// The inputs of `graph`, random, with `batch` samples.
  private func inputs(of graph: Graph, batch: Int, seed: UInt64) -> [Tensor] {
    var random = SeededGenerator(seed)
    return graph.inputs.map { input in
      let shape = graph[input].type.shape.bound(batch: batch)
      return Tensor(shape, random.floats(shape.reduce(1, *), -2...2))
    }
  }

  /// The largest difference between the outputs of two graphs, relative to the largest number of each output.
  private func difference(_ before: Graph, _ after: Graph, batch: Int = 2, seed: UInt64) throws -> Float {
    let inputs = inputs(of: before, batch: batch, seed: seed)
    let expected = try Evaluator(before, mode: .float, threads: 1).run(inputs)
    let actual = try Evaluator(after, mode: .float, threads: 1).run(inputs)
    #expect(expected.count == actual.count)
    var largest: Float = 0
    for (x, y) in zip(expected, actual) {
      #expect(x.shape == y.shape)
      let scale = x.floats.reduce(Float.leastNormalMagnitude) { max($0, abs($1)) }
      for (a, b) in zip(x.floats, y.floats) where a != b && !(a.isNaN && b.isNaN) {
        let error = abs(a - b) / scale
        largest = error.isNaN ? .infinity : max(largest, error)
      }
    }
    return largest
  }

  @Test(arguments: UInt64(0)..<150)
  func ofRandomNetworks(seed: UInt64) throws {
    var graph = try RandomNetwork.make(seed: seed)
    for pass in canonicalPasses {
      let (next, _) = try run([pass], on: graph)
      let error = try difference(graph, next, seed: seed)
      #expect(
        error < 1e-4,
        "\(pass.name) changes seed \(seed) by \(error)\n\(graph.text(.elided))\n\(next.text(.elided))")
      #expect(
        next.verificationDiagnostics().isEmpty,
        "\(pass.name), seed \(seed): \(next.verificationDiagnostics())")
      graph = next
    }
    let (restored, _) = try run([restoreBatchNorm], on: graph)
    #expect(try difference(graph, restored, seed: seed) < 1e-4, "restore-batch-norm changes seed \(seed)")
    let kinds = Set(graph.order.map { graph[$0].op.mnemonic })
    #expect(
      kinds.isDisjoint(with: [
        "batch-norm", "identity", "shape", "cast", "matmul", "subtract", "divide", "squeeze",
      ]))
  }

  @Test func theRandomNetworksUseTheRules() throws {
    var rules: Set<String> = []
    for seed in UInt64(0)..<150 {
      for counted in try run(canonicalPasses, on: RandomNetwork.make(seed: seed)).statistics {
        rules.insert(String(counted[..<(counted.lastIndex(of: " ") ?? counted.endIndex)]))
      }
    }
    #expect(rules.count >= 35, "only \(rules.sorted())")
  }

  @Test(arguments: floatPasses.map(\.name))
  func ofGoldens(name: String) throws {
    let pass = try #require(SemanticsTests.floatPasses.first { $0.name == name })
    let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let folder = package.appending(path: "passes/tests/\(name)").path
    let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".qir") }
      .sorted()
    #expect(!files.isEmpty)
    for file in files {
      let text = try String(contentsOfFile: "\(folder)/\(file)", encoding: .utf8)
      let parts = text.components(separatedBy: "// ----\n")
      let input = try #require(parts.first)
      if parts.last?.hasPrefix("error:") == true { continue }
      let graph = try Graph(text: input, file: file, weights: .seeded)
      // A graph that only shows how far folding goes may be too large to run.
      guard graph.values.allSatisfy({ ($0.type.shape.elementCount ?? 0) < 1 << 24 }) else { continue }
      let (after, _) = try run([pass], on: graph)
      let error = try difference(graph, after, batch: pass.name == "generalize-batch" ? 1 : 2, seed: 1)
      #expect(error < 1e-4, "\(name) changes \(file) by \(error)")
    }
  }

  @Test(
    .enabled(if: modelFolder != nil),
    arguments: [
      "resnet20.onnx", "resnet56.onnx", "resnet8-mlperf-tiny.onnx", "fashion-dscnn.onnx", "mnist-opset8.onnx",
      "mnist-cntk-opset8.onnx", "efficientnet-lite0.onnx",
    ])
  func ofRealModels(name: String) throws {
    let graph = try importModel(path: "\(try #require(modelFolder))/\(name)").graph
    let (canonical, _) = try run(canonicalPasses, on: graph)
    let error = try difference(graph, canonical, batch: 2, seed: 7)
    #expect(error < 1e-4, "\(name) changes by \(error)")
    let (restored, _) = try run([restoreBatchNorm], on: canonical)
    #expect(try difference(canonical, restored, batch: 2, seed: 8) < 1e-4, "\(name): restore-batch-norm")
  }
}
