import Evaluator
import IR
import Support
import Testing

@testable import Training

@Suite("Gradients of the other operations against differences")
struct OperationGradientTests {
  static let smooth: [Unary.Function] = [
    .sigmoid, .silu, .gelu, .tanh, .erf, .exp, .negate, .softplus,
  ]
  static let cornered: [Unary.Function] = [
    .relu, .clip, .leakyRelu, .elu, .hardSigmoid, .hardSwish, .abs, .floor, .ceil, .sign,
  ]
  static let positive: [Unary.Function] = [.log, .sqrt, .reciprocal]

  @Test(arguments: smooth + cornered + positive)
  func unary(_ function: Unary.Function) throws {
    var random = SeededRandom(seed: 5)
    var op = Unary(function)
    switch function {
    case .clip: (op.alpha, op.beta) = (-0.95, 1.25)
    case .hardSigmoid: (op.alpha, op.beta) = (0.4, 0.45)
    case .leakyRelu: op.alpha = 0.3
    case .elu: op.alpha = 0.7
    default: break
    }
    // Away from the corners: all of them are multiples of a twentieth.
    let values = random.floats(60, Self.positive.contains(function) ? 0.5...2.5 : -3.5...3.5)
    let x = values.map { (($0 * 20).rounded(.down) + 0.5) / 20 }
    try checkGradients(.unary(op), [Tensor([2, 3, 2, 5], x)])
  }

  @Test(arguments: [
    ([2, 3, 4, 5], [2, 3, 4, 5]), ([2, 3, 4, 5], [3, 1, 1]), ([2, 3, 1, 1], [2, 3, 4, 2]), ([4], [3, 4]),
    ([3, 1], [1, 4]), ([2, 3, 4], []),
  ])
  func binary(_ a: [Int], _ b: [Int]) throws {
    var random = SeededRandom(seed: 6)
    for function in Binary.Function.allCases {
      let op = Op.binary(Binary(function))
      guard op.isDifferentiable else { continue }
      var left = random.distinct(a, 3), right = random.tensor(b, 0.5...2)
      // Extremes of two numbers that are never close, powers of positive numbers.
      if function == .minimum || function == .maximum {
        right = Tensor(b, right.floats.map { ($0 * 4).rounded() / 4 })
        left = Tensor(a, left.floats.map { ($0 * 4).rounded() / 4 + 0.125 })
      }
      if function == .power { left = random.tensor(a, 0.5...2) }
      if function == .parametricRelu {
        left = Tensor(a, left.floats.map { abs($0) < 0.1 ? $0 + 0.2 : $0 })
      }
      try checkGradients(op, [left, right], inputs: 2, step: 5e-3, tolerance: 6e-3)
      try checkGradients(op, [left, right], inputs: 1, step: 5e-3, tolerance: 6e-3)
    }
  }

  @Test func fusedAddition() throws {
    var random = SeededRandom(seed: 7)
    for activation in [Activation.relu, .clip(minimum: -1, maximum: 2)] {
      var op = Binary(.add)
      op.activation = activation
      try checkGradients(
        .binary(op), [random.tensor([2, 3, 4, 4]), random.tensor([3, 1, 1])], inputs: 2,
        isSmooth: ConvolutionGradientTests.isSmooth(activation))
    }
  }

  @Test func selection() throws {
    var random = SeededRandom(seed: 8)
    let condition = Tensor([2, 1, 4], (0..<8).map { $0 % 3 == 0 })
    try checkGradients(
      .select(Select()), [condition, random.tensor([2, 3, 4]), random.tensor([3, 1])], inputs: 3)
  }

  @Test(arguments: [GradientPlan.BatchNormalization.running, .batch], [[6, 4, 3, 3], [7, 4]])
  func batchNormalization(_ kind: GradientPlan.BatchNormalization, _ shape: [Int]) throws {
    var random = SeededRandom(seed: 9)
    try checkGradients(
      .batchNorm(BatchNorm()),
      [
        random.tensor(shape), random.tensor([4], 0.5...1.5), random.tensor([4]), random.tensor([4]),
        random.tensor([4], 0.5...1.5),
      ], batchNormalization: kind)
  }

  @Test(arguments: [-1, 1])
  func layerNormalization(_ axis: Int) throws {
    var random = SeededRandom(seed: 10), op = LayerNorm()
    op.axis = axis
    let shape = axis == -1 ? [6] : [3, 6]
    try checkGradients(
      .layerNorm(op), [random.tensor([2, 3, 6]), random.tensor(shape), random.tensor([6])])
  }

  @Test(arguments: Reduce.Function.allCases.filter { $0 != .product })
  func reduction(_ function: Reduce.Function) throws {
    var random = SeededRandom(seed: 11)
    for (axes, keep) in [([2, 3], true), ([1], false), ([], true), ([-1, 0], false)] {
      var op = Reduce(function)
      (op.axes, op.keepDimensions) = (axes, keep)
      try checkGradients(.reduce(op), [random.distinct([2, 3, 4, 2])])
    }
  }

  @Test(arguments: [false, true], [false, true])
  func softmax(isLogarithmic: Bool, flatten: Bool) throws {
    var random = SeededRandom(seed: 12)
    for axis in [-1, 1, 0] {
      var op = Softmax()
      (op.axis, op.flatten, op.isLogarithmic) = (axis, flatten, isLogarithmic)
      try checkGradients(.softmax(op), [random.tensor([2, 3, 4])])
    }
  }

  @Test func pooling() throws {
    var random = SeededRandom(seed: 13)
    let cases: [([Int], [Int], [Int], Bool)] = [
      ([2, 2], [2, 2], [0, 0, 0, 0], false), ([3, 2], [1, 2], [1, 0, 0, 1], false),
      ([3, 3], [2, 2], [0, 0, 1, 1], true),
    ]
    for (kernel, strides, pads, ceiling) in cases {
      var maximum = MaxPool()
      (maximum.kernel, maximum.strides, maximum.pads, maximum.ceilMode) = (kernel, strides, pads, ceiling)
      try checkGradients(.maxPool(maximum), [random.distinct([1, 3, 5, 6])])
      maximum.dilations = [2, 1]
      try checkGradients(.maxPool(maximum), [random.distinct([1, 3, 6, 6])])
      for countPads in [false, true] {
        var average = AveragePool()
        (average.kernel, average.strides, average.pads) = (kernel, strides, pads)
        (average.ceilMode, average.countPads) = (ceiling, countPads)
        try checkGradients(.averagePool(average), [random.tensor([2, 3, 5, 6])])
      }
    }
    try checkGradients(.globalAveragePool(GlobalAveragePool()), [random.tensor([2, 3, 5, 6])])
  }
}
