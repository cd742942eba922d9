import Evaluator
import IR
import PassKit
import Support
import Synchronization

/// What calibration knows about one activation: its histogram and the moments of every channel (axis 1).
struct SiteStatistics: Sendable {
  var histogram = Histogram()
  /// Sums of x and x² per channel in units of 2^-40: integers, so that the order of additions cannot change them.
  private var sums: [Int128] = []
  private var squares: [Int128] = []
  private var countPerChannel = 0
  /// Sums of the samples' smallest and largest values, in the same units.
  private var minima: Int128 = 0
  private var maxima: Int128 = 0
  private var sampleCount = 0

  /// - Parameter first: the number of the tensor's first sample.
  mutating func add(_ tensor: Tensor, first: Int = 0) {
    let samples = max(tensor.shape.first ?? 1, 1)
    tensor.withUnorderedFloats { values in
      histogram.add(values, addExtremes(values, samples: samples), samples: samples, first: first)
    }
    guard tensor.shape.count >= 2 else { return }
    if sums.isEmpty {
      sums = Array(repeating: 0, count: tensor.shape[1])
      squares = sums
    }
    for (channel, own) in channelSums(tensor).enumerated() {
      sums[channel] += fixed(own.sum)
      squares[channel] += fixed(own.square)
    }
    countPerChannel += tensor.count / max(tensor.shape[1], 1)
  }
  mutating func merge(_ other: SiteStatistics) {
    if sums.isEmpty {
      sums = other.sums
      squares = other.squares
    } else {
      for channel in other.sums.indices {
        sums[channel] += other.sums[channel]
        squares[channel] += other.squares[channel]
      }
    }
    histogram.merge(other.histogram)
    countPerChannel += other.countPerChannel
    minima += other.minima
    maxima += other.maxima
    sampleCount += other.sampleCount
  }
  /// Samples follow one another in memory, whatever the order of axes inside.
  private mutating func addExtremes(_ values: UnsafeBufferPointer<Float>, samples: Int) -> Extremes {
    let length = values.count / samples
    var all = Extremes(low: .infinity, high: -.infinity, areFinite: true)
    for sample in 0..<samples {
      let own = extremes(of: UnsafeBufferPointer(rebasing: values[sample * length..<(sample + 1) * length]))
      minima += fixed(Double(own.low))
      maxima += fixed(Double(own.high))
      all = Extremes(
        low: min(all.low, own.low), high: max(all.high, own.high), areFinite: all.areFinite && own.areFinite)
    }
    sampleCount += samples
    return all
  }
  private func fixed(_ x: Double) -> Int128 {
    let scaled = x * 0x1p40
    // Most fit in a word, whose conversion is one instruction.
    if abs(scaled) < 0x1p62 { return Int128(Int64(scaled)) }
    return x.isFinite ? Int128(min(max(x, -1e24), 1e24) * 0x1p40) : 0
  }

  /// The means of the samples' smallest and largest values.
  var averageExtremes: ClosedRange<Float> {
    guard sampleCount > 0 else { return 0...0 }
    let low = Float(Double(minima) * 0x1p-40 / Double(sampleCount))
    return low...max(low, Float(Double(maxima) * 0x1p-40 / Double(sampleCount)))
  }
  /// Mean and deviation of every channel; nil without channels.
  var channels: ChannelStatistics? {
    guard countPerChannel > 0 else { return nil }
    let count = Double(countPerChannel)
    let means = sums.map { Double($0) * 0x1p-40 / count }
    let deviations = zip(squares, means).map { max(Double($0) * 0x1p-40 / count - $1 * $1, 0).squareRoot() }
    return ChannelStatistics(means: means.map { Float($0) }, deviations: deviations.map { Float($0) })
  }
}

/// Sums of x and x² of every channel (axis 1).
private func channelSums(_ tensor: Tensor) -> [(sum: Double, square: Double)] {
  let channels = tensor.shape[1]
  var result = [(sum: Double, square: Double)](repeating: (0, 0), count: channels)
  // Eight partial sums, whatever the order: one by one, each addition would wait for the last.
  func add(
    _ first: UnsafePointer<Float>, _ count: Int, every step: Int, _ use: (SIMD8<Float>, SIMD8<Float>) -> Void
  ) {
    var sum = SIMD8<Float>.zero, square = sum
    for index in 0..<count {
      let x = UnsafeRawPointer(first + index * step).loadUnaligned(as: SIMD8<Float>.self)
      sum += x
      square += x * x
    }
    use(sum, square)
  }
  guard tensor.order == .channelsLast || tensor.count == tensor.shape[0] * channels else {
    tensor.forEachChannelPiece { channel, base, count, _ in
      add(base, count / 8, every: 8) {
        result[channel].sum += Double($0.sum())
        result[channel].square += Double($1.sum())
      }
      for index in count & ~7..<count {
        result[channel].sum += Double(base[index])
        result[channel].square += Double(base[index]) * Double(base[index])
      }
    }
    return result
  }
  tensor.withUnorderedFloats { values in
    guard let base = values.baseAddress else { return }
    // So few pixels at a time that they stay in the first-level cache for all channels.
    let pixels = values.count / channels
    for first in stride(from: 0, to: pixels, by: 64) {
      let count = min(64, pixels - first)
      for channel in stride(from: 0, to: channels & ~7, by: 8) {
        add(base + first * channels + channel, count, every: channels) {
          for lane in 0..<8 {
            result[channel + lane].sum += Double($0[lane])
            result[channel + lane].square += Double($1[lane])
          }
        }
      }
      for channel in channels & ~7..<channels {
        for pixel in first..<first + count {
          let x = Double(base[pixel * channels + channel])
          result[channel].sum += x
          result[channel].square += x * x
        }
      }
    }
  }
  return result
}

/// A site's statistics, in parts of which every thread takes one that no other has: what they add up to is the same.
private final class SharedStatistics: Sendable {
  private let parts = Mutex<[SiteStatistics]>([])

  func add(_ tensor: Tensor, first: Int) {
    var part = parts.withLock { $0.popLast() } ?? SiteStatistics()
    part.add(tensor, first: first)
    parts.withLock { $0.append(part) }
  }
  var sum: SiteStatistics { parts.withLock { $0.reduce(into: SiteStatistics()) { $0.merge($1) } } }
}

/// Runs the float network on all samples and gathers statistics of the `observed` values. Memory does not grow with the
/// number of samples, and the result does not depend on the number of threads.
func observe(
  _ observed: [ValueID], in graph: Graph, _ data: any CalibrationData, _ context: PassContext
) throws -> [ValueID: SiteStatistics] {
  var shared: [SharedStatistics?] = Array(repeating: nil, count: graph.values.count)
  for value in observed { shared[value.index] = SharedStatistics() }
  let statistics = shared
  let evaluator = try Evaluator(graph, mode: .float, threads: context.threads)
  try runOnSamples(
    evaluator, graph, data, 0..<data.count, of: data.count, "calibrating", context
  ) { observation in
    guard let site = statistics[observation.value.index] else { return }
    site.add(observation.tensor, first: observation.samples.lowerBound)
  }
  return Dictionary(
    uniqueKeysWithValues: observed.compactMap { value in
      statistics[value.index].map { (value, $0.sum) }
    })
}
