import Evaluator
import IR
import Support

/// One operation of a plan with what its backward pass takes.
struct GradientStep: Sendable {
  var step: Evaluator.Step
  /// Results that the forward pass writes: those that runs are not given.
  let writesResult: [Bool]
  /// Which operands the backward pass computes a gradient for.
  let operandNeedsGradient: [Bool]
  /// Which operands the backward pass reads.
  let keepsOperand: [Bool]
  let keepsResult: Bool
  let usesBatchStatistics: Bool
  /// Of batch normalizations behind quantized convolutions: what their shifts are rounded to.
  let accumulator: Accumulator?
  /// Results that nobody reads.
  var deadResults: [ValueID] = []
  /// Values that no later part of the backward pass reads.
  var releasedValues: [ValueID] = []

  var isDifferentiated: Bool { operandNeedsGradient.contains(true) }
  var keptValues: [ValueID] {
    zip(step.operands, keepsOperand).filter(\.1).map(\.0) + (keepsResult ? step.results.prefix(1) : [])
  }

  /// The scales, by form, of the quantizers whose product is a step of the accumulator.
  struct Accumulator: Sendable {
    struct Scales: Sendable {
      let quantizer: OpID
      let current: Int
      let values: [ValueID]

      init?(_ id: OpID, _ graph: Graph) {
        let node = graph[id]
        guard case .quantize(let op) = node.op, op.isCalibrated(operandCount: node.operands.count) else {
          return nil
        }
        quantizer = id
        current = op.forms.currentIndex
        values = op.forms.all.indices.map { node.operands[1 + 2 * $0] }
      }
    }
    let input: Scales
    let weights: Scales

    init?(_ node: Graph.Node, _ graph: Graph) {
      guard let quantizers = graph.accumulatorQuantizers(of: node),
        let input = Scales(quantizers.input, graph), let weights = Scales(quantizers.weights, graph)
      else { return nil }
      (self.input, self.weights) = (input, weights)
    }
  }

  init(
    _ step: Evaluator.Step, _ graph: Graph, given: Set<ValueID>, operandNeedsGradient needs: [Bool],
    mode: Evaluator.Mode,
    _ batchNormalization: GradientPlan.BatchNormalization
  ) {
    self.step = step
    writesResult = step.results.map { !given.contains($0) }
    operandNeedsGradient = needs
    if case .batchNorm = step.op {
      usesBatchStatistics = batchNormalization == .batch
      accumulator = mode == .quantized ? Accumulator(graph[step.id], graph) : nil
    } else {
      usesBatchStatistics = false
      accumulator = nil
    }
    guard needs.contains(true) else {
      keepsOperand = needs
      keepsResult = false
      return
    }
    let reads = step.op.backwardReads(needs, isQuantizing: mode == .quantized)
    keepsOperand = reads.operands
    keepsResult = reads.result || (step.op.fusedActivation ?? .none) != .none
  }

  /// Fails where a gradient has to pass an operation that has none.
  func requireGradient() throws(CompilerError) {
    if isDifferentiated, !step.op.isDifferentiable {
      throw CompilerError("\(step.op.mnemonic) has no gradient", at: "node '\(step.name)'")
    }
  }
}

extension Op {
  /// What the backward pass reads again when it computes the gradients of the operands marked in `needs`.
  func backwardReads(_ needs: [Bool], isQuantizing: Bool) -> (operands: [Bool], result: Bool) {
    let none = needs.map { _ in false }, all = needs.map { _ in true }
    func only(_ kept: Int...) -> [Bool] { needs.indices.map { kept.contains($0) } }
    switch self {
    case .conv2d, .convTranspose2d, .gemm, .matMul:
      // The gradient of each factor takes the other.
      return (needs.indices.map { $0 < 2 && needs[1 - $0] }, false)
    case .batchNorm: return (all, false)
    case .layerNorm: return (only(0, 1), false)
    case .unary(let op): return op.derivativeTakesResult ? (none, true) : (only(0), false)
    case .binary(let op):
      switch op.function {
      case .add, .subtract: return (none, false)
      case .multiply: return (needs.indices.map { needs[1 - $0] }, false)
      case .divide, .power, .minimum, .maximum, .parametricRelu, .equal, .less, .greater, .and, .or:
        return (all, false)
      }
    case .select: return (only(0), false)
    case .maxPool: return (only(0), true)
    case .reduce(let op):
      switch op.function {
      case .mean, .sum: return (none, false)
      case .maximum, .minimum, .l2, .product: return (only(0), true)
      }
    case .softmax: return (none, true)
    case .gather: return (only(1), false)
    case .quantize: return (isQuantizing && needs.count > 1 ? all : none, false)
    case .averagePool, .globalAveragePool, .identity, .reshape, .flatten, .transpose, .squeeze, .unsqueeze,
      .concat, .split, .slice, .pad, .expand, .resize, .shapeOf, .cast, .constantOfShape, .quantizeLinear,
      .dequantizeLinear, .integerConv2d, .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply,
      .integerAveragePool, .lookup:
      return (none, false)
    }
  }

  var isDifferentiable: Bool {
    switch self {
    case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .select, .maxPool,
      .averagePool, .globalAveragePool, .softmax, .identity, .reshape, .flatten, .transpose, .squeeze,
      .unsqueeze, .concat, .split, .slice, .pad, .gather, .expand, .resize, .quantize:
      return true
    case .reduce(let op): return op.function != .product
    case .binary(let op):
      switch op.function {
      case .add, .subtract, .multiply, .divide, .power, .minimum, .maximum, .parametricRelu: return true
      case .equal, .less, .greater, .and, .or: return false
      }
    case .shapeOf, .cast, .constantOfShape, .quantizeLinear, .dequantizeLinear, .integerConv2d, .integerGemm,
      .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      return false
    }
  }
}
