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
    let moments = TensorMoments(tensor)
    for sample in moments.samples {
      minima += fixed(Double(sample.low))
      maxima += fixed(Double(sample.high))
    }
    sampleCount += moments.samples.count
    tensor.withUnorderedFloats { values in
      histogram.add(values, moments.all, samples: moments.samples.count, first: first)
    }
    guard tensor.shape.count >= 2 else { return }
    if sums.isEmpty {
      sums = Array(repeating: 0, count: tensor.shape[1])
      squares = sums
    }
    for (channel, own) in moments.channels.enumerated() {
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
