import Glibc
import Support
import Testing
import Trainer

@Suite("Regularization of weight distributions")
struct WeightRegularizationTests {
  private func loss(_ weights: [Float], _ regularization: WeightRegularization) -> Double {
    var unused = [Float](repeating: 0, count: weights.count)
    return regularization.add(weights, layers: 3, to: &unused)
  }

  @Test func gradientsAreThoseOfDifferences() {
    var random = SeededRandom(seed: 7)
    let regularization = WeightRegularization(skewnessRate: 1, kurtosisRate: 0.5)
    let weights = (0..<40).map { _ in Float(random.unit() * random.unit() * 2 - 0.3) }
    var gradient = [Float](repeating: 0, count: weights.count)
    _ = regularization.add(weights, layers: 3, to: &gradient)
    for index in weights.indices {
      var above = weights, below = weights
      above[index] += 1e-3
      below[index] -= 1e-3
      let slope = (loss(above, regularization) - loss(below, regularization)) / 2e-3
      #expect(abs(slope - Double(gradient[index])) < 1e-3 * max(1, abs(slope)))
    }
  }

  @Test func momentsOfKnownDistributions() {
    let uniform = (0..<10_000).map { Float($0) / 10_000 }
    let flat = WeightRegularization.moments(uniform)
    #expect(abs(flat.kurtosis - 1.8) < 1e-3 && abs(flat.skewness) < 1e-6)
    // Of an exponential distribution: 2 and 9.
    var random = SeededRandom(seed: 1)
    let exponential = (0..<400_000).map { _ in -log(Float(1 - random.unit())) }
    let steep = WeightRegularization.moments(exponential)
    #expect(abs(steep.skewness - 2) < 0.1 && abs(steep.kurtosis - 9) < 1)
    #expect(WeightRegularization.moments([3, 3, 3]).kurtosis == WeightRegularization.kurtosisTarget)
  }

  @Test func descentMakesWeightsFlatter() {
    var random = SeededRandom(seed: 3)
    // Sums of eight: close to normal, kurtosis 2.85.
    var weights = (0..<2000).map { _ in
      (0..<8).reduce(Float(0)) { sum, _ in sum + Float(random.unit()) - 0.5 }
    }
    let before = WeightRegularization.moments(weights).kurtosis
    for _ in 0..<1000 {
      var gradient = [Float](repeating: 0, count: weights.count)
      _ = WeightRegularization().add(weights, layers: 1, to: &gradient)
      for index in weights.indices { weights[index] -= 1000 * gradient[index] }
    }
    let after = WeightRegularization.moments(weights).kurtosis
    #expect(before > 2.6 && after < 2.1, "\(before) -> \(after)")
  }
}
