import Evaluator
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
