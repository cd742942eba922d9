import IR

/// How an operation of a canonical graph takes part in integer execution.
enum IntegerRole: Hashable {
  /// Multiplies activations by constant weights: a weight quantizer on operand 1, an activation quantizer behind.
  case weighted
  /// Computes a new activation from activations: a quantizer behind.
  case computed
  /// Moves or selects stored integers: its results share the quantization of its operand.
  case transparent
  /// Has no integer form.
  case float
}

/// Which canonical operations can run on integers, and as what.
func integerRole(of op: Op) -> IntegerRole {
  switch op {
  case .conv2d, .gemm: .weighted
  case .averagePool, .globalAveragePool, .concat: .computed
  case .unary: .computed
  case .binary(let b):
    switch b.function {
    case .add, .multiply: .computed
    case .subtract, .divide, .power, .minimum, .maximum, .equal, .less, .greater, .and, .or, .parametricRelu:
      .float
    }
  case .maxPool, .reshape, .flatten, .transpose, .squeeze, .unsqueeze, .slice, .identity: .transparent
  case .pad(let p): p.mode == .constant ? .transparent : .float
  case .convTranspose2d, .matMul, .batchNorm, .layerNorm, .select, .reduce, .softmax, .split, .gather,
    .expand,
    .resize, .shapeOf, .cast, .constantOfShape:
    .float
  case .quantize, .quantizeLinear, .dequantizeLinear, .integerConv2d, .integerGemm, .integerGemmFloat,
    .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
    .float
  }
}

extension Graph {
  /// Operations that compute weighted sums, in order.
  var weightedOps: [OpID] { order.filter { integerRole(of: self[$0].op) == .weighted } }

  /// The result feeds the outside or float operations only, so it need not be rounded to 8 bits.
  func feedsFloatOnly(_ value: ValueID, floatOps: Set<OpID>) -> Bool {
    uses(of: value).allSatisfy { floatOps.contains($0.user) }
  }

  /// Operations behind the last integer one: every path from them leads through float operations to the outputs.
  /// These stay in float (a softmax on the logits, say).
  func floatTail() -> Set<OpID> {
    var tail: Set<OpID> = []
    for id in order.reversed() {
      let node = self[id]
      let feedsTailOnly = node.results.allSatisfy { feedsFloatOnly($0, floatOps: tail) }
      guard feedsTailOnly else { continue }
      switch node.op {
      case .softmax: tail.insert(id)
      case .reshape, .flatten, .squeeze, .unsqueeze, .identity:
        if node.results.allSatisfy({ result in !uses(of: result).isEmpty }) { tail.insert(id) }
      case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select,
        .maxPool,
        .averagePool, .globalAveragePool, .reduce, .transpose, .concat, .split, .slice, .pad, .gather,
        .expand, .resize,
        .shapeOf, .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear, .integerConv2d,
        .integerGemm,
        .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
        break
      }
    }
    return tail
  }

  /// Multiply-accumulates of one sample of a weighted operation (0 for others).
  package func multiplyAccumulates(_ id: OpID) -> Int {
    let node = self[id]
    func spatial(_ value: ValueID) -> Int {
      self[value].type.shape.extents.dropFirst(2).compactMap(\.value).reduce(1, *)
    }
    switch node.op {
    case .conv2d:
      return (self[node.operands[1]].type.shape.elementCount ?? 0) * spatial(node.results[0])
    case .convTranspose2d:
      return (self[node.operands[1]].type.shape.elementCount ?? 0) * spatial(node.operands[0])
    case .gemm, .matMul:
      return self[node.operands[1]].type.shape.elementCount ?? 0
    case .integerConv2d(let c):
      let inputs = self[node.operands[0]].type.shape.size(1) ?? 0,
        outputs = self[node.results[0]].type.shape.size(1) ?? 0
      return inputs / c.groups * outputs * c.kernel.reduce(1, *) * spatial(node.results[0])
    case .integerGemm, .integerGemmFloat:
      let inputs = self[node.operands[0]].type.shape.size(1) ?? 0,
        outputs = self[node.results[0]].type.shape.size(1) ?? 0
      return inputs * outputs
    case .batchNorm, .layerNorm, .unary, .binary, .select, .maxPool, .averagePool, .globalAveragePool,
      .reduce,
      .softmax, .identity, .reshape, .flatten, .transpose, .squeeze, .unsqueeze, .concat, .split, .slice,
      .pad, .gather,
      .expand, .resize, .shapeOf, .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear,
      .integerAdd,
      .integerMultiply, .integerAveragePool, .lookup:
      return 0
    }
  }
}
