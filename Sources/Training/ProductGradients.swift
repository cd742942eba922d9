import Evaluator
import IR

extension ShardPass {
  func product(_ op: Gemm, _ call: Call, _ gradient: Tensor) throws -> [Tensor?] {
    let rows = call.resultShapes[0][0], columns = call.resultShapes[0][1]
    let depth = call.shapes[0][op.transposeA ? 0 : 1]
    var results = [Tensor?](repeating: nil, count: call.shapes.count)
    if call.needs(0) {
      let a = Tensor(call.shapes[0], .f32, pool: pool), b = call.operand(1)
      defer { keepAlive(gradient, b) }
      // A = dY B', or its transpose B dY'.
      if op.transposeA {
        try context.multiply(
          b.pointer(), isTransposed: op.transposeB, gradient.pointer(), isTransposed: true, a.pointer(),
          rows: depth, columns: rows, depth: columns, alpha: op.alpha, beta: 0)
      } else {
        try context.multiply(
          gradient.pointer(), isTransposed: false, b.pointer(), isTransposed: !op.transposeB, a.pointer(),
          rows: rows, columns: depth, depth: columns, alpha: op.alpha, beta: 0)
      }
      results[0] = a
    }
    if call.needs(1) {
      let a = call.operand(0), b = Tensor(call.shapes[1], .f32, pool: pool)
      defer { keepAlive(gradient, a) }
      if op.transposeB {
        try context.multiply(
          gradient.pointer(), isTransposed: true, a.pointer(), isTransposed: op.transposeA, b.pointer(),
          rows: columns, columns: depth, depth: rows, alpha: op.alpha, beta: 0)
      } else {
        try context.multiply(
          a.pointer(), isTransposed: !op.transposeA, gradient.pointer(), isTransposed: false, b.pointer(),
          rows: depth, columns: columns, depth: rows, alpha: op.alpha, beta: 0)
      }
      results[1] = b
    }
    if call.needs(2) { results[2] = scaled(summed(gradient, to: call.shapes[2]), by: op.beta) }
    return results
  }

  /// Of a matrix product over the last two axes, the others broadcast.
  func product(_ call: Call, _ gradient: Tensor) throws -> [Tensor?] {
    let result = call.resultShapes[0], outer = Array(result.dropLast(2))
    let rows = result[result.count - 2], columns = result[result.count - 1]
    let depth = call.shapes[0][call.shapes[0].count - 1]
    let gradient = gradient.rowMajor()
    var results: [Tensor?] = [nil, nil]
    // Strides along the outer axes of the operands, 0 where they repeat.
    let walks = call.shapes.map { shape in
      Array(repeating: 0, count: result.count - shape.count)
        + zip(shape, Tensor.strides(shape, .rowMajor)).map { $0 == 1 ? 0 : $1 }.dropLast(2)
    }
    let walk = Tensor.strides(result, .rowMajor).dropLast(2)
    for index in 0...1 where call.needs(index) {
      // Products that meet in one matrix are added.
      let target = zeros(call.shapes[index]), other = call.operand(1 - index).rowMajor()
      var failure: OneDNNError?
      forEachRow(outer + [1], [walks[index] + [0], walks[1 - index] + [0], walk + [0]]) { offsets in
        do throws(OneDNNError) {
          let y = gradient.pointer(Float.self) + offsets[2], factor = other.pointer(Float.self) + offsets[1]
          if index == 0 {
            try context.multiply(
              y, isTransposed: false, factor, isTransposed: true, target.pointer() + offsets[0], rows: rows,
              columns: depth, depth: columns, alpha: 1, beta: 1)
          } else {
            try context.multiply(
              factor, isTransposed: true, y, isTransposed: false, target.pointer() + offsets[0], rows: depth,
              columns: columns, depth: rows, alpha: 1, beta: 1)
          }
        } catch { failure = error }
      }
      keepAlive(gradient, other)
      if let failure { throw failure }
      results[index] = target
    }
    return results
  }

  func scaled(_ x: Tensor, by factor: Float) -> Tensor {
    guard factor != 1 else { return x }
    let y = Tensor(x.shape, .f32, order: x.order, pool: pool)
    let source = x.pointer(Float.self), target = y.pointer(Float.self)
    for i in 0..<x.count { target[i] = source[i] * factor }
    keepAlive(x)
    return y
  }
}
