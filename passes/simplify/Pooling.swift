import IR
import PassKit

/// Rules for poolings.
///
///     reduce-mean{axes = [2, 3], keep = true}(%x)                     ->  global-average-pool(%x)
///     reduce-mean{axes = [2, 3], keep = false}(%x)                    ->  flatten(global-average-pool(%x))
///     reduce-mean{axes = [2]}(%x : [N, C, L])                         ->  of reshape{[N, C, L, 1]}(%x)
///     global-average-pool(reshape{[N, C, 16, 1]}(%x : [N, C, 4, 4]))  ->  global-average-pool(%x)
///     average-pool{kernel = [8, 8]}(%x : [N, C, 8, 8])                ->  global-average-pool(%x)
///     relu(max-pool(conv2d(%x)))                                      ->  max-pool(relu(conv2d(%x)))
///
/// The last lets a clamp reach the convolution before a pool or a reshape. Exact but for the order of sums in
/// averages.
let poolingRules = [
  Simplification("mean over the map to global-average-pool", meanToGlobalAveragePool),
  Simplification("mean over a vector to global-average-pool", vectorMeanToGlobalAveragePool),
  Simplification("global-average-pool of a reshaped map", poolOfReshapedMap),
  Simplification("pool over the map to global-average-pool", poolToGlobalAveragePool),
  Simplification("clamp moved before max-pool or reshape", clampPastSelection),
]

private func meanToGlobalAveragePool(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool
{
  let node = rewriter.graph[op]
  guard case .reduce(let reduce) = node.op, reduce.function == .mean,
    rewriter.graph.shape(node.operands[0]).rank == 4,
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

private func vectorMeanToGlobalAveragePool(
  _ op: OpID, _ rewriter: inout Rewriter
) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op], shape = rewriter.graph.shape(node.operands[0])
  guard case .reduce(let reduce) = node.op, reduce.function == .mean, shape.rank == 3,
    reduce.resolvedAxes(rank: 3) == [2], shape.size(1) != nil, shape.size(2) != nil, rewriter.takeStep()
  else { return false }
  let map = Shape(shape.extents + [.known(1)])
  let reshaped = try rewriter.insert(
    reshaping(shape, to: map), node.operands, name: node.name + ".map", before: op)
  let pooled = try rewriter.insert(
    .globalAveragePool(GlobalAveragePool()), reshaped, name: node.name + ".pool", before: op)
  try rewriter.replace(
    op, with: reshaping(rewriter.graph.shape(pooled[0]), to: rewriter.graph.shape(node.results[0])), pooled)
  return true
}

private func poolOfReshapedMap(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .globalAveragePool = node.op, let producer = rewriter.graph.node(defining: node.operands[0]),
    case .reshape = producer.op
  else { return false }
  let before = rewriter.graph.shape(producer.operands[0]), after = rewriter.graph.shape(node.operands[0])
  guard before.rank == 4, after.rank == 4, before[0] == after[0], before[1] == after[1], rewriter.takeStep()
  else {
    return false
  }
  try rewriter.replace(op, with: node.op, [producer.operands[0]])
  return true
}

private func poolToGlobalAveragePool(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool
{
  let node = rewriter.graph[op]
  guard case .averagePool(let pool) = node.op, pool.pads == [0, 0, 0, 0],
    Array(rewriter.graph.shape(node.operands[0]).extents[2...]) == pool.kernel.map({ .known($0) }),
    rewriter.takeStep()
  else { return false }
  try rewriter.replace(op, with: .globalAveragePool(GlobalAveragePool()), node.operands)
  return true
}

private func clampPastSelection(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .unary(let unary) = node.op, unary.activation != nil,
    let selection = rewriter.graph.soleProducer(of: node.operands[0])
  else { return false }
  let selected = rewriter.graph[selection]
  guard isSelection(selected.op) else { return false }
  guard let source = rewriter.graph.soleProducer(of: selected.operands[0]),
    rewriter.graph[source].op.activation != nil, rewriter.takeStep()
  else { return false }
  let clamped = try rewriter.insert(node.op, selected.operands, name: node.name, before: selection)
  try rewriter.replace(op, with: selected.op, clamped, name: selected.name)
  return true
}

/// Whether an operation picks or moves elements, so that a clamp may come before it as well as behind.
private func isSelection(_ op: Op) -> Bool {
  if case .maxPool = op { return true }
  if case .reshape = op { return true }
  if case .flatten = op { return true }
  return false
}
