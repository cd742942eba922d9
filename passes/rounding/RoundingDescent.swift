import Numerics

/// Moves single weights of a rounded row by whole steps as long as that lowers `(w - ŵ) H (w - ŵ)ᵀ`, the squared error
/// of the layer's outputs, and refits the row's step between sweeps. Coordinate descent (QuantEase, arXiv 2309.01885)
/// from where GPTQ, which decides every weight once, has ended.
struct RoundingDescent {
  private let hessian: [Float]
  private let size: Int
  private let damping: Float
  private let range: ClosedRange<Int32>

  /// - Parameters:
  ///   - hessian: row-major, `size` x `size`.
  ///   - damping: what is added to its diagonal.
  init(hessian: [Float], size: Int, damping: Float, _ range: ClosedRange<Int32>) {
    (self.hessian, self.size, self.damping, self.range) = (hessian, size, damping, range)
  }

  /// - Parameters:
  ///   - weights: multiples of the step, improved in place.
  ///   - target: the float weights.
  ///   - parameters: symmetric; a fitted step is never below 0.7 times the given one, and never above it.
  func improve(
    _ weights: inout [Float], _ target: [Float], _ parameters: inout AffineParameters, fitsStep: Bool,
    sweeps: Int
  ) {
    guard sweeps > 0, parameters.zeroPoint == 0, parameters.scale > 0 else { return }
    var levels = weights.map { ($0 / parameters.scale).rounded() }
    var step = parameters.scale
    // gradient = (H + damping) (w - ŵ)
    var gradient = product(zip(target, levels).map { $0 - step * $1 })
    let wanted = fitsStep ? product(target) : []
    for sweep in 0..<sweeps {
      if fitsStep && sweep > 0 {
        // The step for which the error is least: ŵ = s q, s = q H w / q H q.
        let moved = product(levels)
        let numerator = zip(levels, wanted).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        let denominator = zip(levels, moved).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        let fitted = denominator > 0 ? Float(numerator / denominator) : step
        if fitted.isFinite, fitted >= 0.7 * parameters.scale, fitted <= parameters.scale {
          step = fitted
          for index in 0..<size { gradient[index] = wanted[index] - step * moved[index] }
        }
      }
      guard descend(&levels, &gradient, step) else { break }
    }
    parameters.scale = step
    for index in 0..<size { weights[index] = step * levels[index] }
  }

  /// One pass over all weights: whether any moved.
  private func descend(_ levels: inout [Float], _ gradient: inout [Float], _ step: Float) -> Bool {
    var moved = false
    let low = Float(range.lowerBound), high = Float(range.upperBound)
    gradient.withUnsafeMutableBufferPointer { gradient in
      hessian.withUnsafeBufferPointer { hessian in
        guard let g = gradient.baseAddress, let h = hessian.baseAddress else { return }
        for index in 0..<size {
          let curvature = h[index * size + index] + damping
          guard curvature > 0 else { continue }
          // The nearest level to the least of the parabola in this weight.
          let level = min(max((levels[index] + g[index] / (curvature * step)).rounded(), low), high)
          let change = level - levels[index]
          guard change != 0, change.isFinite else { continue }
          levels[index] = level
          addScaled(g, h + index * size, -change * step, size)
          g[index] -= damping * change * step
          moved = true
        }
      }
    }
    return moved
  }

  private func product(_ x: [Float]) -> [Float] {
    var result = x.map { damping * $0 }
    result.withUnsafeMutableBufferPointer { result in
      hessian.withUnsafeBufferPointer { hessian in
        guard let y = result.baseAddress, let h = hessian.baseAddress else { return }
        for index in 0..<size where x[index] != 0 { addScaled(y, h + index * size, x[index], size) }
      }
    }
    return result
  }
}
