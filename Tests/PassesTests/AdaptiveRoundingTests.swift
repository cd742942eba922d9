import Numerics
import Support
import Testing

@testable import Passes

@Suite struct AdaptiveRoundingTests {
  private let range = QuantizationForm(.bits(3), .channel, .symmetric).storedRange(.weight)
  private let parameters = AffineParameters(scale: 0.3, zeroPoint: 0)

  /// Second moments of inputs that have much in common.
  private func hessian(_ size: Int, seed: UInt64) -> [Float] {
    var random = SeededRandom(seed: seed)
    func number() -> Float { Float(2 * random.unit() - 1) }
    var sum = [Float](repeating: 0, count: size * size)
    for _ in 0..<60 {
      let common = 2 * number()
      let x = (0..<size).map { _ in common + number() }
      for i in 0..<size { for j in 0..<size { sum[i * size + j] += x[i] * x[j] } }
    }
    return sum
  }

  private func error(_ hessian: [Float], _ exact: ArraySlice<Float>, _ rounded: ArraySlice<Float>) -> Double {
    let d = zip(exact, rounded).map { Double($0 - $1) }
    return d.indices.reduce(0.0) { sum, i in
      d.indices.reduce(sum) { $0 + d[i] * Double(hessian[i * d.count + $1]) * d[$1] }
    }
  }

  /// Of all 2^8 ways to round eight weights down or up the learned one is among the best few.
  @Test func findsRoundingsNearTheBest() throws {
    let size = 8, rows = 12
    var nearestTotal = 0.0, learnedTotal = 0.0, bestTotal = 0.0
    for seed in 1...4 as ClosedRange<UInt64> {
      let metric = hessian(size, seed: seed)
      var random = SeededRandom(seed: seed &+ 40)
      let weights = (0..<rows * size).map { _ in Float(1.6 * random.unit() - 0.8) }
      var learned = weights
      let isRounded = try AdaptiveRounding().round(
        &learned, rows: rows, size: size, hessian: metric, { _ in parameters }, range)
      #expect(isRounded)
      for row in 0..<rows {
        let part = row * size..<(row + 1) * size, exact = weights[part]
        let floors = exact.map { ($0 / parameters.scale).rounded(.down) }
        for (w, floor) in zip(learned[part], floors) {
          let level = (w / parameters.scale).rounded()
          #expect(level == floor || level == floor + 1)
          #expect(parameters.dequantize(Int32(level)) == w, "off the grid")
        }
        var best = Double.infinity
        for choice in 0..<1 << size {
          let candidate = floors.enumerated().map {
            parameters.dequantize(Int32($1) + Int32(choice >> $0 & 1))
          }
          best = min(best, error(metric, exact, candidate[...]))
        }
        bestTotal += best
        learnedTotal += error(metric, exact, learned[part])
        let nearest = exact.map { parameters.dequantize(parameters.quantize($0, range)) }
        nearestTotal += error(metric, exact, nearest[...])
      }
    }
    #expect(learnedTotal < 0.5 * nearestTotal)
    #expect(learnedTotal < 1.6 * bestTotal, "\(learnedTotal) beside \(bestTotal)")
  }

  @Test func staysWithinTheRangeAndLeavesWeightsWithoutInputsAlone() throws {
    var weights: [Float] = [-5, 5, 0.9, -0.9]
    let unit: [Float] = (0..<16).map { $0 % 5 == 0 ? 1 : 0 }
    #expect(
      try AdaptiveRounding().round(&weights, rows: 1, size: 4, hessian: unit, { _ in parameters }, range))
    for weight in weights { #expect(range.contains(Int32((weight / parameters.scale).rounded()))) }
    let before = weights
    let zero = [Float](repeating: 0, count: 16)
    #expect(
      try !AdaptiveRounding().round(&weights, rows: 1, size: 4, hessian: zero, { _ in parameters }, range))
    #expect(weights == before)
  }
}
