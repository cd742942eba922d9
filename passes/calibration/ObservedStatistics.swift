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

  mutating func add(_ tensor: Tensor) {
    tensor.withUnorderedFloats { values in
      histogram.add(values, addExtremes(values, samples: max(tensor.shape.first ?? 1, 1)))
    }
    guard tensor.shape.count >= 2 else { return }
    if sums.isEmpty {
      sums = Array(repeating: 0, count: tensor.shape[1])
      squares = sums
    }
    var partials = [(Double, Double)](repeating: (0, 0), count: sums.count)
    tensor.forEachChannelPiece { channel, base, count, stride in
      // Eight partial sums, whatever the stride: one by one, each addition would wait for the last.
      var sum = SIMD8<Float>.zero, square = sum, x = sum
      for first in Swift.stride(from: 0, to: count, by: 8) {
        if stride == 1 && first + 8 <= count {
          x = UnsafeRawPointer(base + first).loadUnaligned(as: SIMD8<Float>.self)
        } else {
          for lane in 0..<8 { x[lane] = first + lane < count ? base[(first + lane) * stride] : 0 }
        }
        sum += x
        square += x * x
      }
      partials[channel].0 += Double(sum.sum())
      partials[channel].1 += Double(square.sum())
    }
    for channel in sums.indices {
      sums[channel] += fixed(partials[channel].0)
      squares[channel] += fixed(partials[channel].1)
    }
    countPerChannel += tensor.count / max(tensor.shape[1], 1)
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
  private func fixed(_ x: Double) -> Int128 { x.isFinite ? Int128(min(max(x, -1e24), 1e24) * 0x1p40) : 0 }

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

/// A site's statistics behind a lock: threads seldom meet at one site.
private final class SharedStatistics: Sendable {
  let state = Mutex(SiteStatistics())
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
    site.state.withLock { $0.add(observation.tensor) }
  }
  return Dictionary(
    uniqueKeysWithValues: observed.compactMap { value in
      statistics[value.index].map { (value, $0.state.withLock { $0 }) }
    })
}
