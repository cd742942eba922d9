import Glibc
import IR
import Numerics

extension EvaluationContext {
  func unary(_ op: Unary, _ operands: inout [Tensor]) -> Tensor {
    guard operands[0].element == .f32 else { return integerUnary(op, operands[0]) }
    let y = overwrite(&operands), x = operands[0], alpha = op.alpha, beta = op.beta
    switch op.function {
    case .relu: map(x, y) { $0 < 0 ? 0 : $0 }
    case .clip:
      map(x, y) {
        let raised = $0 < alpha ? alpha : $0
        return raised > beta ? beta : raised
      }
    case .leakyRelu: map(x, y) { $0 < 0 ? alpha * $0 : $0 }
    case .elu: map(x, y) { $0 < 0 ? alpha * expm1f($0) : $0 }
    case .sigmoid: map(x, y) { 1 / (1 + expf(-$0)) }
    case .hardSigmoid: map(x, y) { clampToUnit(alpha * $0 + beta) }
    case .hardSwish: map(x, y) { $0 * clampToUnit($0 * (1 / 6) + 0.5) }
    case .silu: map(x, y) { $0 / (1 + expf(-$0)) }
    case .gelu: map(x, y) { 0.5 * $0 * (1 + erff($0 * 0.70710678118654752)) }
    case .tanh: map(x, y) { tanhf($0) }
    case .erf: map(x, y) { erff($0) }
    case .exp: map(x, y) { expf($0) }
    case .log: map(x, y) { logf($0) }
    case .sqrt: map(x, y) { $0.squareRoot() }
    case .reciprocal: map(x, y) { 1 / $0 }
    case .negate: map(x, y) { -$0 }
    case .abs: map(x, y) { $0.magnitude }
    case .floor: map(x, y) { floorf($0) }
    case .ceil: map(x, y) { ceilf($0) }
    case .sign: map(x, y) { $0 > 0 ? 1 : ($0 < 0 ? -1 : $0) }
    case .softplus: map(x, y) { $0 > 0 ? $0 + log1pf(expf(-$0)) : log1pf(expf($0)) }
    case .not: map(x, y) { $0 == 0 ? 1 : 0 }
    }
    return y
  }

  @inline(__always)
  private func map(_ x: Tensor, _ y: Tensor, _ function: (Float) -> Float) {
    let source = x.pointer(Float.self), target = y.pointer(Float.self)
    // In place with one pointer: two to the same memory keep the compiler from using vectors.
    if source == target {
      for i in 0..<x.count { target[i] = function(target[i]) }
    } else {
      for i in 0..<x.count { target[i] = function(source[i]) }
    }
  }

  /// The functions that make sense for integers and booleans; others act on the number as a real, rounded to zero.
  private func integerUnary(_ op: Unary, _ x: Tensor) -> Tensor {
    let y = Tensor(x.shape, x.element, pool: pool)
    let values = x.integers.map { value -> Int in
      switch op.function {
      case .relu: max(value, 0)
      case .clip: Int(min(max(Double(value), Double(op.alpha)), Double(op.beta)))
      case .negate: 0 &- value
      case .abs: value == .min ? .max : Swift.abs(value)
      case .sign: value.signum()
      case .not: value == 0 ? 1 : 0
      case .floor, .ceil, .leakyRelu, .elu, .sigmoid, .hardSigmoid, .hardSwish, .silu, .gelu, .tanh, .erf,
        .exp, .log,
        .reciprocal, .softplus:
        value
      case .sqrt: Int(Double(max(value, 0)).squareRoot())
      }
    }
    store(values, y)
    return y
  }

  /// Writes integers into a row-major tensor of any type.
  func store(_ values: [Int], _ y: Tensor) {
    switch y.element {
    case .i64: for (i, value) in values.enumerated() { y.pointer(Int64.self)[i] = Int64(value) }
    case .i32:
      for (i, value) in values.enumerated() { y.pointer(Int32.self)[i] = Int32(truncatingIfNeeded: value) }
    case .f32: for (i, value) in values.enumerated() { y.pointer(Float.self)[i] = Float(value) }
    case .bool: for (i, value) in values.enumerated() { y.pointer(UInt8.self)[i] = value == 0 ? 0 : 1 }
    case .u8, .i8, .quantized:
      for (i, value) in values.enumerated() { y.pointer(UInt8.self)[i] = UInt8(truncatingIfNeeded: value) }
    }
  }

  // MARK: Two operands

  func binary(_ op: Binary, _ operands: inout [Tensor], _ result: Result) -> Tensor {
    guard operands[0].element == .f32 else { return integerBinary(op.function, &operands, result) }
    if result.element == .bool { return comparison(op.function, &operands, result) }
    let activation = op.activation
    switch op.function {
    case .add:
      switch activation {
      case .none: return combine(&operands, result) { $0 + $1 }
      case .relu:
        return combine(&operands, result) { a, b in
          let sum = a + b
          return sum > 0 ? sum : 0
        }
      case .clip(let low, let high):
        return combine(&operands, result) { a, b in
          let raised = a + b > low ? a + b : low
          return raised < high ? raised : high
        }
      }
    case .subtract: return combine(&operands, result) { $0 - $1 }
    case .multiply: return combine(&operands, result) { $0 * $1 }
    case .divide: return combine(&operands, result) { $0 / $1 }
    case .power:
      if operands[1].count == 1, operands[1].pointer(Float.self)[0] == 2 {
        return combine(&operands, result) { a, _ in a * a }
      }
      return combine(&operands, result) { powf($0, $1) }
    case .minimum: return combine(&operands, result) { $0 < $1 ? $0 : $1 }
    case .maximum: return combine(&operands, result) { $0 > $1 ? $0 : $1 }
    case .parametricRelu: return combine(&operands, result) { $0 < 0 ? $0 * $1 : $0 }
    case .equal, .less, .greater, .and, .or: return comparison(op.function, &operands, result)
    }
  }

  /// Walks both operands, broadcast to the result, in the memory order of the larger one.
  @inline(__always)
  private func combine(
    _ operands: inout [Tensor], _ result: Result, _ function: (Float, Float) -> Float
  ) -> Tensor {
    let larger = operands[0].shape == result.shape ? 0 : 1
    let order = operands[larger].shape.count == 4 ? operands[larger].order : .rowMajor
    for i in 0...1 where operands[i].order != order { operands[i] = operands[i].ordered(order, pool: pool) }
    let y = operands[larger].shape == result.shape ? overwrite(&operands, larger) : make(result, order: order)
    let a = operands[0], b = operands[1], p = a.pointer(Float.self), q = b.pointer(Float.self),
      target = y.pointer(Float.self)
    if a.shape == b.shape {
      if p == target {
        for i in 0..<y.count { target[i] = function(target[i], q[i]) }
      } else if q == target {
        for i in 0..<y.count { target[i] = function(p[i], target[i]) }
      } else {
        for i in 0..<y.count { target[i] = function(p[i], q[i]) }
      }
      return y
    }
    let walk = broadcastWalk([a, b], y)
    let count = walk.extents[walk.extents.count - 1]
    let last = walk.strides.map { $0[$0.count - 1] }
    forEachRow(walk.extents, walk.strides) { offsets in
      let a = p + offsets[0], b = q + offsets[1], y = target + offsets[2]
      switch (last[0], last[1]) {
      case (1, 1): for i in 0..<count { y[i] = function(a[i], b[i]) }
      case (1, 0):
        let right = b[0]
        for i in 0..<count { y[i] = function(a[i], right) }
      case (0, 1):
        let left = a[0]
        for i in 0..<count { y[i] = function(left, b[i]) }
      default: for i in 0..<count { y[i] = function(a[i &* last[0]], b[i &* last[1]]) }
      }
    }
    return y
  }

  /// How to walk operands that broadcast to `y`, and `y` itself, in the memory order of `y`.
  private func broadcastWalk(_ operands: [Tensor], _ y: Tensor) -> (extents: [Int], strides: [[Int]]) {
    let axes = y.shape.indices.sorted { (y.strides[$0], $1) > (y.strides[$1], $0) }
    let strides = operands.map { broadcastStrides($0, y.shape) } + [y.strides]
    return mergedAxes(axes.map { y.shape[$0] }, strides.map { strides in axes.map { strides[$0] } })
  }

  /// `tensor` repeated to fill `shape`, row-major.
  package func broadcast(_ tensor: Tensor, _ shape: [Int]) -> Tensor {
    if tensor.shape == shape { return tensor.ordered(.rowMajor, pool: pool) }
    let y = Tensor(shape, tensor.element, pool: pool)
    copyStrided(
      shape, size: tensor.element.sizeInBytes, from: tensor.rawPointer, broadcastStrides(tensor, shape),
      to: y.rawPointer,
      y.strides)
    return y
  }

  private func comparison(_ function: Binary.Function, _ operands: inout [Tensor], _ result: Result) -> Tensor
  {
    for i in 0...1 { operands[i] = broadcast(operands[i], result.shape) }
    let y = make(result), a = operands[0].pointer(Float.self), b = operands[1].pointer(Float.self)
    let target = y.pointer(UInt8.self)
    for i in 0..<y.count {
      let isTrue =
        switch function {
        case .equal: a[i] == b[i]
        case .less: a[i] < b[i]
        case .greater: a[i] > b[i]
        case .and: a[i] != 0 && b[i] != 0
        case .or, .add, .subtract, .multiply, .divide, .power, .minimum, .maximum, .parametricRelu:
          a[i] != 0 || b[i] != 0
        }
      target[i] = isTrue ? 1 : 0
    }
    return y
  }

  /// Shape arithmetic; small tensors. Division truncates, and by zero gives zero.
  private func integerBinary(
    _ function: Binary.Function, _ operands: inout [Tensor], _ result: Result
  ) -> Tensor {
    let a = broadcast(operands[0], result.shape).integers, b = broadcast(operands[1], result.shape).integers
    let y = make(result)
    let values = zip(a, b).map { a, b -> Int in
      switch function {
      case .add: a &+ b
      case .subtract: a &- b
      case .multiply: a &* b
      case .divide: b == 0 ? 0 : a.dividedReportingOverflow(by: b).partialValue
      case .power: integerPower(a, b)
      case .minimum: min(a, b)
      case .maximum: max(a, b)
      case .equal: a == b ? 1 : 0
      case .less: a < b ? 1 : 0
      case .greater: a > b ? 1 : 0
      case .and: a != 0 && b != 0 ? 1 : 0
      case .or: a != 0 || b != 0 ? 1 : 0
      case .parametricRelu: a < 0 ? a &* b : a
      }
    }
    store(values, y)
    return y
  }

  private func integerPower(_ base: Int, _ exponent: Int) -> Int {
    if exponent < 0 { return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0 }
    var result = 1, square = base, rest = exponent
    while rest > 0 {
      if rest & 1 == 1 { result &*= square }
      square &*= square
      rest >>= 1
    }
    return result
  }

  func select(_ operands: inout [Tensor], _ result: Result) -> Tensor {
    for i in operands.indices { operands[i] = broadcast(operands[i], result.shape) }
    let y = make(result), condition = operands[0].pointer(UInt8.self), size = result.element.sizeInBytes
    let a = operands[1].rawPointer, b = operands[2].rawPointer, target = y.rawPointer
    for i in 0..<y.count {
      target.advanced(by: i * size).copyMemory(from: (condition[i] != 0 ? a : b) + i * size, byteCount: size)
    }
    return y
  }

  // MARK: Conversions

  func cast(_ operands: inout [Tensor], _ result: Result) -> Tensor {
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    let x = operands[0], y = make(result)
    guard x.element != result.element else { return x }
    guard x.element == .f32 else {
      store(x.integers, y)
      return y
    }
    let source = x.pointer(Float.self)
    switch result.element {
    case .bool: for i in 0..<y.count { y.pointer(UInt8.self)[i] = source[i] == 0 ? 0 : 1 }
    case .f32, .i64, .i32, .u8, .i8, .quantized: store(x.integers, y)
    }
    return y
  }
}

@inline(__always)
private func clampToUnit(_ x: Float) -> Float {
  let raised = x > 0 ? x : 0
  return raised < 1 ? raised : 1
}
