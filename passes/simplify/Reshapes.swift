import IR
import PassKit

/// Rules for operations that only rename axes or do nothing: identities, and casts, reshapes, expands, slices,
/// pads, pools and concats that change nothing. All are exact.
///
///     identity(%x)                                        ->  %x
///     return identity(%x), an input or another output     ->  return reshape(%x) to its shape: keeps the name
///     reshape{[N, 64]}(reshape{[N, 8, 8]}(%x))            ->  reshape{[N, 64]}(%x)
///     reshape{[N, 64]}(%x : [N, 16, 2, 2])                ->  flatten{axis = 1}(%x)
///     squeeze, unsqueeze, flatten{axis = 2}               ->  reshape
///     transpose{[0, 3, 1, 2]}(transpose{[0, 2, 3, 1]}(%x)) ->  %x
///     transpose{[0, 2, 3, 1]}(%x : [N, 64, 1, 1])         ->  reshape{[N, 1, 1, 64]}(%x)
let reshapeRules = [
  Simplification("removed, does nothing", removeIdentity),
  Simplification("reshapes merged", mergeReshapes),
  Simplification("reshape in canonical form", normalizeReshape),
  Simplification("transposes merged", mergeTransposes),
  Simplification("transpose of unit axes to reshape", transposeToReshape),
]

private func removeIdentity(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard let value = node.operands.first, node.results.count == 1, isIdentity(node, rewriter.graph) else {
    return false
  }
  guard case .identity = node.op else { return rewriter.forward(op, to: value) }
  if !rewriter.forward(op, to: value, isOptional: false) {
    var copy = Reshape()
    copy.shape = rewriter.graph.shape(value)
    copy.allowZero = copy.shape.extents.contains(.known(0))
    try rewriter.replace(op, with: .reshape(copy), [value])
  }
  return true
}

/// Whether the result equals the first operand; `forward` also compares their types.
private func isIdentity(_ node: Graph.Node, _ graph: Graph) -> Bool {
  switch node.op {
  case .identity, .cast, .expand: true
  case .reshape, .flatten, .squeeze, .unsqueeze: true
  case .concat: node.operands.count == 1
  case .split(let split): split.sizes.count == 1
  case .transpose(let transpose): transpose.permutation == Array(transpose.permutation.indices)
  case .slice(let slice):
    (try? slice.resolved(node.operands.map { graph.operand($0) }).ranges(of: graph.shape(node.operands[0])))?
      .allSatisfy { $0.start == 0 && $0.step == 1 } ?? false
  case .pad(let pad): node.operands.count == 1 && pad.pads.allSatisfy { $0 == 0 }
  case .maxPool(let pool): pool.kernel == [1, 1] && pool.strides == [1, 1] && pool.pads == [0, 0, 0, 0]
  case .averagePool(let pool): pool.kernel == [1, 1] && pool.strides == [1, 1] && pool.pads == [0, 0, 0, 0]
  case .globalAveragePool:
    graph.shape(node.operands[0]).extents.dropFirst(2).allSatisfy { $0 == .known(1) }
  case .unary(let unary): unary.activation == Activation.clip(minimum: -.infinity, maximum: .infinity)
  case .reduce, .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .binary, .select, .softmax,
    .gather,
    .resize, .shapeOf, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear, .integerConv2d,
    .integerGemm,
    .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
    false
  }
}

/// Whether an operation keeps its elements in their row-major order.
private func keepsOrder(_ op: Op) -> Bool {
  if case .reshape = op { return true }
  if case .flatten = op { return true }
  if case .squeeze = op { return true }
  if case .unsqueeze = op { return true }
  return false
}

/// The canonical operation that gives `input` the shape `result`: flatten where it can, else reshape.
func reshaping(_ input: Shape, to result: Shape) -> Op {
  let flatten = Flatten()
  if input.rank > 2, let types = try? flatten.resultTypes(of: [Operand(TensorType(input, .f32))]),
    types[0].shape == result
  {
    return .flatten(flatten)
  }
  var reshape = Reshape()
  reshape.shape = result
  reshape.allowZero = result.extents.contains(.known(0))
  return .reshape(reshape)
}

private func mergeReshapes(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard keepsOrder(node.op), let inner = rewriter.graph.node(defining: node.operands[0]), keepsOrder(inner.op)
  else {
    return false
  }
  let source = inner.operands[0]
  if rewriter.graph[source].type == rewriter.graph[node.results[0]].type, rewriter.forward(op, to: source) {
    return true
  }
  guard rewriter.takeStep() else { return false }
  try rewriter.replace(
    op, with: reshaping(rewriter.graph.shape(source), to: rewriter.graph.shape(node.results[0])), [source])
  return true
}

private func normalizeReshape(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard keepsOrder(node.op) else { return false }
  let canonical = reshaping(rewriter.graph.shape(node.operands[0]), to: rewriter.graph.shape(node.results[0]))
  guard canonical != node.op || node.operands.count > 1, rewriter.takeStep() else { return false }
  try rewriter.replace(op, with: canonical, [node.operands[0]])
  return true
}

private func mergeTransposes(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .transpose(var outer) = node.op, let producer = rewriter.graph.node(defining: node.operands[0]),
    case .transpose(let inner) = producer.op
  else { return false }
  outer.permutation = outer.permutation.map { inner.permutation[$0] }
  if outer.permutation == Array(outer.permutation.indices), rewriter.forward(op, to: producer.operands[0]) {
    return true
  }
  guard rewriter.takeStep() else { return false }
  try rewriter.replace(op, with: .transpose(outer), [producer.operands[0]])
  return true
}

private func transposeToReshape(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .transpose(let transpose) = node.op else { return false }
  let shape = rewriter.graph.shape(node.operands[0])
  let moving = transpose.permutation.filter { shape[$0] != .known(1) }
  guard moving == moving.sorted(), rewriter.takeStep() else { return false }
  try rewriter.replace(
    op, with: reshaping(shape, to: rewriter.graph.shape(node.results[0])), [node.operands[0]])
  return true
}
