import Evaluator
import IR
import Support
import Training

/// Means, over random gradients, of squares that second derivatives decide, for all layers at once (Hutchinson's method with
/// random signs for the answers).
///
/// With H = Jᵀ F J and F = A Aᵀ, gradients r = Jᵀ A u for random signs u, one for each sample and answer, have H as the
/// mean of r rᵀ. Hence (r · v)² has vᵀ H v as its mean, and |r|² the trace of H: one gradient gives an estimate for every
/// layer and every v, without differences and without the cross terms between layers that signs for all weights at once
/// would bring. Samples of different chunks bring none either.
struct CurvatureProbes {
  /// Probes end when the standard error of every mean is at most this share of it. Samples scatter more: HAWQ's 1e-3, of
  /// the running mean's last step, would be beyond what they tell.
  static let tolerance = 0.02
  static let mostProbes = 16
  /// Fewer say too little about their own spread.
  static let leastProbes = 4

  /// `estimates[probe][square]`.
  private(set) var estimates: [[Double]]

  /// - Parameters:
  ///   - wanted: the weights and biases whose gradients `squares` is given, in order.
  ///   - estimates: of probes made before.
  ///   - squares: of one random gradient.
  ///   - progress: called with all estimates after each probe.
  init(
    _ curvature: LayerCurvature, gradientsOf wanted: [ValueID], estimates: [[Double]] = [],
    squares: @Sendable ([Tensor]) -> [Double],
    progress: ([[Double]]) throws(CompilerError) -> Void = { _ in }
  ) throws(CompilerError) {
    self.estimates = estimates
    guard !isDone else { return }
    let plan = try curvature.plan(gradientsOf: wanted)
    while !isDone {
      let parts = try curvature.randomGradients(plan, probe: self.estimates.count, squares)
      self.estimates.append(curvature.mean(parts))
      try progress(self.estimates)
    }
  }

  private var isDone: Bool {
    if estimates.count >= CurvatureProbes.mostProbes { return true }
    guard estimates.count >= CurvatureProbes.leastProbes else { return false }
    return zip(means, standardErrors).allSatisfy { $1 <= CurvatureProbes.tolerance * $0 }
  }

  var means: [Double] {
    (estimates.first ?? []).indices.map { square in
      estimates.reduce(0) { $0 + $1[square] } / Double(estimates.count)
    }
  }
  /// Of the means, as far as signs go: samples have a spread of their own.
  var standardErrors: [Double] {
    let count = Double(estimates.count)
    return means.enumerated().map { square, mean in
      let squares = estimates.reduce(0) { $0 + ($1[square] - mean) * ($1[square] - mean) }
      return (squares / max(count - 1, 1) / count).squareRoot()
    }
  }
}
