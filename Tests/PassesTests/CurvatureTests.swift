import Evaluator
import Glibc
import IR
import PassKit
import Support
import Testing

@testable import Passes

/// Second derivatives beside ones by brute force and by a closed form.
@Suite("Curvature of layers")
struct CurvatureTests {
  /// A classifier of 6 numbers by matrix products of the given widths, with tanh between them.
  private func classifier(_ widths: [Int]) throws -> Graph {
    var random = SeededGenerator(9)
    var graph = Graph(name: "net", stage: .canonical)
    var x = graph.addInput("x", TensorType(Shape([.batch, .known(6)]), .f32)), inputs = 6
    for (index, width) in widths.enumerated() {
      var gemm = Gemm()
      gemm.transposeB = true
      let w = Constant("w\(index)", [width, inputs], random.floats(width * inputs, -1...1))
      let b = Constant("b\(index)", [width], random.floats(width, -0.2...0.2))
      let id = try graph.append(
        .gemm(gemm), [x, graph.addConstant(w), graph.addConstant(b)], name: "fc\(index)")
      x = graph[id].results[0]
      inputs = width
      if index + 1 < widths.count {
        let id = try graph.append(.unary(Unary(.tanh)), [x], name: "tanh\(index)")
        x = graph[id].results[0]
      }
    }
    graph.addOutput(x)
    var context = PassContext()
    return try graph.applying(insertQuantizers, [("target", "x86-int4")], &context)
  }

  private static let samples = 12
  private func batch(_ length: Int = 6) -> Tensor {
    var random = SeededGenerator(21)
    return Tensor([Self.samples, length], random.floats(Self.samples * length, -1...1))
  }

  private func curvature(_ graph: Graph, _ batches: [Tensor], threads: Int = 1) -> LayerCurvature {
    LayerCurvature(graph, layers: weights(graph), samples: batches, PassContext(threads: threads, seed: 5))
  }
  private func weights(_ graph: Graph) -> [ValueID] {
    graph.quantizers.filter { $0.quantizer.role == .weight }.map { graph[$0.id].results[0] }
  }
  private func contents(_ value: ValueID, _ graph: Graph) throws -> Tensor {
    let id = try #require(graph.definingOp(of: value))
    return Tensor(try #require(graph.constant(graph[id].operands[0])))
  }

  /// The mean divergence of the answers when weights are other ones, in nats.
  private struct Divergence {
    let graph: Graph
    let evaluator: Evaluator
    let trace: Trace
    let samples: Int
    init(_ graph: Graph, _ batch: Tensor) throws {
      self.graph = graph
      samples = batch.shape[0]
      evaluator = try Evaluator(graph, mode: .float, threads: 1)
      trace = try evaluator.trace([batch])
    }
    func callAsFunction(_ value: ValueID, _ weights: Tensor) throws -> Double {
      var change = Change()
      change.constants[value] = weights
      let changed = try evaluator.replay(trace, change, wanted: graph.outputs)[0]
      let p = logarithmsOfSoftmax(try #require(trace[graph.outputs[0]]), samples: samples)
      let q = logarithmsOfSoftmax(changed, samples: samples)
      let sum = zip(p, q).reduce(0.0) { (sum: Double, pair: (Double, Double)) in
        sum + exp(pair.0) * (pair.0 - pair.1)
      }
      return sum / Double(samples)
    }
  }

  /// All second derivatives of the divergence by a layer's weights, by differences of its values.
  private func bruteForce(_ graph: Graph, _ layer: ValueID) throws -> [[Double]] {
    let loss = try Divergence(graph, batch()), center = try contents(layer, graph)
    let step: Float = 0.02
    func moved(_ i: Int, _ a: Float, _ j: Int, _ b: Float) throws -> Double {
      var floats = center.floats
      floats[i] += a * step
      floats[j] += b * step
      return try loss(layer, Tensor(center.shape, floats))
    }
    var hessian = Array(
      repeating: [Double](repeating: 0, count: center.count), count: center.count)
    for i in 0..<center.count {
      for j in 0...i {
        let differences =
          try moved(i, 1, j, 1) - moved(i, 1, j, -1) - moved(i, -1, j, 1) + moved(i, -1, j, -1)
        hessian[i][j] = differences / Double(4 * step * step)
        hessian[j][i] = hessian[i][j]
      }
    }
    return hessian
  }

  private func product(_ matrix: [[Double]], _ v: [Double]) -> [Double] {
    matrix.map { row in zip(row, v).reduce(0) { $0 + $1.0 * $1.1 } }
  }
  private func largestEigenvalue(_ matrix: [[Double]]) -> Double {
    var v = matrix.indices.map { 1 + Double($0 % 3) }, value = 0.0
    for _ in 0..<300 {
      let next = product(matrix, v)
      value = next.reduce(0) { $0 + $1 * $1 }.squareRoot()
      v = next.map { $0 / value }
    }
    return value
  }
  private func trace(_ matrix: [[Double]]) -> Double { matrix.indices.reduce(0) { $0 + matrix[$1][$1] } }

  @Test func equalsDifferencesOfTheDivergence() throws {
    let graph = try classifier([5, 4])
    let curvature = curvature(graph, [batch().samples(0..<8), batch().samples(8..<12)])
    #expect(curvature.layers.count == 2)
    let traces = try CurvatureProbes(
      curvature, gradientsOf: curvature.layers,
      squares: { $0.map { gradient in gradient.floats.reduce(0.0) { $0 + Double($1) * Double($1) } } })
    for (index, layer) in curvature.layers.enumerated() {
      let hessian = try bruteForce(graph, layer), weights = try contents(layer, graph)
      // Products with a vector, without chance.
      var random = SeededGenerator(33)
      let v = random.floats(weights.count, -1...1).map { Double($0) }
      let plan = try curvature.plan(gradientsOf: [layer], given: [layer])
      let found = try curvature.product(plan, weights: weights, v, step: 0.01)
      for (a, b) in zip(found, product(hessian, v)) { #expect(abs(a - b) < 2e-3, "\(a) \(b)") }
      let largest = try LargestEigenvalue(curvature, layer: index, weights: weights).value
      let expected = largestEigenvalue(hessian)
      #expect(largest > 0.95 * expected && largest < 1.005 * expected, "\(largest) \(expected)")
      let error = abs(traces.means[index] - trace(hessian))
      #expect(error < 4 * traces.standardErrors[index] + 0.005 * trace(hessian))
      #expect(traces.standardErrors[index] < 0.1 * trace(hessian))
    }
  }

  /// One matrix product and a softmax: the second derivatives are the mean of (diag(p) - p pᵀ) ⊗ x xᵀ.
  @Test func equalsTheClosedFormOfALinearClassifier() throws {
    let graph = try classifier([4]), batch = batch()
    let outputs = try Evaluator(graph, mode: .float, threads: 1).run([batch])[0]
    let p = logarithmsOfSoftmax(outputs, samples: Self.samples).map { exp($0) }
    let x = batch.floats.map { Double($0) }
    var fisher = Array(repeating: [Double](repeating: 0, count: 24), count: 24)
    for sample in 0..<Self.samples {
      for (a, b) in (0..<24).flatMap({ a in (0..<24).map { (a, $0) } }) {
        let (i, j) = (sample * 4 + a / 6, sample * 4 + b / 6)
        let answers = (i == j ? p[i] : 0) - p[i] * p[j]
        fisher[a][b] += answers * x[sample * 6 + a % 6] * x[sample * 6 + b % 6] / Double(Self.samples)
      }
    }
    // One chunk for each sample and many probes leave little to chance.
    let curvature = curvature(graph, (0..<Self.samples).map { batch.samples($0..<$0 + 1) })
    let plan = try curvature.plan(gradientsOf: curvature.layers)
    var sum = 0.0
    for probe in 0..<150 {
      let parts = try curvature.randomGradients(plan, probe: probe) { gradients in
        [gradients[0].floats.reduce(0.0) { $0 + Double($1) * Double($1) }]
      }
      sum += curvature.mean(parts)[0] / 150
    }
    #expect(abs(sum / trace(fisher) - 1) < 0.04)
    let layer = curvature.layers[0], weights = try contents(layer, graph)
    let largest = try LargestEigenvalue(curvature, layer: 0, weights: weights).value
    #expect(largest > 0.95 * largestEigenvalue(fisher) && largest < 1.001 * largestEigenvalue(fisher))
  }

  /// Half of vᵀ H v is the divergence that rounding to 8 bits causes; at 4 bits it is still the right order.
  @Test(arguments: [(8, 0.05), (4, 0.5)])
  func predictsTheDivergenceOfRoundedWeights(bits: Int, tolerance: Double) throws {
    let graph = try sampleNetwork(), data = RandomSamples(count: 20)
    let batch = try data.batch(0..<20, for: graph)
    let curvature = curvature(graph, [batch]), loss = try Divergence(graph, batch)
    for layer in curvature.layers {
      let weights = try contents(layer, graph), levels = Float(1 << (bits - 1) - 1)
      let scale = weights.floats.reduce(0) { max($0, abs($1)) } / levels
      let rounded = weights.floats.map { ($0 / scale).rounded() * scale }
      let v = zip(rounded, weights.floats).map { Double($0 - $1) }
      let plan = try curvature.plan(gradientsOf: [layer], given: [layer])
      let product = try curvature.product(plan, weights: weights, v, step: bits == 8 ? 1 : 0.1)
      let predicted = zip(v, product).reduce(0) { $0 + $1.0 * $1.1 } / 2
      let measured = try loss(layer, Tensor(weights.shape, rounded))
      #expect(abs(predicted / measured - 1) < tolerance, "\(predicted) \(measured)")
    }
  }
}
