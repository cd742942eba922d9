import Evaluator
import Support
import Training

/// Traces of the second derivatives of all layers at once, by Hutchinson's method with random signs for the answers.
///
/// With H = Jᵀ F J and F = A Aᵀ the trace of H is that of Aᵀ J Jᵀ A, so that for random signs u, one for each sample and
/// answer, |Jᵀ A u|² has the trace as its mean: one gradient gives an estimate for every layer, without differences and
/// without the cross terms between layers that signs for all weights at once would bring. Samples of different chunks
/// bring none either.
struct HessianTrace {
  /// Probes end when the standard error of every layer's trace is at most this share of it. Samples scatter more: HAWQ's
  /// 1e-3, of the running mean's last step, would be beyond what they tell.
  static let tolerance = 0.02
  static let mostProbes = 16
  /// Fewer say too little about their own spread.
  static let leastProbes = 4

  /// `estimates[probe][layer]`.
  private(set) var estimates: [[Double]]

  /// - Parameters:
  ///   - estimates: of probes made before.
  ///   - progress: called with all estimates after each probe.
  init(
    _ curvature: LayerCurvature, estimates: [[Double]] = [],
    progress: ([[Double]]) throws(CompilerError) -> Void = { _ in }
  ) throws(CompilerError) {
    self.estimates = estimates
    guard !isDone else { return }
    let plan = try curvature.plan(gradientsOf: curvature.layers)
    while !isDone {
      let parts = try curvature.randomGradients(plan, probe: self.estimates.count) { gradients in
        gradients.map { gradient in
          gradient.withFloats { $0.reduce(0.0) { $0 + Double($1) * Double($1) } }
        }
      }
      self.estimates.append(curvature.mean(parts))
      try progress(self.estimates)
    }
  }

  private var isDone: Bool {
    if estimates.count >= HessianTrace.mostProbes { return true }
    guard estimates.count >= HessianTrace.leastProbes else { return false }
    return zip(traces, standardErrors).allSatisfy { $1 <= HessianTrace.tolerance * $0 }
  }

  /// By layer.
  var traces: [Double] {
    (estimates.first ?? []).indices.map { layer in
      estimates.reduce(0) { $0 + $1[layer] } / Double(estimates.count)
    }
  }
  /// Of the traces, as far as signs go: samples have a spread of their own.
  var standardErrors: [Double] {
    let count = Double(estimates.count)
    return traces.enumerated().map { layer, mean in
      let squares = estimates.reduce(0) { $0 + ($1[layer] - mean) * ($1[layer] - mean) }
      return (squares / max(count - 1, 1) / count).squareRoot()
    }
  }
}
