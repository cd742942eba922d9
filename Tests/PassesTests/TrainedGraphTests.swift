import Evaluator
import Foundation
import IR
import PassKit
import Passes
import Support
import Testing
import Training

/// Graphs as training leaves them: batch normalizations apart, weights fake-quantized.
@Suite("Trained graphs")
struct TrainedGraphTests {
  /// A convolution of 2 bits, whose accumulator steps are coarse beside its shifts.
  private func trained() throws -> Graph {
    try Graph(
      text: """
        qir 1
        graph @net stage assigned {batch-norm = separate} (%x: tensor<Nx2x4x4xf32>) {
          %x.s = constant dense [0.7] : tensor<1xf32>
          %x.z = constant dense [1] : tensor<1xi32>
          %xq = quantize(%x, %x.s, %x.z) {site = x, role = activation, axis = 1, forms = [2:tensor:asymmetric*]} : tensor<Nx2x4x4xf32>
          %w = constant dense [0.9, -0.5, 0.3, 0.75] : tensor<2x2x1x1xf32>
          %w.s = constant dense [0.6] : tensor<1xf32>
          %w.z = constant dense [0] : tensor<1xi32>
          %wq = quantize(%w, %w.s, %w.z) {site = c.weight, role = weight, axis = 0, forms = [2:tensor:symmetric*]} : tensor<2x2x1x1xf32>
          %c = conv2d(%xq, %wq) : tensor<Nx2x4x4xf32>
          %gain = constant dense [1.3, 0.4] : tensor<2xf32>
          %shift = constant dense [0.21, 0.5] : tensor<2xf32>
          %mean = constant dense [0.37, -0.61] : tensor<2xf32>
          %variance = constant dense [0.8, 0.3] : tensor<2xf32>
          %n = batch-norm(%c, %gain, %shift, %mean, %variance) {epsilon = 1e-05} : tensor<Nx2x4x4xf32>
          %r = relu(%n) : tensor<Nx2x4x4xf32>
          %r.s = constant dense [0.01] : tensor<1xf32>
          %r.z = constant dense [0] : tensor<1xi32>
          %rq = quantize(%r, %r.s, %r.z) {site = r, role = activation, axis = 1, forms = [8:tensor:asymmetric*]} : tensor<Nx2x4x4xf32>
          return %rq
        }
        """, file: "trained", weights: .seeded)
  }
  private func input(_ seed: UInt64) -> Tensor {
    var random = SeededRandom(seed: seed)
    return Tensor([8, 2, 4, 4], (0..<256).map { _ in Float(random.unit()) * 3 - 1 })
  }
  private func applying(_ text: String, to graph: Graph) throws -> Graph {
    var graph = graph, context = PassContext(threads: 1, seed: 0)
    _ = try PassManager().run(
      Pipeline(text: text, passes: allPasses, named: namedPipelines), on: &graph, &context)
    return graph
  }

  @Test func answerBeforeAndBehindFoldingAndInIntegers() throws {
    let graph = try trained(), x = input(3)
    let before = try Evaluator(graph, threads: 1).run([x])[0].floats
    let folded = try applying("fold-batch-norm", to: graph)
    #expect(folded.metadata("batch-norm") == "folded")
    let behind = try Evaluator(folded, threads: 1).run([x])[0].floats
    let integers = try Evaluator(try applying("lower-integer", to: folded), threads: 1).run([x])[0].floats
    #expect(zip(before, behind).allSatisfy { abs($0 - $1) < 1e-6 } && behind == integers)
    // Shifts that no bias can hold would show: the float normalization differs from the folded one.
    #expect(Set(before).count > 4)
  }

  @Test func plansRoundShiftsAsTheEvaluatorDoes() throws {
    let graph = try trained(), x = input(4)
    let scales = graph.order.flatMap { id -> [ValueID] in
      if case .quantize = graph[id].op { [graph[id].operands[1]] } else { [] }
    }
    let plan = try GradientPlan(graph, gradientsOf: [], overridable: scales, threads: 1)
    let expected = try Evaluator(graph, threads: 1).run([x])[0].floats
    #expect(try plan.outputs([x])[0].floats == expected)
    // Other scales are other steps, in a run as in a graph.
    var other = graph
    let halved = Tensor([1], [Float(0.3)])
    let constant = other.addConstant(Constant("w.half", [1], [Float(0.3)]))
    for use in graph.uses(of: scales[1]) { other.setOperand(use.user, use.operand, to: constant) }
    let overridden = try plan.outputs([x], overriding: [scales[1]: halved])[0].floats
    #expect(overridden == (try Evaluator(other, threads: 1).run([x])[0].floats) && overridden != expected)
  }

  @Test func loweringRefusesSeparateNormalizations() throws {
    let graph = try trained()
    #expect(throws: CompilerError.self) { try applying("lower-integer", to: graph) }
  }
}
