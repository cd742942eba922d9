import Evaluator
import Foundation
import IR
import Support
import Testing

@testable import Training

@Suite("Gradients of convolutions and products against differences")
struct ConvolutionGradientTests {
  struct Case: Sendable {
    var input: [Int]
    var weights: [Int]
    var strides = [1, 1]
    var pads = [0, 0, 0, 0]
    var dilations = [1, 1]
    var groups = 1
    var activation = Activation.none
    var hasBias = true
  }
  static let cases = [
    Case(input: [2, 3, 5, 6], weights: [4, 3, 3, 3], pads: [1, 1, 1, 1]),
    Case(input: [1, 3, 6, 5], weights: [2, 3, 3, 2], strides: [2, 1], pads: [1, 0, 0, 1], hasBias: false),
    Case(input: [2, 4, 6, 6], weights: [6, 2, 3, 3], strides: [1, 2], pads: [0, 2, 1, 0], groups: 2),
    Case(input: [1, 5, 6, 6], weights: [5, 1, 3, 3], pads: [1, 1, 1, 1], groups: 5, activation: .relu),
    Case(input: [1, 2, 7, 7], weights: [3, 2, 3, 3], pads: [2, 2, 2, 2], dilations: [2, 2]),
    Case(
      input: [1, 2, 7, 8], weights: [2, 2, 2, 3], pads: [1, 0, 2, 1], dilations: [3, 2], activation: .relu),
    Case(
      input: [2, 16, 4, 4], weights: [16, 16, 1, 1], activation: .clip(minimum: -1, maximum: 1.5)),
    Case(input: [1, 16, 5, 5], weights: [16, 16, 3, 3], pads: [1, 1, 1, 1], activation: .relu),
  ]
  /// Away from the corners of the activation, where differences see both sides.
  static func isSmooth(_ activation: Activation) -> (Float) -> Bool {
    let bounds = activation.bounds
    return { abs($0 - bounds.lowerBound) > 0.1 && abs($0 - bounds.upperBound) > 0.1 }
  }

  @Test(arguments: cases)
  func convolution(_ test: Case) throws {
    var random = SeededRandom(seed: 1), op = Conv2D()
    (op.strides, op.pads, op.dilations) = (test.strides, test.pads, test.dilations)
    (op.groups, op.activation) = (test.groups, test.activation)
    var operands = [random.tensor(test.input, -1...1), random.tensor(test.weights, -1...1)]
    if test.hasBias { operands.append(random.tensor([test.weights[0]])) }
    try checkGradients(.conv2d(op), operands, isSmooth: Self.isSmooth(test.activation))
  }

  /// Large shards of wide layers go through Winograd's algorithm, small ones do not.
  @Test func winogradAgreesWithSumsInDoubles() throws {
    var random = SeededRandom(seed: 6), op = Conv2D(), graph = Graph()
    op.pads = [1, 1, 1, 1]
    let x = random.tensor([32, 32, 8, 8]), w = random.tensor([48, 32, 3, 3], -0.3...0.3)
    let bias = random.tensor([48]), gradient = random.tensor([32, 48, 8, 8])
    let input = graph.addInput("x", TensorType(Shape([.batch, .known(32), .known(8), .known(8)]), .f32))
    let weights = graph.addConstant(Constant("w", w.shape, w.floats))
    let shifts = graph.addConstant(Constant("b", bias.shape, bias.floats))
    graph.addOutput(try graph.result(.conv2d(op), [input, weights, shifts]))
    func results(shard: Int) throws -> (y: [Float], dx: [Float], dw: [Float]) {
      let plan = try GradientPlan(graph, gradientsOf: [input, weights], shardSize: shard, threads: 2)
      let sample = gradient.floats.count / 32
      let run = try plan.run([x]) { shard in
        let part = gradient.floats[shard.samples.lowerBound * sample..<shard.samples.upperBound * sample]
        return GradientPlan.ShardLoss(0, [Tensor([shard.samples.count, 48, 8, 8], Array(part))])
      }
      return (try plan.outputs([x])[0].rowMajor().floats, run.gradients[0].floats, run.gradients[1].floats)
    }
    let whole = try results(shard: 32), parts = try results(shard: 4)
    #expect(relativeError(whole.dw, parts.dw) < 1e-5)
    let values = x.floats, kernels = w.floats, slopes = gradient.floats
    for _ in 0..<500 {
      let n = Int(random.below(32)), row = Int(random.below(8)), column = Int(random.below(8))
      let outer = Int(random.below(48)), inner = Int(random.below(32))
      var y = Double(bias.floats[outer]), dx = 0.0
      for i in 0..<3 {
        for j in 0..<3 {
          let (up, left) = (row + i - 1, column + j - 1), (down, right) = (row + 1 - i, column + 1 - j)
          if 0..<8 ~= up && 0..<8 ~= left {
            for c in 0..<32 {
              y +=
                Double(values[((n * 32 + c) * 8 + up) * 8 + left])
                * Double(kernels[((outer * 32 + c) * 3 + i) * 3 + j])
            }
          }
          if 0..<8 ~= down && 0..<8 ~= right {
            for o in 0..<48 {
              dx +=
                Double(slopes[((n * 48 + o) * 8 + down) * 8 + right])
                * Double(kernels[((o * 32 + inner) * 3 + i) * 3 + j])
            }
          }
        }
      }
      let (yIndex, xIndex) = (
        ((n * 48 + outer) * 8 + row) * 8 + column, ((n * 32 + inner) * 8 + row) * 8 + column
      )
      for result in [whole, parts] {
        // Sums of about 300 products with a root mean square of 3.
        #expect(abs(Double(result.y[yIndex]) - y) < 1e-4 && abs(Double(result.dx[xIndex]) - dx) < 1e-4)
      }
    }
    let processor = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
    if processor.contains("avx512dq") { #expect(whole.y != parts.y && whole.dx != parts.dx) }
    #expect(try results(shard: 32) == whole)
  }

  @Test(arguments: [
    Case(input: [1, 4, 4, 5], weights: [4, 3, 3, 3], strides: [2, 2], pads: [1, 1, 1, 1]),
    Case(input: [2, 4, 3, 3], weights: [4, 2, 2, 3], pads: [0, 1, 0, 0], groups: 2, activation: .relu),
  ])
  func transposedConvolution(_ test: Case) throws {
    var random = SeededRandom(seed: 2), op = ConvTranspose2D()
    (op.strides, op.pads, op.dilations) = (test.strides, test.pads, test.dilations)
    (op.groups, op.activation) = (test.groups, test.activation)
    op.outputPads = test.strides == [2, 2] ? [1, 0] : [0, 0]
    let operands = [
      random.tensor(test.input, -1...1), random.tensor(test.weights, -1...1),
      random.tensor([test.weights[1] * test.groups]),
    ]
    try checkGradients(.convTranspose2d(op), operands, isSmooth: Self.isSmooth(test.activation))
  }

  @Test(arguments: [false, true], [false, true])
  func gemm(transposeA: Bool, transposeB: Bool) throws {
    var random = SeededRandom(seed: 3)
    for (bias, activation) in [([5], Activation.none), ([3, 1], .relu), ([], .none)] {
      var op = Gemm()
      (op.transposeA, op.transposeB, op.activation) = (transposeA, transposeB, activation)
      (op.alpha, op.beta) = (0.5, 1.5)
      let operands = [
        random.tensor(transposeA ? [4, 3] : [3, 4]), random.tensor(transposeB ? [5, 4] : [4, 5]),
        random.tensor(bias),
      ]
      try checkGradients(.gemm(op), operands, isSmooth: Self.isSmooth(activation))
    }
  }

  @Test(arguments: [
    ([3, 4], [4, 2]), ([2, 3, 4], [4, 2]), ([2, 1, 3, 4], [3, 4, 2]), ([4, 3], [2, 3, 5]),
    ([2, 2, 3, 4], [2, 2, 4, 3]),
  ])
  func matrixProduct(_ a: [Int], _ b: [Int]) throws {
    var random = SeededRandom(seed: 4)
    try checkGradients(.matMul(MatMul()), [random.tensor(a), random.tensor(b)])
    try checkGradients(.matMul(MatMul()), [random.tensor(a), random.tensor(b)], inputs: 2)
  }
}
