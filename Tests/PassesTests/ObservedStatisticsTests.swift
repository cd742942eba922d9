import Evaluator
import Glibc
import IR
import Support
import Testing

@testable import Passes

@Suite("Observed statistics")
struct ObservedStatisticsTests {
  private static func tensor(
    _ shape: [Int], _ order: Tensor.Order, _ value: (_ channel: Int) -> Float
  ) -> Tensor {
    let tensor = Tensor(shape, .f32, order: order), area = shape[2] * shape[3]
    for index in 0..<tensor.count {
      let channel = order == .rowMajor ? index / area % shape[1] : index % shape[1]
      tensor.pointer(Float.self)[index] = value(channel)
    }
    return tensor
  }

  /// Of a large image some values count, and of every channel as many.
  @Test(arguments: [Tensor.Order.rowMajor, .channelsLast])
  func channelsGetTheirShares(order: Tensor.Order) {
    var site = SiteStatistics()
    // Channels lie in bins of their own: 24 of them, 64 wide.
    for sample in 0..<3 {
      site.add(ObservedStatisticsTests.tensor([1, 24, 50, 50], order) { 64 * Float($0) }, first: sample)
    }
    let counts = site.histogram.occupied.map(\.count)
    #expect(counts.count == 24)
    let total = counts.reduce(0, +)
    #expect(total >= 3 * 2048 && total < 3 * 3000)
    #expect(counts.allSatisfy { abs($0 - total / 24) <= 0.02 * total / 24 })
  }

  /// One value of a large image may not be counted, but it counts as an extreme, and infinities are found.
  @Test func extremesAreThoseOfAllValues() {
    let image = ObservedStatisticsTests.tensor([1, 24, 50, 50], .channelsLast) { _ in 1 }
    image.pointer(Float.self)[31_415] = 7
    image.pointer(Float.self)[27_182] = -3
    var site = SiteStatistics()
    site.add(image)
    #expect(site.histogram.minimum == -3 && site.histogram.maximum == 7)
    image.pointer(Float.self)[31_415] = .infinity
    site.add(image)
    #expect(site.histogram.notFinite == 1 && site.histogram.maximum == 7)
  }

  /// Small ones count in full.
  @Test func momentsAreThoseOfTheValues() throws {
    for (shape, order) in [
      ([3, 11, 5, 7], Tensor.Order.rowMajor), ([3, 11, 5, 7], .channelsLast), ([3, 16, 5, 7], .channelsLast),
      ([5, 19, 1, 1], .rowMajor),
    ] {
      var random = SeededRandom(seed: 9), values = [[Float]](repeating: [], count: shape[1])
      let tensor = ObservedStatisticsTests.tensor(shape, order) { channel in
        values[channel].append(Float(random.below(1000)) / 250 + Float(channel))
        return values[channel].last ?? 0
      }
      var site = SiteStatistics()
      site.add(tensor)
      #expect(site.histogram.total == UInt64(tensor.count))
      let channels = try #require(site.channels)
      for (channel, own) in values.enumerated() {
        let mean = own.reduce(0.0) { $0 + Double($1) } / Double(own.count)
        let variance = own.reduce(0.0) { $0 + pow(Double($1) - mean, 2) } / Double(own.count)
        #expect(abs(Double(channels.means[channel]) - mean) < 1e-5)
        #expect(abs(Double(channels.deviations[channel]) - variance.squareRoot()) < 1e-4)
      }
    }
  }

  @Test func partsAddUpToTheWhole() {
    var whole = SiteStatistics(), parts = [SiteStatistics(), SiteStatistics()]
    var random = SeededRandom(seed: 11)
    for sample in 0..<6 {
      let image = ObservedStatisticsTests.tensor([1, 24, 50, 50], .channelsLast) { channel in
        Float(random.below(1000)) * Float(channel + sample)
      }
      whole.add(image, first: sample)
      parts[sample % 2].add(image, first: sample)
    }
    var sum = SiteStatistics()
    for part in parts.reversed() { sum.merge(part) }
    #expect(sum.histogram.counts == whole.histogram.counts && sum.histogram.limit == whole.histogram.limit)
    #expect(sum.averageExtremes == whole.averageExtremes)
    #expect(
      sum.channels?.means == whole.channels?.means && sum.channels?.deviations == whole.channels?.deviations)
  }
}
