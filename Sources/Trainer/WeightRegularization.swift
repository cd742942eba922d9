/// Pulls the distribution of each layer's float weights towards a symmetric, flat one, which loses the least where one set
/// of weights serves many widths: `skewness² + (kurtosis - 1.8)²`, averaged over the layers (EQ-Net, arXiv 2308.07650; the
/// kurtosis of a uniform distribution is 1.8: Chmiel et al., arXiv 2002.07686).
package struct WeightRegularization: Hashable, Sendable {
  package var skewnessRate: Double
  package var kurtosisRate: Double
  package static let kurtosisTarget = 1.8

  package init(skewnessRate: Double = 1, kurtosisRate: Double = 0.015) {
    (self.skewnessRate, self.kurtosisRate) = (skewnessRate, kurtosisRate)
  }

  package struct Moments: Sendable {
    package var skewness: Double
    package var kurtosis: Double
  }
  package static func moments(_ weights: [Float]) -> Moments { standardized(weights).moments }

  private static func standardized(
    _ weights: [Float]
  ) -> (values: [Double], deviation: Double, moments: Moments) {
    let count = Double(max(weights.count, 1))
    let mean = weights.reduce(0.0) { $0 + Double($1) } / count
    let variance = weights.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / count
    guard variance > 0 else { return ([], 0, Moments(skewness: 0, kurtosis: kurtosisTarget)) }
    let deviation = variance.squareRoot(), values = weights.map { (Double($0) - mean) / deviation }
    var third = 0.0, fourth = 0.0
    for t in values {
      third += t * t * t
      fourth += t * t * t * t
    }
    return (values, deviation, Moments(skewness: third / count, kurtosis: fourth / count))
  }

  /// A layer's share of the loss, whose gradient is added to `gradient`.
  ///
  /// With t the standardized weights: d kurtosis / dw = 4 / (n σ) (t³ - skewness - t kurtosis), d skewness / dw = 3 / (n σ)
  /// (t² - 1 - t skewness).
  /// - Parameter layers: how many there are to average over.
  package func add(_ weights: [Float], layers: Int, to gradient: inout [Float]) -> Double {
    let (values, deviation, moments) = WeightRegularization.standardized(weights)
    guard !values.isEmpty, layers > 0 else { return 0 }
    let excess = moments.kurtosis - WeightRegularization.kurtosisTarget, share = 1 / Double(layers)
    let scale = share / (Double(weights.count) * deviation)
    let bySkewness = 6 * skewnessRate * moments.skewness * scale,
      byKurtosis = 8 * kurtosisRate * excess * scale
    for (index, t) in values.enumerated() {
      gradient[index] += Float(
        bySkewness * (t * t - 1 - t * moments.skewness)
          + byKurtosis * (t * t * t - moments.skewness - t * moments.kurtosis))
    }
    return share * (skewnessRate * moments.skewness * moments.skewness + kurtosisRate * excess * excess)
  }
}
