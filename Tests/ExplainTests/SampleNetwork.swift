import Evaluator
import IR
import Numerics
import PassKit
import Passes
import Support

/// Two convolutions of one pixel, then a classifier: x[3] → relu(conv) [4] → conv [4] → gemm [3].
struct SampleNetwork {
  /// Weights [O, I] and biases of each layer.
  var weights: [[[Float]]]
  var biases: [[Float]]
  var samples: [[Float]]

  init(seed: UInt64 = 1, samples count: Int = 24) {
    var random = SeededRandom(seed: seed, stream: 7)
    func uniform() -> Float { Float(2 * random.unit() - 1) }
    weights = [(4, 3), (4, 4), (3, 4)].map { outputs, inputs in
      (0..<outputs).map { _ in (0..<inputs).map { _ in uniform() } }
    }
    biases = [4, 4, 3].map { count in (0..<count).map { _ in uniform() / 2 } }
    samples = (0..<count).map { _ in (0..<12).map { _ in 2 * uniform() } }
  }

  /// Images are 3 × 2 × 2; the classifier reads the mean of pixels.
  func graph() throws -> Graph {
    var graph = Graph(name: "net", stage: .canonical)
    let x = graph.addInput("x", TensorType(Shape([.batch, .known(3), .known(2), .known(2)]), .f32))
    func append(_ op: Op, _ operands: [ValueID], _ name: String) throws -> ValueID {
      let id = try graph.append(op, operands, name: name)
      return graph[id].results[0]
    }
    func constant(_ name: String, _ shape: [Int], _ values: [Float]) -> ValueID {
      graph.addConstant(Constant(name, shape, values))
    }
    func layer(_ index: Int, _ input: ValueID, _ name: String, _ activation: Activation) throws -> ValueID {
      var conv = Conv2D()
      conv.activation = activation
      let shape = [weights[index].count, weights[index][0].count, 1, 1]
      return try append(
        .conv2d(conv),
        [
          input, constant("\(name).w", shape, Array(weights[index].joined())),
          constant("\(name).b", [shape[0]], biases[index]),
        ],
        name)
    }
    let a = try layer(0, x, "a", .relu), b = try layer(1, a, "b", .none)
    let pooled = try append(.globalAveragePool(GlobalAveragePool()), [b], "pool")
    let flat = try append(.flatten(Flatten()), [pooled], "flat")
    var gemm = Gemm()
    gemm.transposeB = true
    graph.addOutput(
      try append(
        .gemm(gemm),
        [flat, constant("c.w", [3, 4], Array(weights[2].joined())), constant("c.b", [3], biases[2])], "c"))
    return graph
  }

  var data: Samples { Samples(values: samples) }
}

struct Samples: CalibrationData {
  let values: [[Float]]
  var count: Int { values.count }
  func sample(_ index: Int) throws -> [Float] { values[index] }
}

/// `graph` calibrated on `data` behind further passes.
func quantized(
  _ graph: Graph, _ data: any CalibrationData, bits: Int = 4, calibrate options: String = "",
  then passes: String = "", target: String = "generic-int8"
) throws -> Graph {
  var graph = graph, context = PassContext(threads: 1)
  context.calibration = data
  let text =
    "insert-quantizers{target = x86-int4}, assign{target = x86-int4, weight-bits = \(bits), pins = [\"*=w\(bits)\"]}, "
    + "calibrate{\(options)}" + (passes.isEmpty ? "" : ", \(passes)")
  _ = try PassManager(Instrumentation()).run(
    Pipeline(text: text, passes: allPasses, named: namedPipelines), on: &graph, &context)
  return graph
}
