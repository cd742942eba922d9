import Evaluator
import Glibc
import IR

extension ShardPass {
  func binary(_ op: Binary, _ call: Call, _ gradient: Tensor) -> [Tensor?] {
    switch op.function {
    case .add: return own(call) { _ in gradient }
    case .subtract: return own(call) { $0 == 0 ? gradient : map(gradient, gradient) { g, _ in -g } }
    case .multiply:
      return own(call) { index in
        map(gradient, spread(call.operand(1 - index), gradient)) { $0 * $1 }
      }
    case .divide, .power, .minimum, .maximum, .parametricRelu: break
    case .equal, .less, .greater, .and, .or: return [nil, nil]
    }
    let a = spread(call.operand(0), gradient), b = spread(call.operand(1), gradient)
    return own(call) { index in
      let isLeft = index == 0
      switch op.function {
      case .divide:
        return isLeft
          ? map(gradient, b) { $0 / $1 } : map(gradient, a, b) { g, a, b in -g * a / (b * b) }
      case .power:
        return isLeft
          ? map(gradient, a, b) { g, a, b in b == 2 ? 2 * g * a : g * b * powf(a, b - 1) }
          : map(gradient, a, b) { g, a, b in a > 0 ? g * powf(a, b) * logf(a) : 0 }
      // The evaluator's result is the second operand where both are equal.
      case .minimum: return map(gradient, a, b) { g, a, b in (a < b) == isLeft ? g : 0 }
      case .maximum: return map(gradient, a, b) { g, a, b in (a > b) == isLeft ? g : 0 }
      case .parametricRelu:
        return isLeft
          ? map(gradient, a, b) { g, a, b in a < 0 ? g * b : g }
          : map(gradient, a) { $1 < 0 ? $0 * $1 : 0 }
      case .add, .subtract, .multiply, .equal, .less, .greater, .and, .or: return gradient
      }
    }
  }

  func select(_ call: Call, _ gradient: Tensor) -> [Tensor?] {
    let gradient = gradient.rowMajor()
    let condition = context.broadcast(call.operand(0), call.resultShapes[0])
    let isChosen = condition.pointer(UInt8.self), g = gradient.pointer(Float.self)
    defer { keepAlive(condition, gradient) }
    return (0..<3).map { index in
      guard index > 0, call.needs(index) else { return nil }
      let result = Tensor(gradient.shape, .f32, pool: pool), target = result.pointer(Float.self)
      for i in 0..<result.count { target[i] = (isChosen[i] != 0) == (index == 1) ? g[i] : 0 }
      return summed(result, to: call.shapes[index])
    }
  }

  /// The gradients that the operands need, from those of the operands as broadcast.
  private func own(_ call: Call, _ gradient: (Int) -> Tensor) -> [Tensor?] {
    call.shapes.indices.map { call.needs($0) ? summed(gradient($0), to: call.shapes[$0]) : nil }
  }

  /// `x` repeated to the shape of `like`, in its memory order.
  private func spread(_ x: Tensor, _ like: Tensor) -> Tensor {
    if x.shape == like.shape { return x.ordered(like.order, pool: pool) }
    let result = Tensor(like.shape, .f32, order: like.order, pool: pool)
    copyStrided(
      like.shape, size: 4, from: x.rawPointer, context.broadcastStrides(x, like.shape), to: result.rawPointer,
      result.strides)
    keepAlive(x)
    return result
  }

  /// The sum of `gradient` over the axes along which a tensor of `shape` was repeated.
  func summed(_ gradient: Tensor, to shape: [Int]) -> Tensor {
    guard gradient.shape != shape else { return gradient }
    let result = zeros(shape), target = result.pointer(Float.self)
    defer { keepAlive(gradient) }
    let axes = gradient.shape.indices.sorted {
      (gradient.strides[$0], $1) > (gradient.strides[$1], $0)
    }
    let repeated = context.broadcastStrides(result, gradient.shape)
    let walk = mergedAxes(
      axes.map { gradient.shape[$0] }, [axes.map { gradient.strides[$0] }, axes.map { repeated[$0] }])
    guard let count = walk.extents.last, let from = walk.strides[0].last, let to = walk.strides[1].last
    else { return result }
    forEachRow(walk.extents, walk.strides) { offsets in
      let row = gradient.pointer(Float.self) + offsets[0], sums = target + offsets[1]
      if to == 0 {
        var sum = 0.0
        for i in 0..<count { sum += Double(row[i &* from]) }
        sums[0] += Float(sum)
      } else {
        for i in 0..<count { sums[i &* to] += row[i &* from] }
      }
    }
    return result
  }

  @inline(__always)
  private func map(
    _ gradient: Tensor, _ a: Tensor, _ b: Tensor, _ function: (Float, Float, Float) -> Float
  ) -> Tensor {
    let result = Tensor(gradient.shape, .f32, order: gradient.order, pool: pool)
    let g = gradient.pointer(Float.self), p = a.pointer(Float.self), q = b.pointer(Float.self)
    let target = result.pointer(Float.self)
    for i in 0..<result.count { target[i] = function(g[i], p[i], q[i]) }
    keepAlive(gradient, a, b)
    return result
  }
}
