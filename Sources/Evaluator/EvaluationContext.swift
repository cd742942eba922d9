import IR
import Support

/// What the evaluation of one chunk on one thread needs besides the operands. Operations are extensions of this type,
/// one file per family; each may overwrite an operand's memory that nothing else refers to.
package final class EvaluationContext {
  package let batch: Int
  package let mode: Evaluator.Mode
  package let pool: BufferPool
  let primitives: PrimitiveCache
  /// Where sums need not come out as multiples of steps: training.
  let allowsWinograd: Bool
  package let stream: OneDNNStream

  package init(
    batch: Int, mode: Evaluator.Mode, pool: BufferPool, primitives: PrimitiveCache,
    allowsWinograd: Bool = false
  ) throws(CompilerError) {
    self.batch = batch
    self.mode = mode
    self.pool = pool
    self.primitives = primitives
    self.allowsWinograd = allowsWinograd
    OneDNN.useOneThread()
    do { stream = try OneDNNStream() } catch { throw CompilerError(error.description, status: .unavailable) }
  }

  /// The results of one operation. Operands stay alive in `operands` until it returns.
  package func evaluate(_ step: Evaluator.Step, _ operands: inout [Tensor]) throws(CompilerError) -> [Tensor]
  {
    try step.check(batch: batch)
    do {
      return try compute(step, &operands)
    } catch let error as CompilerError {
      throw error
    } catch {
      throw CompilerError("\(step.op.mnemonic): \(error)", at: "node '\(step.name)'")
    }
  }

  private func compute(_ step: Evaluator.Step, _ operands: inout [Tensor]) throws -> [Tensor] {
    let shapes = step.resultTypes.map { $0.shape.bound(batch: batch) }
    let result = Result(shape: shapes.first ?? [], element: step.resultTypes.first?.element ?? .f32)
    switch step.op {
    case .conv2d(let op):
      return [rounded(try convolution(step, op, &operands, result), to: step.accumulatorSteps)]
    case .convTranspose2d(let op): return [try transposedConvolution(step, op, &operands, result)]
    case .gemm(let op): return [rounded(try product(op, &operands, result), to: step.accumulatorSteps)]
    case .matMul: return [try product(&operands, result)]
    case .batchNorm(let op): return [batchNormalization(op, &operands, result, step.accumulatorSteps)]
    case .layerNorm(let op): return [layerNormalization(op, &operands)]
    case .unary(let op): return [unary(op, &operands)]
    case .binary(let op): return [binary(op, &operands, result)]
    case .select: return [select(&operands, result)]
    case .maxPool(let op): return [maximumPool(op, &operands, result)]
    case .averagePool(let op): return [averagePool(op, &operands, result)]
    case .globalAveragePool:
      return [reduce(.mean, Array(2..<operands[0].shape.count), &operands, result)]
    case .reduce(let op):
      return [reduce(op.function, op.resolvedAxes(rank: operands[0].shape.count) ?? [], &operands, result)]
    case .softmax(let op): return [softmax(op, &operands)]
    case .identity: return [operands[0]]
    case .reshape, .flatten: return [reshape(&operands, result)]
    case .squeeze, .unsqueeze: return [reshape(&operands, result)]
    case .transpose(let op): return [transpose(op, &operands, result)]
    case .concat(let op): return [concatenate(op, &operands, result)]
    case .split(let op): return split(op, &operands, shapes)
    case .slice(let op): return [try slice(op.resolved(step.operandTypes), &operands, result)]
    case .pad(let op): return [pad(op, step.operandTypes, &operands, result)]
    case .gather(let op): return [try gather(op, &operands, result)]
    case .expand: return [expand(&operands, result)]
    case .resize(let op): return [resize(op, &operands, result)]
    case .shapeOf(let op): return [shape(op, &operands, result)]
    case .cast: return [cast(&operands, result)]
    case .constantOfShape(let op): return [filled(op, result)]
    case .quantize(let op): return [fakeQuantize(op, &operands)]
    case .quantizeLinear(let op): return [quantizeLinear(op, &operands, result)]
    case .dequantizeLinear: return [try dequantizeLinear(&operands, result)]
    case .integerConv2d(let op): return [try integerConvolution(step, op, &operands, result)]
    case .integerGemm(let op): return [try integerProduct(step, op, &operands, result)]
    case .integerGemmFloat(let op): return [try integerProduct(step, op, &operands, result)]
    case .integerAdd(let op): return [try integerAdd(op, &operands, result)]
    case .integerMultiply(let op): return [try integerMultiply(op, &operands, result)]
    case .integerAveragePool(let op): return [try integerAveragePool(op, &operands, result)]
    case .lookup: return [lookup(&operands, result)]
    }
  }

  /// Shape and element type of a result.
  struct Result {
    let shape: [Int]
    let element: ElementType
  }

  /// Uninitialized memory for a result.
  func make(_ result: Result, order: Tensor.Order = .rowMajor) -> Tensor {
    Tensor(result.shape, result.element, order: order, pool: pool)
  }

  /// Memory for the result in place of operand `index` where possible.
  func overwrite(_ operands: inout [Tensor], _ index: Int = 0) -> Tensor {
    operands[index].overwritable(pool: pool)
  }
}
