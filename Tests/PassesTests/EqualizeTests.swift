import Evaluator
import Foundation
import IR
import Importer
import Numerics
import PassKit
import Support
import Testing

@testable import Passes

/// Calibration with the very samples that outputs are compared on: clips judged by them are exact there.
private struct FixedSamples: CalibrationData {
  let rows: [[Float]]
  var count: Int { rows.count }
  func sample(_ index: Int) -> [Float] { rows[index] }

  init(_ graph: Graph, count: Int, seed: UInt64) {
    var random = SeededGenerator(seed)
    let size = graph[graph.inputs[0]].type.shape.bound(batch: 1).reduce(1, *)
    rows = (0..<count).map { _ in random.floats(size, -2...2) }
  }
}

private func rewritten(
  _ graph: Graph, _ pipeline: String, _ samples: FixedSamples? = nil
) throws -> (graph: Graph, statistics: [String]) {
  var graph = graph, context = PassContext(seed: 1)
  context.calibration = samples
  var instrumentation = Instrumentation()
  instrumentation.reproducer = .never
  let report = try PassManager(instrumentation).run(
    Pipeline(text: pipeline, passes: allPasses, named: namedPipelines), on: &graph, &context)
  return (graph, report.entries.flatMap(\.statistics).map { "\($0.name): \($0.count)" })
}

private func outputs(
  _ graph: Graph, _ samples: FixedSamples, _ mode: Evaluator.Mode = .float
) throws -> [[Float]] {
  let shape = graph[graph.inputs[0]].type.shape.bound(batch: samples.count)
  return try Evaluator(graph, mode: mode, threads: 1).run([Tensor(shape, Array(samples.rows.joined()))])
    .map(\.floats)
}

/// The largest difference relative to the largest number of each output.
private func difference(_ a: [[Float]], _ b: [[Float]]) -> Float {
  zip(a, b).reduce(Float(0)) { largest, pair in
    let scale = pair.0.reduce(Float.leastNormalMagnitude) { max($0, abs($1)) }
    return zip(pair.0, pair.1).reduce(largest) { max($0, abs($1.0 - $1.1) / scale) }
  }
}

private func signalToNoise(_ reference: [[Float]], _ actual: [[Float]]) -> Double {
  var signal = 0.0, noise = 0.0
  for (a, b) in zip(reference.joined(), actual.joined()) {
    signal += Double(a) * Double(a)
    noise += Double(a - b) * Double(a - b)
  }
  return 10 * log10(signal / max(noise, 1e-30))
}

/// The same network with every free channel scaled by a random power of two.
private func scrambled(_ graph: Graph, seed: UInt64) -> (graph: Graph, count: Int) {
  var random = SeededGenerator(seed), rewriter = Rewriter(graph)
  let classes = ChannelClasses(graph)
  var factors = ChannelFactors(classes)
  let clamped = Set(classes.clamps.flatMap { classes.elements(of: $0.value).map { classes.root($0) } })
  for root in 0..<classes.elementCount
  where classes.root(root) == root && classes.reason(root) == nil && !clamped.contains(root) {
    factors[root] = pow(2, Double(random.int(-4...4)))
  }
  rewriter.scale(by: factors)
  return (rewriter.graph, factors.scaledCount)
}

private let tensorTarget = "\(Golden.packageRoot)/Benchmarks/Accuracy/targets/w8a8-tensor.yaml"

/// The ratio of signal to noise of the outputs with 8 bits and one scale for all weights of a layer.
private func quality(_ graph: Graph, _ pipeline: String, _ samples: FixedSamples) throws -> Double {
  let quantized = try rewritten(
    graph,
    "\(pipeline) insert-quantizers{target = \(tensorTarget)}, assign{target = \(tensorTarget)}, calibrate{activations = min-max}, correct-bias",
    samples
  ).graph
  return signalToNoise(
    try outputs(graph, samples), try outputs(quantized, samples, .quantized))
}

/// Convolutions, a depthwise one between them, a shortcut and a classifier.
private func network(seed: UInt64) throws -> Graph {
  var random = SeededGenerator(seed), graph = Graph(name: "net", stage: .canonical)
  func constant(_ shape: [Int]) -> ValueID {
    graph.addConstant(Constant("c\(random.next())", shape, random.floats(shape.reduce(1, *))))
  }
  func add(_ op: Op, _ operands: [ValueID]) throws -> ValueID {
    let id = try graph.append(op, operands, name: "\(op.mnemonic)\(graph.order.count)")
    return graph[id].results[0]
  }
  func conv(
    _ x: ValueID, _ outputs: Int, _ kernel: Int, groups: Int = 1, _ activation: Activation
  ) throws
    -> ValueID
  {
    var op = Conv2D()
    op.groups = groups
    op.activation = activation
    op.pads = Array(repeating: kernel / 2, count: 4)
    let inputs = graph[x].type.shape.size(1) ?? 1
    return try add(
      .conv2d(op), [x, constant([outputs, inputs / groups, kernel, kernel]), constant([outputs])])
  }
  var x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(8), .known(8)]), .f32))
  x = try conv(x, 16, 3, .relu)
  let shortcut = x
  x = try conv(x, 32, 1, .relu)
  x = try conv(x, 32, 3, groups: 32, .relu)
  x = try conv(x, 16, 1, .none)
  var sum = Binary(.add)
  sum.activation = .relu
  x = try add(.binary(sum), [x, shortcut])
  x = try add(.globalAveragePool(GlobalAveragePool()), [x])
  x = try add(.flatten(Flatten()), [x])
  var gemm = Gemm()
  gemm.transposeB = true
  x = try add(.gemm(gemm), [x, constant([10, 16]), constant([10])])
  graph.addOutput(x)
  return graph
}

@Suite struct EqualizeTests {
  @Test(arguments: UInt64(0)..<150)
  func randomNetworksComputeTheSame(seed: UInt64) throws {
    let graph = try run(canonicalPasses, on: RandomNetwork.make(seed: seed)).graph
    let samples = FixedSamples(graph, count: 3, seed: seed)
    let expected = try outputs(graph, samples)
    for pass in [
      "equalize", "equalize{by = activations, alpha = 1.0}", "equalize{by = both}",
      "split-outliers{threshold = 0.01}", "absorb-bias{deviations = 1e30}",
    ] {
      let after = try rewritten(graph, pass, samples).graph
      let error = difference(expected, try outputs(after, samples))
      #expect(error < 1e-4, "\(pass) changes seed \(seed) by \(error)")
      #expect(after.verificationDiagnostics().isEmpty)
    }
    let other = scrambled(graph, seed: seed).graph
    let error = difference(expected, try outputs(other, samples))
    #expect(error < 1e-3, "scaling changes seed \(seed) by \(error)")
  }

  @Test func randomNetworksHaveChannelsToScale() throws {
    var scaled = 0
    for seed in UInt64(0)..<50 {
      let graph = try run(canonicalPasses, on: RandomNetwork.make(seed: seed)).graph
      scaled += scrambled(graph, seed: seed).count
    }
    #expect(scaled > 100, "\(scaled)")
  }

  @Test(arguments: UInt64(0)..<8)
  func undoesRandomScales(seed: UInt64) throws {
    let graph = try network(seed: seed), samples = FixedSamples(graph, count: 16, seed: seed)
    let (spoilt, count) = scrambled(graph, seed: seed)
    #expect(count > 30)
    #expect(difference(try outputs(graph, samples), try outputs(spoilt, samples)) < 1e-4)
    for pass in ["equalize,", "equalize{by = activations},", "equalize{by = both},"] {
      let before = try quality(spoilt, "", samples), after = try quality(spoilt, pass, samples)
      let best = try quality(graph, pass, samples)
      #expect(after > before + 6, "\(pass) from \(before) to \(after) dB")
      #expect(abs(after - best) < 3, "\(pass) reaches \(after) dB, unspoilt \(best) dB")
    }
  }

  @Test(
    .enabled(if: modelFolder != nil), arguments: ["resnet20.onnx", "resnet8-mlperf-tiny.onnx"])
  func undoesRandomScalesOfRealNetworks(name: String) throws {
    let imported = try importModel(path: "\(try #require(modelFolder))/\(name)").graph
    let graph = try rewritten(imported, "canonical").graph
    let samples = FixedSamples(graph, count: 4, seed: 3)
    let (spoilt, count) = scrambled(graph, seed: 5)
    #expect(count > 100)
    let before = try quality(spoilt, "", samples), after = try quality(spoilt, "equalize,", samples)
    #expect(after > before + 6, "from \(before) to \(after) dB")
  }
}
