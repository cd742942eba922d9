import Evaluator
import Glibc
import Numerics
import Support
import Testing

@testable import Passes

@Suite("Range methods")
struct RangeMethodTests {
  private static let form = QuantizationForm(.bits(4), .tensor, .asymmetric)

  /// Samples of 1,000 roughly normal values; the last of each is an outlier that grows from sample to sample.
  private static func site() -> (site: SiteStatistics, values: [Float]) {
    var random = SeededRandom(seed: 3), site = SiteStatistics(), values: [Float] = []
    for sample in 0..<8 {
      var part: [Float] = []
      for _ in 0..<999 {
        part.append((0..<6).reduce(Float(0)) { sum, _ in sum + Float(random.below(2001)) / 1000 - 1 })
      }
      part.append(20 + Float(sample))
      site.add(Tensor([1, 1000], part))
      values += part
    }
    return (site, values)
  }

  @Test func averagesAreThoseOfTheSamples() {
    let (site, values) = RangeMethodTests.site()
    let lows = (0..<8).map { values[$0 * 1000..<($0 + 1) * 1000].min() ?? 0 }
    let range = RangeMethod.average.range(site, RangeMethodTests.form, percentile: 100)
    #expect(abs(range.lowerBound - lows.reduce(0, +) / 8) < 1e-5)
    #expect(abs(range.upperBound - 23.5) < 1e-5)
  }

  @Test func averagesDoNotDependOnHowSamplesArrive() {
    let values = RangeMethodTests.site().values
    var together = SiteStatistics()
    together.add(Tensor([3, 1000], Array(values[5000...])))
    together.add(Tensor([5, 1000], Array(values[..<5000])))
    #expect(together.averageExtremes == RangeMethodTests.site().site.averageExtremes)
  }

  /// Of the same candidates no other interval has a smaller error, by a plain sum over the values.
  @Test(arguments: [(RangeMethod.mse, 2.0), (.l24, 2.4)])
  func errorIsLeast(method: RangeMethod, power: Double) {
    let (site, values) = RangeMethodTests.site(), form = RangeMethodTests.form
    func error(_ range: ClosedRange<Float>) -> Double {
      let p = AffineParameters(
        covering: range.lowerBound, range.upperBound, form: form, role: .activation)
      let stored = form.storedRange(.activation)
      return values.reduce(0.0) { $0 + pow(Double(abs($1 - p.dequantize(p.quantize($1, stored)))), power) }
    }
    let chosen = error(method.range(site, form, percentile: 100))
    let low = values.min() ?? 0, high = values.max() ?? 0
    for step in 0..<80 {
      let factor = 1 - 0.01 * Float(step)
      #expect(chosen <= error(low * factor...high * factor) * 1.02)
    }
  }

  @Test func maskedDivergenceIsThatOfNormalizedDistributions() {
    var random = SeededRandom(seed: 5)
    let bins = (0..<64).map { _ in Double(random.below(5) == 0 ? 0 : random.below(100)) }
    for threshold in [16, 24, 40, 64] {
      for buckets in [4, 8, 16] {
        // The definition, term by term: P with the tail in its last occupied bin, Q flat in each bucket over occupied bins.
        var p = Array(bins[..<threshold]), q = [Double](repeating: 0, count: threshold)
        for bucket in 0..<buckets {
          let members = (bucket * threshold / buckets..<(bucket + 1) * threshold / buckets).filter {
            bins[$0] > 0
          }
          for bin in members { q[bin] = members.reduce(0.0) { $0 + bins[$1] } / Double(members.count) }
        }
        if let last = p.lastIndex(where: { $0 > 0 }) { p[last] += bins[threshold...].reduce(0, +) }
        let sumP = p.reduce(0, +), sumQ = q.reduce(0, +)
        let expected = (0..<threshold).filter { p[$0] > 0 && q[$0] > 0 }.reduce(0.0) {
          $0 + p[$1] / sumP * log(p[$1] / sumP / (q[$1] / sumQ))
        }
        let value = maskedDivergence(bins, threshold, buckets)
        #expect(abs(value - expected) < 1e-9)
        #expect(value > -1e-12)
      }
    }
  }

  /// Half of a normal distribution, an outlier, and as many zeros as told: what a ReLU leaves.
  private static func rectified(zeros: Int) -> SiteStatistics {
    var random = SeededRandom(seed: 7), site = SiteStatistics()
    let positive = (0..<49_999).map { _ in
      abs((0..<12).reduce(Float(0)) { sum, _ in sum + Float(random.below(2001)) / 2000 - 0.5 })
    }
    let values = positive + [6] + Array(repeating: 0, count: zeros)
    site.add(Tensor([values.count / 1000, 1000], values))
    return site
  }

  /// Zeros are exact in every interval: how many there are must not narrow it.
  @Test(arguments: [RangeMethod.entropy, .maskedEntropy], [8, 4])
  func zerosDoNotNarrowTheInterval(method: RangeMethod, bits: Int) {
    let form = QuantizationForm(.bits(bits), .tensor, .asymmetric)
    let none = method.range(RangeMethodTests.rectified(zeros: 0), form, percentile: 100)
    let many = method.range(RangeMethodTests.rectified(zeros: 200_000), form, percentile: 100)
    #expect(many == none)
    #expect(many.upperBound > 2.5 && many.upperBound < 6)
  }

  /// Against the divergence of every threshold, by the definition.
  @Test(arguments: [RangeMethod.entropy, .maskedEntropy])
  func entropyIsLeast(method: RangeMethod) {
    let site = RangeMethodTests.rectified(zeros: 1000), histogram = site.histogram
    let pairs = stride(from: Histogram.half, to: 2 * Histogram.half, by: 2).map {
      Double(histogram.counts[$0] + histogram.counts[$0 + 1])
    }
    let observed = Array(pairs[...(pairs.lastIndex { $0 > 0 } ?? 0)])
    let bins = observed.indices.map { bin in
      let neighbours = [bin - 1, bin + 1].filter { observed.indices.contains($0) }.map { observed[$0] }
      return bin == observed.count - 1 ? observed[bin] : min(observed[bin], neighbours.max() ?? 0)
    }
    func divergence(_ threshold: Int) -> Double {
      var p = Array(bins[..<threshold]), q = [Double](repeating: 0, count: threshold)
      for bucket in 0..<16 {
        let members = (bucket * threshold / 16..<(bucket + 1) * threshold / 16).filter { bins[$0] > 0 }
        for bin in members { q[bin] = members.reduce(0.0) { $0 + bins[$1] } / Double(members.count) }
      }
      let last = method == .entropy ? threshold - 1 : p.lastIndex { $0 > 0 } ?? 0
      p[last] += bins[threshold...].reduce(0, +)
      let sumP = p.reduce(0, +), sumQ = q.reduce(0, +)
      return p.indices.filter { p[$0] > 0 }.reduce(0.0) {
        $0 + p[$1] / sumP * log(p[$1] / sumP / max(q[$1] / sumQ, 1e-9))
      }
    }
    let least = (16...bins.count).map(divergence).min() ?? 0
    let width = 2 * histogram.binWidth
    let chosen = method.range(site, RangeMethodTests.form, percentile: 100).upperBound / width
    // Every n-th threshold is tried.
    #expect(divergence(min(Int(chosen.rounded()), bins.count)) < least + 1e-3)
  }

  @Test(arguments: [RangeMethod.percentile, .entropy, .maskedEntropy, .mse, .l24])
  func outliersAreClipped(method: RangeMethod) {
    let range = method.range(RangeMethodTests.site().site, RangeMethodTests.form, percentile: 99.8)
    #expect(range.upperBound < 20)
    #expect(range.upperBound > 2)
  }
}
