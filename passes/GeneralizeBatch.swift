import IR
import PassKit
import Support

/// Makes the batch symbolic where the exporter fixed it to one sample.
///
///     graph @net(%x: tensor<1x1x28x28xf32>)                graph @net(%x: tensor<Nx1x28x28xf32>)
///       %a = conv2d(%x, %w) : tensor<1x8x28x28xf32>   ->     %a = conv2d(%x, %w) : tensor<Nx8x28x28xf32>
///       %b = reshape(%a){shape = [1, 6272]}                  %b = reshape(%a){shape = [N, 6272]}
///
/// All inputs become symbolic, or none. The condition is that every operation keeps samples apart: a result
/// that depends on an input has the batch as its first axis, reductions and softmax leave that axis alone,
/// and no transpose, concat or gather moves it. Exact for every sample.
package let generalizeBatch = Pass(
  "generalize-batch", "make a batch that is fixed to 1 symbolic", accepts: .imported ... .canonical
) { rewriter, context in
  let inputs = rewriter.graph.inputs
  let fixed = inputs.filter { rewriter.graph.shape($0).extents.first == .known(1) }
  guard !fixed.isEmpty, fixed.count == inputs.count, rewriter.takeStep() else { return }
  var trial = rewriter
  do {
    try generalize(&trial)
    rewriter = trial
    rewriter.count("inputs generalized", fixed.count)
  } catch {
    rewriter.count("kept: an operation mixes samples")
    context.diagnostics.append(
      .init(.note, "the batch stays fixed to 1: \(error)", at: "graph '\(rewriter.graph.name)'"))
  }
}

private func generalize(_ rewriter: inout Rewriter) throws(VerificationError) {
  for input in rewriter.graph.inputs {
    let type = rewriter.graph[input].type
    rewriter.setInputType(input, type.with(shape: Shape([.batch] + type.shape.extents.dropFirst())))
  }
  // The types of all results so far are current; those behind `op` are stale until it is replaced in its
  // turn.
  for op in rewriter.ops {
    let node = rewriter.graph[op]
    guard node.operands.contains(where: { rewriter.graph.shape($0).isBatched }) else { continue }
    var replaced = node.op
    if case .reshape(var reshape) = node.op, reshape.shape.extents.first == .known(1) {
      reshape.shape.extents[0] = .batch
      replaced = .reshape(reshape)
    }
    let results = try rewriter.replace(op, with: replaced, node.operands)
    try requireSamplesApart(replaced, node, results, rewriter.graph)
  }
}

/// Fails unless `op` treats every sample alone.
private func requireSamplesApart(
  _ op: Op, _ node: Graph.Node, _ results: [ValueID], _ graph: Graph
) throws(VerificationError) {
  func require(_ condition: Bool) throws(VerificationError) {
    if !condition { throw VerificationError("'\(node.name)' (\(op.mnemonic)) does not keep samples apart") }
  }
  for value in node.operands + results {
    let shape = graph.shape(value)
    try require(!shape.isBatched || (shape[0] == .batch && shape.extents.count { $0 == .batch } == 1))
  }
  for value in results { try require(graph.shape(value).isBatched) }
  let rank = graph.shape(node.operands[0]).rank
  switch op {
  case .reduce(let reduce): try require(reduce.resolvedAxes(rank: rank)?.contains(0) == false)
  case .softmax(let softmax): try require(resolvedAxis(softmax.axis, rank: rank) != 0)
  case .layerNorm(let norm): try require(resolvedAxis(norm.axis, rank: rank) != 0)
  case .gather(let gather): try require(resolvedAxis(gather.axis, rank: rank) != 0)
  case .concat(let concat): try require(resolvedAxis(concat.axis, rank: rank) != 0)
  case .split(let split): try require(resolvedAxis(split.axis, rank: rank) != 0)
  case .transpose(let transpose): try require(transpose.permutation.first == 0)
  case .gemm(let gemm): try require(!gemm.transposeA && !graph.shape(node.operands[1]).isBatched)
  case .matMul:
    try require(!graph.shape(node.operands[1]).isBatched || graph.shape(node.operands[1]).rank > 2)
  case .shapeOf, .constantOfShape: try require(false)
  case .conv2d, .convTranspose2d, .batchNorm, .unary, .binary, .select, .maxPool, .averagePool,
    .globalAveragePool,
    .identity, .reshape, .flatten, .squeeze, .unsqueeze, .slice, .pad, .expand, .resize, .cast, .quantize,
    .quantizeLinear, .dequantizeLinear, .integerConv2d, .integerGemm, .integerGemmFloat, .integerAdd,
    .integerMultiply,
    .integerAveragePool, .lookup:
    break
  }
}
