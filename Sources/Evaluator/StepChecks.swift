import IR
import Support

extension Evaluator.Step {
  /// What the graph's own verification leaves open but the loops rely on: element types that fit, and sizes that memory
  /// can hold. Shapes are those of the graph, with the batch as `batch`.
  func check(batch: Int) throws(CompilerError) {
    switch op {
    case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .softmax, .averagePool, .resize,
      .quantizeLinear:
      for operand in operandTypes where operand.type.element != .f32 { throw unexpected(operand.type) }
    case .binary:
      if operandTypes[0].type.element != operandTypes[1].type.element {
        throw unexpected(operandTypes[1].type)
      }
    case .select:
      if operandTypes[0].type.element != .bool { throw unexpected(operandTypes[0].type) }
      if operandTypes[1].type.element != operandTypes[2].type.element {
        throw unexpected(operandTypes[2].type)
      }
    case .integerConv2d, .integerGemm, .integerGemmFloat:
      if operandTypes[1].type.element.sizeInBytes != 1 { throw unexpected(operandTypes[1].type) }
    case .unary, .maxPool, .globalAveragePool, .reduce, .identity, .reshape, .flatten, .transpose, .squeeze,
      .unsqueeze,
      .concat, .split, .slice, .pad, .gather, .expand, .shapeOf, .cast, .constantOfShape, .quantize,
      .dequantizeLinear,
      .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      break
    }
    if case .layerNorm(let norm) = op {
      let x = operandTypes[0].shape, axis = resolvedAxis(norm.axis, rank: x.rank) ?? 0
      let normalized = Shape(Array(x.extents[axis...]))
      for operand in operandTypes.dropFirst() where broadcast(operand.shape, normalized) != normalized {
        throw unexpected(operand.type)
      }
    }
    for type in resultTypes {
      let count = checkedProduct(type.shape.bound(batch: batch))
      guard let count, count <= Evaluator.maximumTensorBytes / type.element.sizeInBytes else {
        throw CompilerError(
          "a result \(type) with batch \(batch) is larger than \(Evaluator.maximumTensorBytes >> 30) GiB",
          at: "node '\(name)'")
      }
    }
  }

  private func unexpected(_ type: TensorType) -> CompilerError {
    CompilerError("\(op.mnemonic) cannot take an operand \(type) beside its others", at: "node '\(name)'")
  }
}

extension Evaluator {
  static let maximumTensorBytes = 1 << 35
}
