import Evaluator
import Glibc
import IR

extension ShardPass {
  func reduce(_ op: Reduce, _ call: Call, _ gradient: Tensor) -> Tensor {
    let shape = call.shapes[0], axes = op.resolvedAxes(rank: shape.count) ?? []
    // The result's shape with the reduced axes kept.
    let kept = shape.indices.map { axes.contains($0) ? 1 : shape[$0] }
    let length = axes.reduce(1) { $0 * shape[$1] }
    let gradient = gradient.reshaped(kept)
    switch op.function {
    case .sum: return repeated(gradient, to: shape)
    case .mean: return repeated(scaled(gradient, by: 1 / Float(max(length, 1))), to: shape)
    case .l2:
      let ratio = map(gradient, call.keptResult.reshaped(kept)) { $1 > 0 ? $0 / $1 : 0 }
      let spread = repeated(ratio, to: shape)
      return map(spread, call.operand(0).ordered(spread.order, pool: pool)) { $0 * $1 }
    case .maximum, .minimum: return atFirstExtreme(call, gradient, kept)
    case .product: return zeros(shape)  // refused when the plan was made
    }
  }

  /// Each gradient at the first element, row-major, that equals the reduced one.
  private func atFirstExtreme(_ call: Call, _ gradient: Tensor, _ kept: [Int]) -> Tensor {
    let x = call.operand(0).rowMajor(), extremes = call.keptResult.reshaped(kept)
    let result = zeros(x.shape), strides = context.broadcastStrides(extremes, x.shape)
    let source = x.pointer(Float.self), extreme = extremes.pointer(Float.self)
    let g = gradient.pointer(Float.self), target = result.pointer(Float.self)
    defer { keepAlive(x, extremes, gradient) }
    var isTaken = [Bool](repeating: false, count: extremes.count)
    let stride = strides.last ?? 0, count = x.shape.last ?? 1
    forEachRow(x.shape, [x.strides, strides]) { offsets in
      for i in 0..<count {
        let position = offsets[1] + i * stride
        guard !isTaken[position], source[offsets[0] + i] == extreme[position] else { continue }
        isTaken[position] = true
        target[offsets[0] + i] = g[position]
      }
    }
    return result
  }

  func softmax(_ op: Softmax, _ call: Call, _ gradient: Tensor) -> Tensor {
    let shape = call.shapes[0], axis = resolvedAxis(op.axis, rank: shape.count) ?? 0
    let y = call.keptResult.rowMajor(), gradient = gradient.rowMajor()
    let result = Tensor(shape, .f32, pool: pool)
    defer { keepAlive(y, gradient) }
    // Elements that belong together are `inner` apart.
    let inner = op.flatten ? 1 : shape[(axis + 1)...].reduce(1, *)
    let length = op.flatten ? shape[axis...].reduce(1, *) : shape[axis]
    let outer = shape[..<axis].reduce(1, *)
    for group in 0..<outer * inner {
      let start = group / inner * length * inner + group % inner
      let row = y.pointer(Float.self) + start, g = gradient.pointer(Float.self) + start
      let target = result.pointer(Float.self) + start
      var sum = 0.0
      if op.isLogarithmic {
        for i in 0..<length { sum += Double(g[i * inner]) }
        for i in 0..<length { target[i * inner] = g[i * inner] - expf(row[i * inner]) * Float(sum) }
      } else {
        for i in 0..<length { sum += Double(g[i * inner]) * Double(row[i * inner]) }
        for i in 0..<length { target[i * inner] = row[i * inner] * (g[i * inner] - Float(sum)) }
      }
    }
    return result
  }
}
