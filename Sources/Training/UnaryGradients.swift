import Evaluator
import Glibc
import IR

extension ShardPass {
  /// The gradient before a fused activation, by its result: it passes strictly between the bounds.
  func masked(_ gradient: Tensor, by result: Tensor, _ activation: Activation) -> Tensor {
    let result = result.ordered(gradient.order, pool: pool), bounds = activation.bounds
    let low = bounds.lowerBound, high = bounds.upperBound
    return map(gradient, result) { $1 > low && $1 < high ? $0 : 0 }
  }

  func unary(_ op: Unary, _ call: Call, _ gradient: Tensor) -> Tensor {
    let read = op.derivativeTakesResult ? call.keptResult : call.operand(0)
    let x = read.ordered(gradient.order, pool: pool), alpha = op.alpha, beta = op.beta
    switch op.function {
    case .relu: return map(gradient, x) { $1 > 0 ? $0 : 0 }
    case .clip: return map(gradient, x) { $1 > alpha && $1 < beta ? $0 : 0 }
    case .leakyRelu: return map(gradient, x) { $1 < 0 ? alpha * $0 : $0 }
    case .elu: return map(gradient, x) { $1 < 0 ? alpha * $0 * expf($1) : $0 }
    case .sigmoid: return map(gradient, x) { $0 * $1 * (1 - $1) }
    case .hardSigmoid: return map(gradient, x) { $1 > 0 && $1 < 1 ? alpha * $0 : 0 }
    case .hardSwish:
      return map(gradient, x) { $1 <= -3 ? 0 : ($1 >= 3 ? $0 : $0 * ($1 * (1 / 3) + 0.5)) }
    case .silu:
      return map(gradient, x) { g, x in
        let sigmoid = 1 / (1 + expf(-x))
        return g * sigmoid * (1 + x * (1 - sigmoid))
      }
    case .gelu:
      return map(gradient, x) { g, x in
        // Cumulative and density of the normal distribution.
        let cumulative = 0.5 * (1 + erff(x * 0.70710678118654752))
        return g * (cumulative + x * 0.39894228040143268 * expf(-0.5 * x * x))
      }
    case .tanh: return map(gradient, x) { $0 * (1 - $1 * $1) }
    case .erf: return map(gradient, x) { $0 * 1.1283791670955126 * expf(-$1 * $1) }
    case .exp: return map(gradient, x) { $0 * $1 }
    case .log: return map(gradient, x) { $0 / $1 }
    case .sqrt: return map(gradient, x) { 0.5 * $0 / $1 }
    case .reciprocal: return map(gradient, x) { -$0 * $1 * $1 }
    case .negate: return map(gradient, gradient) { g, _ in -g }
    case .abs: return map(gradient, x) { $1 > 0 ? $0 : ($1 < 0 ? -$0 : 0) }
    case .softplus: return map(gradient, x) { $0 / (1 + expf(-$1)) }
    // Steps: flat wherever they have a derivative.
    case .floor, .ceil, .sign, .not: return zeros(gradient.shape, order: gradient.order)
    }
  }

  /// `function(gradient, x)` of every element; both in the same memory order.
  @inline(__always)
  func map(_ gradient: Tensor, _ x: Tensor, _ function: (Float, Float) -> Float) -> Tensor {
    let result = Tensor(gradient.shape, .f32, order: gradient.order, pool: pool)
    let a = gradient.pointer(Float.self), b = x.pointer(Float.self), target = result.pointer(Float.self)
    for i in 0..<result.count { target[i] = function(a[i], b[i]) }
    keepAlive(gradient, x)
    return result
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
