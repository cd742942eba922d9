import Evaluator
import Glibc
import IR

extension ShardPass {
  /// The gradient before a fused activation, by its result: it passes strictly between the bounds.
  func masked(_ gradient: inout Tensor, by result: Tensor, _ activation: Activation) -> Tensor {
    let result = result.ordered(gradient.order, pool: pool), bounds = activation.bounds
    let low = bounds.lowerBound, high = bounds.upperBound
    return overwrite(&gradient, result) { $1 > low && $1 < high ? $0 : 0 }
  }

  func unary(_ op: Unary, _ call: Call, _ gradient: inout Tensor) -> Tensor {
    let read = op.derivativeTakesResult ? call.keptResult : call.operand(0)
    let x = read.ordered(gradient.order, pool: pool), alpha = op.alpha, beta = op.beta
    switch op.function {
    case .relu: return overwrite(&gradient, x) { $1 > 0 ? $0 : 0 }
    case .clip: return overwrite(&gradient, x) { $1 > alpha && $1 < beta ? $0 : 0 }
    case .leakyRelu: return overwrite(&gradient, x) { $1 < 0 ? alpha * $0 : $0 }
    case .elu: return overwrite(&gradient, x) { $1 < 0 ? alpha * $0 * expf($1) : $0 }
    case .sigmoid: return overwrite(&gradient, x) { $0 * $1 * (1 - $1) }
    case .hardSigmoid: return overwrite(&gradient, x) { $1 > 0 && $1 < 1 ? alpha * $0 : 0 }
    case .hardSwish:
      return overwrite(&gradient, x) { $1 <= -3 ? 0 : ($1 >= 3 ? $0 : $0 * ($1 * (1 / 3) + 0.5)) }
    case .silu:
      return overwrite(&gradient, x) { g, x in
        let sigmoid = 1 / (1 + expf(-x))
        return g * sigmoid * (1 + x * (1 - sigmoid))
      }
    case .gelu:
      return overwrite(&gradient, x) { g, x in
        // Cumulative and density of the normal distribution.
        let cumulative = 0.5 * (1 + erff(x * 0.70710678118654752))
        return g * (cumulative + x * 0.39894228040143268 * expf(-0.5 * x * x))
      }
    case .tanh: return overwrite(&gradient, x) { $0 * (1 - $1 * $1) }
    case .erf: return overwrite(&gradient, x) { $0 * 1.1283791670955126 * expf(-$1 * $1) }
    case .exp: return overwrite(&gradient, x) { $0 * $1 }
    case .log: return overwrite(&gradient, x) { $0 / $1 }
    case .sqrt: return overwrite(&gradient, x) { 0.5 * $0 / $1 }
    case .reciprocal: return overwrite(&gradient, x) { -$0 * $1 * $1 }
    case .negate: return map(gradient, gradient) { g, _ in -g }
    case .abs: return overwrite(&gradient, x) { $1 > 0 ? $0 : ($1 < 0 ? -$0 : 0) }
    case .softplus: return overwrite(&gradient, x) { $0 / (1 + expf(-$1)) }
    // Steps: flat wherever they have a derivative.
    case .floor, .ceil, .sign, .not: return zeros(gradient.shape, order: gradient.order)
    }
  }

  /// `function(gradient, x)` of every element; both in the same memory order.
  @inline(__always)
  func map(_ gradient: Tensor, _ x: Tensor, _ function: (Float, Float) -> Float) -> Tensor {
    let result = Tensor(gradient.shape, .f32, order: gradient.order, pool: pool)
    write(gradient, x, function, to: result)
    return result
  }
  /// The same, in place where nothing else holds the gradient.
  @inline(__always)
  func overwrite(_ gradient: inout Tensor, _ x: Tensor, _ function: (Float, Float) -> Float) -> Tensor {
    let result = gradient.overwritable(pool: pool)
    write(gradient, x, function, to: result)
    return result
  }
  @inline(__always)
  private func write(_ gradient: Tensor, _ x: Tensor, _ function: (Float, Float) -> Float, to result: Tensor)
  {
    let a = gradient.pointer(Float.self), b = x.pointer(Float.self), target = result.pointer(Float.self)
    // In place with one pointer: two to the same memory keep the compiler from using vectors.
    if a == target {
      for i in 0..<result.count { target[i] = function(target[i], b[i]) }
    } else {
      for i in 0..<result.count { target[i] = function(a[i], b[i]) }
    }
    keepAlive(gradient, x)
  }
}

extension Unary {
  /// Whether the derivative is a function of the result, which is then kept in place of the operand.
  var derivativeTakesResult: Bool {
    switch function {
    case .relu, .clip, .sigmoid, .hardSigmoid, .tanh, .exp, .sqrt, .reciprocal: true
    case .leakyRelu, .elu, .hardSwish, .silu, .gelu, .erf, .log, .negate, .abs, .floor, .ceil, .sign,
      .softplus, .not:
      false
    }
  }
}
