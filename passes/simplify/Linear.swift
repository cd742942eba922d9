import IR
import PassKit

/// Rules that bring linear operations into one form: weights [O, K] or [O, I, h, w], a bias [O], no other factors.
///
///     matmul(%x, %w) : [N, K] x [K, O]                     ->  gemm{transpose-b = true}(%x, %w')
///     gemm{alpha, beta, transpose-b = false}(%x, %w, %c)   ->  gemm{1, 1, transpose-b = true}(%x, %w', %c')
///     add(conv2d(%x, %w), %b : [C, 1, 1])                  ->  conv2d(%x, %w, %b')
///     multiply(conv2d(%x, %w, %b), %f : [C, 1, 1])         ->  conv2d(%x, f·%w, f·%b)
///
/// Weights and biases must be constant, and nothing else may read what a rule swallows. Results differ by the rounding
/// of the weights; the sum of a bias moves into the accumulation. The form of a gemm is not optional: later stages know
/// the canonical one alone.
let linearRules = [
  Simplification("matmul to gemm", matMulToGemm),
  Simplification("gemm in canonical form", normalizeGemm),
  Simplification("add of a constant into bias", absorbAddition),
  Simplification("multiply by a constant into weights", absorbMultiplication),
]

private func matMulToGemm(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .matMul = node.op, rewriter.graph.shape(node.operands[0]).rank == 2,
    rewriter.graph.floats(node.operands[1]) != nil, rewriter.graph.shape(node.operands[1]).rank == 2, rewriter.takeStep()
  else { return false }
  try rewriter.replace(op, with: .gemm(Gemm()), node.operands)
  return true
}

private func normalizeGemm(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .gemm(var gemm) = node.op, !gemm.transposeA, var weights = rewriter.graph.floats(node.operands[1]),
    let sizes = rewriter.graph.shape(node.operands[1]).sizes
  else { return false }
  let outputs = sizes[gemm.transposeB ? 0 : 1], depth = sizes[gemm.transposeB ? 1 : 0]
  var bias: [Float]?
  if node.operands.count == 3 {
    guard let old = rewriter.graph.channelFloats(node.operands[2], alongside: node.results[0]) else { return false }
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
      isUnchanged ? old : rewriter.constant(Constant(rewriter.graph[old].name, [outputs], bias), replacing: old, of: op))
  }
  gemm.alpha = 1
  gemm.beta = 1
  gemm.transposeB = true
  try rewriter.replace(op, with: .gemm(gemm), operands)
  return true
}

private func absorbAddition(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .binary(let binary) = node.op, binary.function == .add, binary.activation == .none,
    let (value, constant) = rewriter.graph.splitConstant(node),
    let shifts = rewriter.graph.channelFloats(constant, alongside: value)
  else { return false }
  return try rewriter.fold(.shifting(shifts), behind: value, insteadOf: op)
}

private func absorbMultiplication(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .binary(let binary) = node.op, binary.function == .multiply,
    let (value, constant) = rewriter.graph.splitConstant(node),
    let factors = rewriter.graph.channelFloats(constant, alongside: value)
  else { return false }
  return try rewriter.fold(.scaling(factors), behind: value, insteadOf: op)
}
