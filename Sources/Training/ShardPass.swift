import Evaluator
import IR
import Support

/// The forward and backward pass of one shard on one thread. Gradients of operations are extensions of this type, one
/// file per family.
final class ShardPass {
  let plan: GradientPlan
  let batch: Int
  /// The shard's first sample in the whole batch.
  let firstSample: Int
  let variant: GradientPlan.Variant
  let context: EvaluationContext
  var pool: BufferPool { context.pool }
  /// Of the batch normalizations that use the shard's own.
  var batchMoments: [OpID: ChannelMoments] = [:]
  private var slots: [Tensor?] = []
  /// Constants and overridden values of the run.
  private var given: [Tensor?] = []
  private var gradients: [Tensor?]

  init(
    _ plan: GradientPlan, batch: Int, firstSample: Int, _ variant: GradientPlan.Variant
  ) throws(CompilerError) {
    self.plan = plan
    self.batch = batch
    self.firstSample = firstSample
    self.variant = variant
    context = try EvaluationContext(
      batch: batch, mode: plan.mode, pool: plan.pool, primitives: plan.primitives, allowsWinograd: true)
    gradients = Array(repeating: nil, count: plan.constants.count)
  }

  // MARK: Forward

  /// The plan's outputs for the shard `inputs`; `given` holds constants and overridden values by value.
  func forward(_ inputs: [Tensor], _ given: [Tensor?]) throws(CompilerError) -> [Tensor] {
    self.given = given
    slots = given
    for (value, tensor) in zip(plan.inputs, inputs) { slots[value.index] = tensor }
    for step in plan.steps {
      var operands: [Tensor] = []
      for (value, isLast) in zip(step.step.operands, step.step.isLastUse) {
        operands.append(try tensor(value, step))
        if isLast { slots[value.index] = nil }
      }
      let results = try compute(step, &operands)
      for index in results.indices where step.writesResult[index] {
        slots[step.step.results[index].index] = results[index]
      }
      for value in step.deadResults { slots[value.index] = nil }
    }
    return try plan.outputValues.map { value throws(CompilerError) in
      guard let tensor = slots[value.index] else {
        throw CompilerError("an output has no value", status: .internalError)
      }
      return tensor
    }
  }

  private func tensor(_ value: ValueID, _ step: GradientStep) throws(CompilerError) -> Tensor {
    if let tensor = slots[value.index] { return tensor }
    throw CompilerError("an operand has no value", at: "node '\(step.step.name)'", status: .internalError)
  }

  private func compute(_ step: GradientStep, _ operands: inout [Tensor]) throws(CompilerError) -> [Tensor] {
    if case .batchNorm(let op) = step.step.op, step.usesBatchStatistics {
      do {
        return [try normalizeByBatch(op, step.step, operands, accumulatorSteps(of: step))]
      } catch {
        throw CompilerError("batch-norm: \(error)", at: "node '\(step.step.name)'")
      }
    }
    if let steps = accumulatorSteps(of: step) {
      var evaluated = step.step
      evaluated.accumulatorSteps = steps
      return try context.evaluate(evaluated, &operands)
    }
    if case .quantize(let quantizer) = step.step.op {
      var evaluated = step.step
      let op = inForce(quantizer, evaluated.id)
      evaluated.op = .quantize(op)
      guard operands.count > 1, plan.mode == .quantized, let keeps = kept(op, evaluated) else {
        return try context.evaluate(evaluated, &operands)
      }
      let x = operands[0]
      let rounded = try context.evaluate(evaluated, &operands)[0]
      return [restored(rounded.ordered(x.order, pool: pool), x, keeps)]
    }
    return try context.evaluate(step.step, &operands)
  }

  /// The steps of the accumulator before a batch normalization under the scales of this run.
  private func accumulatorSteps(of step: GradientStep) -> [Double]? {
    guard let accumulator = step.accumulator else { return nil }
    func scales(_ part: GradientStep.Accumulator.Scales) -> [Float]? {
      let value = part.values[variant.forms[part.quantizer] ?? part.current]
      return given[value.index]?.floats ?? plan.graph.constant(value)?.floats
    }
    guard let input = scales(accumulator.input), input.count == 1, let weights = scales(accumulator.weights)
    else { return nil }
    return Graph.accumulatorSteps(input: input[0], weights: weights)
  }

  /// Of the batch normalizations that used the shard's own, in the graph's order.
  var statistics: [GradientPlan.BatchStatistics] {
    plan.steps.compactMap { step in
      batchMoments[step.step.id].map { moments in
        GradientPlan.BatchStatistics(
          operation: step.step.id, means: moments.means.map { Float($0) },
          variances: moments.variances.map { Float($0) })
      }
    }
  }

  // MARK: Backward

  /// What the gradients of one operation are made from.
  struct Call {
    let step: GradientStep
    /// Those that the step keeps.
    let operands: [Tensor?]
    let result: Tensor?
    let shapes: [[Int]]
    let resultShapes: [[Int]]
    func needs(_ operand: Int) -> Bool {
      operand < step.operandNeedsGradient.count && step.operandNeedsGradient[operand]
    }
    /// - Requires: the step keeps the operand (`Op.backwardReads`).
    func operand(_ index: Int) -> Tensor {
      guard let tensor = operands[index] else { preconditionFailure("operand \(index) was not kept") }
      return tensor
    }
    /// - Requires: the step keeps its result.
    var keptResult: Tensor {
      guard let result else { preconditionFailure("the result was not kept") }
      return result
    }
  }

  /// The gradients of the plan's wanted values, row-major, from those of its outputs.
  func backward(_ seeds: [Tensor?]) throws(CompilerError) -> [Tensor] {
    guard seeds.count == plan.outputValues.count else {
      throw CompilerError("the loss must give a gradient, or nil, for each of \(plan.outputs.count) outputs")
    }
    for (value, seed) in zip(plan.outputValues, seeds) {
      guard let seed else { continue }
      guard seed.shape == slots[value.index]?.shape, seed.element == .f32 else {
        throw CompilerError("the gradient of an output must have its shape, has \(seed.shape)")
      }
      if plan.needsGradient[value.index] { add(seed, to: value) }
    }
    var wanted = [Tensor?](repeating: nil, count: plan.constants.count)
    let isWanted = Set(plan.wanted)
    for step in plan.steps.reversed() {
      let results = step.step.results
      // Given results end the way back; wanted ones are complete here, since all their users came before.
      for value in results where isWanted.contains(value) { wanted[value.index] = gradients[value.index] }
      if step.isDifferentiated, results.contains(where: { gradients[$0.index] != nil }) {
        try propagate(step)
      }
      for value in results { gradients[value.index] = nil }
      for value in step.releasedValues { slots[value.index] = nil }
    }
    return plan.wanted.map { value in
      let shape = plan.graph[value].type.shape.bound(batch: batch)
      return (wanted[value.index] ?? gradients[value.index] ?? zeros(shape)).rowMajor()
    }
  }

  private func propagate(_ step: GradientStep) throws(CompilerError) {
    let evaluated = step.step
    let call = Call(
      step: step,
      operands: zip(evaluated.operands, step.keepsOperand).map { $1 ? slots[$0.index] : nil },
      result: step.keepsResult ? slots[evaluated.results[0].index] : nil,
      shapes: evaluated.operandTypes.map { $0.shape.bound(batch: batch) },
      resultShapes: evaluated.resultTypes.map { $0.shape.bound(batch: batch) })
    var incoming: [Tensor] = []
    for (index, value) in evaluated.results.enumerated() {
      // Those of given results do not come from this operation.
      let own = step.writesResult[index] ? gradients[value.index] : nil
      gradients[value.index] = nil
      incoming.append(own ?? zeros(call.resultShapes[index]))
    }
    do {
      let outgoing = try differentiate(call, &incoming)
      for (index, gradient) in outgoing.enumerated() where call.needs(index) {
        if let gradient { add(gradient, to: evaluated.operands[index]) }
      }
    } catch let error as CompilerError {
      throw error
    } catch {
      throw CompilerError("\(evaluated.op.mnemonic): \(error)", at: "node '\(evaluated.name)'")
    }
  }

  private func add(_ gradient: Tensor, to value: ValueID) {
    guard var sum = gradients[value.index] else {
      gradients[value.index] = gradient
      return
    }
    gradients[value.index] = nil
    sum.makeUnique(pool: pool)
    addFloats(gradient.ordered(sum.order, pool: pool), to: sum)
    gradients[value.index] = sum
  }

  /// The gradients of the operands from those of the results; nil for operands that need none.
  private func differentiate(_ call: Call, _ incoming: inout [Tensor]) throws -> [Tensor?] {
    if let activation = call.step.step.op.fusedActivation, activation != .none {
      incoming[0] = masked(&incoming[0], by: call.keptResult, activation)
    }
    // Not a copy, which would keep the gradient from being overwritten.
    var gradient: Tensor { incoming[0] }
    switch call.step.step.op {
    case .conv2d(let op): return try convolution(op, call, gradient)
    case .convTranspose2d(let op): return try transposedConvolution(op, call, gradient)
    case .gemm(let op): return try product(op, call, gradient)
    case .matMul: return try product(call, gradient)
    case .batchNorm(let op): return try batchNormalization(op, call, gradient)
    case .layerNorm(let op): return layerNormalization(op, call, gradient)
    case .unary(let op): return [unary(op, call, &incoming[0])]
    case .binary(let op): return binary(op, call, gradient)
    case .select: return select(call, gradient)
    case .maxPool(let op): return [maximumPool(op, call, gradient)]
    case .averagePool(let op): return [averagePool(op, call, gradient)]
    case .globalAveragePool: return [globalAveragePool(call, gradient)]
    case .reduce(let op): return [reduce(op, call, gradient)]
    case .softmax(let op): return [softmax(op, call, gradient)]
    case .identity: return [gradient]
    case .reshape, .flatten, .squeeze, .unsqueeze: return [gradient.reshaped(call.shapes[0])]
    case .transpose(let op): return [transpose(op, call, gradient)]
    case .concat(let op): return concatenate(op, call, gradient)
    case .split(let op): return [split(op, call, incoming)]
    case .slice(let op): return [try slice(op, call, gradient)]
    case .pad(let op): return [try pad(op, call, gradient)]
    case .expand: return [summed(gradient, to: call.shapes[0])]
    case .gather: return try scatter(call, gradient)
    case .resize(let op): return [resize(op, call, gradient)]
    case .quantize(let op): return quantize(inForce(op, call.step.step.id), call, gradient)
    case .shapeOf, .cast, .constantOfShape, .quantizeLinear, .dequantizeLinear, .integerConv2d,
      .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      return call.shapes.map { _ in nil }
    }
  }

  // MARK: Memory

  func zeros(_ shape: [Int], order: Tensor.Order = .rowMajor) -> Tensor {
    let tensor = Tensor(shape, .f32, order: order, pool: pool)
    tensor.pointer(Float.self).update(repeating: 0, count: tensor.count)
    return tensor
  }
}

/// `to += from`; both in the same memory order.
func addFloats(_ from: Tensor, to: Tensor) {
  let source = from.pointer(Float.self), target = to.pointer(Float.self)
  for i in 0..<to.count { target[i] += source[i] }
  keepAlive(from, to)
}

/// Keeps tensors whose memory is read through pointers until here: pooled memory must not return before.
@inline(__always)
func keepAlive<each Held>(_ tensors: repeat each Held) {
  repeat withExtendedLifetime(each tensors) {}
}
