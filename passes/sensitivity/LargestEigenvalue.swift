import Evaluator
import Support
import Training

/// The largest eigenvalue of one layer's second derivatives, by power iteration.
struct LargestEigenvalue {
  /// Each sample costs four runs of the network an iteration: more than all else that scores measure.
  static let mostSamples = 128
  /// Iterations end when the eigenvalue grows by at most this share, on ResNet-20 after three to eight. Where two are close
  /// growth is slow: at 1e-2 a small network's came out a fifth too low.
  static let tolerance = 1e-3
  static let mostIterations = 20
  /// Differences go so far along a vector, by the length of the weights. On ResNet-20 eigenvalues stay within 1 to 2 % when
  /// it is three times smaller, where outputs round away more; when four times larger, rectifiers that change sides take
  /// up to 7 %.
  static let relativeStep = 0x1p-10

  private(set) var value = 0.0
  private(set) var iterations = 0

  /// - Parameters:
  ///   - layer: its position among those of `curvature`; it chooses the start, too.
  ///   - weights: of the layer, float.
  init(_ curvature: LayerCurvature, layer: Int, weights: Tensor) throws(CompilerError) {
    let id = curvature.layers[layer]
    let plan = try curvature.plan(gradientsOf: [id], given: [id])
    // A random gradient leans towards large eigenvalues already, as a random vector would after half an iteration.
    let start = try curvature.randomGradients(plan, probe: layer, given: [id: weights]) { $0[0].floats }
    guard var v = normalized(curvature.mean(start)) else { return }
    let length = weights.floats.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    let step = LargestEigenvalue.relativeStep * (length > 0 ? length : 1)
    while iterations < LargestEigenvalue.mostIterations {
      let product = try curvature.product(plan, weights: weights, v, step: step)
      iterations += 1
      // No eigenvalue is negative, so that |H v| is never above the largest and never below vᵀ H v.
      let old = value
      value = max(value, norm(product))
      guard let next = normalized(product), value - old > LargestEigenvalue.tolerance * value else { return }
      v = next
    }
  }

  private func norm(_ v: [Double]) -> Double { v.reduce(0) { $0 + $1 * $1 }.squareRoot() }

  /// Nil for zero.
  private func normalized(_ v: [Double]) -> [Double]? {
    let length = norm(v)
    return length > 0 && length.isFinite ? v.map { $0 / length } : nil
  }
}
