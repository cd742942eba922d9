import COneDNN
import IR

extension EvaluationContext {
  func product(_ op: Gemm, _ operands: inout [Tensor], _ result: Result) throws(OneDNNError) -> Tensor {
    let y = make(result), rows = result.shape[0], columns = result.shape[1]
    let depth = operands[0].shape[op.transposeA ? 0 : 1]
    let hasAddend = operands.count > 2 && op.beta != 0
    if hasAddend {
      copyStrided(
        result.shape, size: 4, from: operands[2].rawPointer, broadcastStrides(operands[2], result.shape),
        to: y.rawPointer,
        y.strides)
    }
    try multiply(
      operands[0].pointer(), isTransposed: op.transposeA, operands[1].pointer(), isTransposed: op.transposeB,
      y.pointer(),
      rows: rows, columns: columns, depth: depth, alpha: op.alpha, beta: hasAddend ? op.beta : 0)
    clamp(y, op.activation)
    return y
  }

  /// Matrix product over the last two axes, the others broadcast.
  func product(_ operands: inout [Tensor], _ result: Result) throws(OneDNNError) -> Tensor {
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    operands[1] = operands[1].ordered(.rowMajor, pool: pool)
    let y = make(result), a = operands[0], b = operands[1], rank = result.shape.count
    let rows = result.shape[rank - 2], columns = result.shape[rank - 1], depth = a.shape[a.shape.count - 1]
    let outer = Array(result.shape.dropLast(2))
    if b.shape.count == 2 {
      // One matrix for all: one large product.
      try multiply(
        a.pointer(), isTransposed: false, b.pointer(), isTransposed: false, y.pointer(),
        rows: outer.reduce(1, *) * rows, columns: columns, depth: depth, alpha: 1, beta: 0)
      return y
    }
    let aStrides = Array(broadcastStrides(a, outer + a.shape.suffix(2)).dropLast(2))
    let bStrides = Array(broadcastStrides(b, outer + b.shape.suffix(2)).dropLast(2))
    let yStrides = Array(y.strides.dropLast(2))
    var failure: OneDNNError?
    // A last axis of 1 makes every row of the walk one pair of matrices.
    forEachRow(outer + [1], [aStrides + [0], bStrides + [0], yStrides + [0]]) { offsets in
      do throws(OneDNNError) {
        try multiply(
          a.pointer() + offsets[0], isTransposed: false, b.pointer() + offsets[1], isTransposed: false,
          y.pointer() + offsets[2], rows: rows, columns: columns, depth: depth, alpha: 1, beta: 0)
      } catch { failure = error }
    }
    if let failure { throw failure }
    return y
  }

  /// `y = alpha A' B' + beta y`.
  package func multiply(
    _ a: UnsafePointer<Float>, isTransposed transposeA: Bool, _ b: UnsafePointer<Float>,
    isTransposed transposeB: Bool,
    _ y: UnsafeMutablePointer<Float>, rows: Int, columns: Int, depth: Int, alpha: Float, beta: Float
  ) throws(OneDNNError) {
    guard rows > 0, columns > 0 else { return }
    let no = CChar(UInt8(ascii: "N")), yes = CChar(UInt8(ascii: "T"))
    try OneDNN.check(
      dnnl_sgemm(
        transposeA ? yes : no, transposeB ? yes : no, Int64(rows), Int64(columns), Int64(depth), alpha, a,
        Int64(transposeA ? rows : depth), b, Int64(transposeB ? depth : columns), beta, y, Int64(columns)),
      "sgemm")
  }

  /// Clamps in place.
  func clamp(_ y: Tensor, _ activation: Activation) {
    let p = y.pointer(Float.self), count = y.count
    switch activation {
    case .none: break
    case .relu: for i in 0..<count { p[i] = p[i] > 0 ? p[i] : 0 }
    case .clip(let low, let high):
      for i in 0..<count {
        let x = p[i] > low ? p[i] : low
        p[i] = x < high ? x : high
      }
    }
  }

  /// Strides under which `tensor` repeats to fill `shape` (ONNX broadcasting).
  package func broadcastStrides(_ tensor: Tensor, _ shape: [Int]) -> [Int] {
    let missing = shape.count - tensor.shape.count
    let own = zip(tensor.shape, tensor.strides).map { $0 == 1 ? 0 : $1 }
    return Array(repeating: 0, count: missing) + own
  }
}
