import IR
import PassKit

/// Rules for poolings.
///
///     reduce-mean{axes = [2, 3], keep = true}(%x)                     ->  global-average-pool(%x)
///     reduce-mean{axes = [2, 3], keep = false}(%x)                    ->  flatten(global-average-pool(%x))
///     average-pool{kernel = [8, 8]}(%x : [N, C, 8, 8])                ->  global-average-pool(%x)
///     relu(max-pool(%x))                                              ->  max-pool(relu(%x))
///
/// The last lets an activation reach the convolution before the pool. Exact but for the order of sums in averages.
let poolingRules = [
  Simplification("mean over the map to global-average-pool", meanToGlobalAveragePool),
  Simplification("pool over the map to global-average-pool", poolToGlobalAveragePool),
  Simplification("activation moved before max-pool", activationPastMaxPool),
]

private func meanToGlobalAveragePool(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .reduce(let reduce) = node.op, reduce.function == .mean, rewriter.graph.shape(node.operands[0]).rank == 4,
    reduce.resolvedAxes(rank: 4) == [2, 3], rewriter.takeStep()
  else { return false }
  if reduce.keepDimensions {
    try rewriter.replace(op, with: .globalAveragePool(GlobalAveragePool()), node.operands)
  } else {
    let pooled = try rewriter.insert(
      .globalAveragePool(GlobalAveragePool()), node.operands, name: node.name + ".pool", before: op)
    try rewriter.replace(op, with: .flatten(Flatten()), pooled)
  }
  return true
}

private func poolToGlobalAveragePool(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .averagePool(let pool) = node.op, pool.pads == [0, 0, 0, 0],
    Array(rewriter.graph.shape(node.operands[0]).extents[2...]) == pool.kernel.map({ .known($0) }), rewriter.takeStep()
  else { return false }
  try rewriter.replace(op, with: .globalAveragePool(GlobalAveragePool()), node.operands)
  return true
}

private func activationPastMaxPool(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .unary(let unary) = node.op, unary.activation != nil,
    let pool = rewriter.graph.soleProducer(of: node.operands[0]), case .maxPool = rewriter.graph[pool].op
  else { return false }
  let pooled = rewriter.graph[pool]
  guard let source = rewriter.graph.soleProducer(of: pooled.operands[0]),
    rewriter.graph[source].op.activation != nil, rewriter.takeStep()
  else { return false }
  let clamped = try rewriter.insert(node.op, pooled.operands, name: node.name, before: pool)
  try rewriter.replace(op, with: pooled.op, clamped, name: pooled.name)
  return true
}
