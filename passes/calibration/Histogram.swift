/// Counts of one tensor's values over any number of samples, in constant memory: `2 * half` equal bins over
/// [-limit, limit), where the limit is a power of two that doubles as needed by joining pairs of bins. Bins never depend
/// on the order of the values, so histograms merge exactly and threads do not change results. Extremes are those of all
/// values; of large tensors some are counted.
struct Histogram: Sendable {
  static let half = 4096
  private(set) var counts: [UInt64]
  private(set) var limit: Float
  private(set) var minimum = Float.infinity
  private(set) var maximum = -Float.infinity
  private(set) var total: UInt64 = 0
  /// Values that are NaN or infinite; counted, otherwise ignored.
  private(set) var notFinite: UInt64 = 0

  init() {
    counts = [UInt64](repeating: 0, count: 2 * Histogram.half)
    limit = 1.0 / 1024
  }

  var binWidth: Float { limit / Float(Histogram.half) }
  /// The middle of a bin.
  func center(_ bin: Int) -> Float { (Float(bin - Histogram.half) + 0.5) * binWidth }

  /// Counts every n-th value of every sample: n leaves about `quota` of many, and shares no divisor with their number, so
  /// that channels, rows and columns get their shares. Every sample, counted from `first`, starts elsewhere. Single values,
  /// not neighbours, which are alike: ranges depend on rare ones.
  /// - Parameter extremes: those of all values.
  mutating func add(
    _ values: UnsafeBufferPointer<Float>, _ extremes: Extremes, samples: Int = 1, first: Int = 0
  ) {
    if !extremes.areFinite { return addFinite(of: values) }
    guard extremes.low <= extremes.high else { return }
    minimum = min(minimum, extremes.low)
    maximum = max(maximum, extremes.high)
    reach(max(-extremes.low, extremes.high))
    let scale = Float(Histogram.half) / limit, offset = Float(Histogram.half)
    let length = values.count / samples, step = Histogram.step(length)
    // |value| < limit, so the index lies in 0 ..< 2 * half: adding half makes it positive and truncation floors it.
    // Neighbours often share a bin, and additions to one place wait for one another: odd ones have places of their own.
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 2 * Histogram.half) { odd in
      odd.initialize(repeating: 0)
      counts.withUnsafeMutableBufferPointer { counts in
        for sample in 0..<samples {
          var index = sample * length + (first + sample) % step
          let end = (sample + 1) * length
          total += UInt64((end - index + step - 1) / step)
          while index &+ step < end {
            counts[Int(values[index] * scale + offset)] &+= 1
            odd[Int(values[index &+ step] * scale + offset)] &+= 1
            index &+= 2 &* step
          }
          if index < end { counts[Int(values[index] * scale + offset)] &+= 1 }
        }
        for bin in counts.indices { counts[bin] &+= UInt64(odd[bin]) }
      }
    }
  }

  /// So many values of a sample are counted, or all. Ranges of a hundred samples rest on a hundred thousand values at least.
  private static let quota = 2048

  private static func step(_ length: Int) -> Int {
    var step = max(length / quota, 1)
    while !areCoprime(step, length) { step += 1 }
    return step
  }

  private static func areCoprime(_ a: Int, _ b: Int) -> Bool { b == 0 ? a == 1 : areCoprime(b, a % b) }

  private mutating func addFinite(of values: UnsafeBufferPointer<Float>) {
    let finite = values.filter(\.isFinite)
    notFinite += UInt64(values.count - finite.count)
    finite.withUnsafeBufferPointer { add($0, Passes.extremes(of: $0)) }
  }

  mutating func merge(_ other: Histogram) {
    var other = other
    reach(other.limit / 2)
    other.reach(limit / 2)
    for bin in counts.indices { counts[bin] += other.counts[bin] }
    minimum = min(minimum, other.minimum)
    maximum = max(maximum, other.maximum)
    total += other.total
    notFinite += other.notFinite
  }

  /// Doubles the limit until it exceeds `magnitude` by enough that rounding cannot reach past the last bin.
  private mutating func reach(_ magnitude: Float) {
    while magnitude * 1.0001 >= limit, limit < 0x1p120 {
      let half = Histogram.half
      var joined = [UInt64](repeating: 0, count: 2 * half)
      for bin in 0..<2 * half { joined[half / 2 + bin / 2] += counts[bin] }
      counts = joined
      limit *= 2
    }
  }

  /// The value below which the share `quantile` of all values lies.
  func quantile(_ quantile: Double) -> Float {
    var left = Double(total) * quantile
    for (bin, count) in counts.enumerated() where count > 0 {
      left -= Double(count)
      if left <= 0 { return min(max(center(bin), minimum), maximum) }
    }
    return maximum
  }

  /// The middles and counts of the bins that hold values.
  var occupied: [(center: Float, count: Double)] {
    counts.enumerated().compactMap { $1 > 0 ? (center($0), Double($1)) : nil }
  }
}
