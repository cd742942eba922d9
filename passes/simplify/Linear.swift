import IR
import PassKit

/// Rules that bring linear operations into one form: weights [O, K] or [O, I, h, w], a bias [O], no other
/// factors.
///
///     matmul(%x, %w) : [N, K] x [K, O]                     ->  gemm{transpose-b = true}(%x, %w')
///     gemm{alpha, beta, transpose-b = false}(%x, %w, %c)   ->  gemm{1, 1, transpose-b = true}(%x, %w', %c')
///     add(conv2d(%x, %w), %b : [C, 1, 1])                  ->  conv2d(%x, %w, %b')
///     multiply(conv2d(%x, %w, %b), %f : [C, 1, 1])         ->  conv2d(%x, f·%w, f·%b)
///     conv2d(multiply(%x, %f : [C, 1, 1]), %w)             ->  conv2d(%x, f·%w) for all readers alike
///
/// Weights and biases must be constant, and nothing else may read what a rule swallows. Results differ by the
/// rounding of the weights; the sum of a bias moves into the accumulation. The form of a gemm is not
/// optional: later stages know the canonical one alone.
let linearRules = [
  Simplification("matmul to gemm", matMulToGemm),
  Simplification("gemm in canonical form", normalizeGemm),
  Simplification("add of a constant into bias", absorbAddition),
  Simplification("multiply by a constant into weights", absorbMultiplication),
  Simplification("constant operand into the weights of its readers", foldIntoReaders),
]

private func matMulToGemm(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .matMul = node.op, rewriter.graph.shape(node.operands[0]).rank == 2,
    rewriter.graph.floats(node.operands[1]) != nil, rewriter.graph.shape(node.operands[1]).rank == 2,
    rewriter.takeStep()
  else { return false }
  try rewriter.replace(op, with: .gemm(Gemm()), node.operands)
  return true
}

private func normalizeGemm(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .gemm(var gemm) = node.op, !gemm.transposeA,
    var weights = rewriter.graph.floats(node.operands[1]),
    let sizes = rewriter.graph.shape(node.operands[1]).sizes
  else { return false }
  let outputs = sizes[gemm.transposeB ? 0 : 1], depth = sizes[gemm.transposeB ? 1 : 0]
  var bias: [Float]?
  if node.operands.count == 3 {
    guard let old = rewriter.graph.channelFloats(node.operands[2], alongside: node.results[0]) else {
      return false
    }
    bias = old.map { $0 * gemm.beta }
  }
  let hasCanonicalBias = node.operands.count < 3 || rewriter.graph.shape(node.operands[2]) == [outputs]
  guard !gemm.isCanonical || !hasCanonicalBias else { return false }

  var operands = [node.operands[0], node.operands[1]]
  if !gemm.transposeB || gemm.alpha != 1 {
    if !gemm.transposeB {
      let original = weights
      for output in 0..<outputs {
        for k in 0..<depth { weights[output * depth + k] = original[k * outputs + output] }
      }
    }
    for i in weights.indices where gemm.alpha != 1 { weights[i] *= gemm.alpha }
    let constant = Constant(rewriter.graph[operands[1]].name, [outputs, depth], weights)
    operands[1] = rewriter.constant(constant, replacing: operands[1], of: op)
  }
  if let bias {
    let old = node.operands[2]
    let isUnchanged = hasCanonicalBias && gemm.beta == 1
    operands.append(
      isUnchanged
        ? old : rewriter.constant(Constant(rewriter.graph[old].name, [outputs], bias), replacing: old, of: op)
    )
  }
  gemm.alpha = 1
  gemm.beta = 1
  gemm.transposeB = true
  try rewriter.replace(op, with: .gemm(gemm), operands)
  return true
}

/// What an addition of, or a multiplication by, a constant per channel does to its other operand.
func channelAffine(of node: Graph.Node, _ graph: Graph) -> (affine: ChannelAffine, input: ValueID)? {
  guard case .binary(let binary) = node.op, binary.activation == .none,
    let (value, constant) = graph.splitConstant(node),
    graph[value].type == graph[node.results[0]].type,
    let floats = graph.channelFloats(constant, alongside: value)
  else { return nil }
  if binary.function == .add { return (.shifting(floats), value) }
  return binary.function == .multiply ? (.scaling(floats), value) : nil
}

private func foldIntoReaders(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  guard let (affine, input) = channelAffine(of: rewriter.graph[op], rewriter.graph) else { return false }
  guard case .folded = try rewriter.fold(affine, ofResult: op, of: input) else { return false }
  return true
}

private func absorbAddition(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  try absorb(.add, op, &rewriter)
}

private func absorbMultiplication(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  try absorb(.multiply, op, &rewriter)
}

private func absorb(
  _ function: Binary.Function, _ op: OpID, _ rewriter: inout Rewriter
) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .binary(let binary) = node.op, binary.function == function,
    let (affine, input) = channelAffine(of: node, rewriter.graph)
  else { return false }
  return try rewriter.fold(affine, behind: input, insteadOf: op)
}
