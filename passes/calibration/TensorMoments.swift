import Evaluator

/// Sums of x and x² of every channel (axis 1) and the extremes of every sample.
struct TensorMoments {
  private(set) var channels: [(sum: Double, square: Double)] = []
  private(set) var samples: [Extremes]

  init(_ tensor: Tensor) {
    let count = max(tensor.shape.first ?? 1, 1)
    samples = Array(repeating: .none, count: count)
    if tensor.shape.count >= 2 { channels = Array(repeating: (0, 0), count: tensor.shape[1]) }
    if tensor.order == .channelsLast, tensor.count > 0, channels.count % 8 == 0 {
      addBoth(tensor)
    } else {
      addExtremes(tensor)
      if !channels.isEmpty { addChannels(tensor) }
    }
  }

  var all: Extremes {
    samples.reduce(.none) {
      Extremes(low: min($0.low, $1.low), high: max($0.high, $1.high), areFinite: $0.areFinite && $1.areFinite)
    }
  }

  /// One pass where channels follow one another: eight of them at a time, and so few pixels that they stay in the
  /// first-level cache for all channels.
  private mutating func addBoth(_ tensor: Tensor) {
    let width = channels.count, pixels = tensor.count / samples.count / width, row = 4 * width
    tensor.withUnorderedFloats { values in
      guard let base = UnsafeRawPointer(values.baseAddress) else { return }
      channels.withUnsafeMutableBufferPointer { channels in
        for sample in samples.indices {
          var low = Lanes(repeating: .infinity), high = -low, mark = Lanes.zero
          for first in stride(from: sample * pixels, to: (sample + 1) * pixels, by: 64) {
            let count = min(64, (sample + 1) * pixels - first)
            for channel in stride(from: 0, to: width, by: 8) {
              var sum = Lanes.zero, square = sum
              var place = base + 4 * (first * width + channel)
              let end = place + 4 * count * width
              while place < end {
                let x = place.loadUnaligned(as: Lanes.self)
                sum += x
                square += x * x
                low.replace(with: x, where: x .< low)
                high.replace(with: x, where: x .> high)
                place += row
              }
              mark += square * 0
              for lane in 0..<8 {
                channels[channel + lane].sum += Double(sum[lane])
                channels[channel + lane].square += Double(square[lane])
              }
            }
          }
          // Squares of finite values may be infinite: who cares is told the truth one by one.
          samples[sample] = Extremes(low: low.min(), high: high.max(), areFinite: mark.sum() == 0)
        }
      }
    }
  }

  private mutating func addExtremes(_ tensor: Tensor) {
    tensor.withUnorderedFloats { values in
      // Samples follow one another in memory, whatever the order of axes inside.
      let length = values.count / samples.count
      for sample in samples.indices {
        samples[sample] = extremes(
          of: UnsafeBufferPointer(rebasing: values[sample * length..<(sample + 1) * length]))
      }
    }
  }

  private mutating func addChannels(_ tensor: Tensor) {
    tensor.forEachChannelPiece { channel, base, count, step in
      guard step == 1 else {
        for index in 0..<count { add(Double(base[index * step]), to: channel) }
        return
      }
      // Eight partial sums: one by one, each addition would wait for the last.
      var sum = Lanes.zero, square = sum
      for index in stride(from: 0, to: count & ~7, by: 8) {
        let x = UnsafeRawPointer(base + index).loadUnaligned(as: Lanes.self)
        sum += x
        square += x * x
      }
      channels[channel].sum += Double(sum.sum())
      channels[channel].square += Double(square.sum())
      for index in count & ~7..<count { add(Double(base[index]), to: channel) }
    }
  }
  private mutating func add(_ x: Double, to channel: Int) {
    channels[channel].sum += x
    channels[channel].square += x * x
  }
}

private typealias Lanes = SIMD8<Float>

/// The smallest and largest of some values; infinities in the wrong order without any. NaN is neither.
struct Extremes: Sendable {
  var low: Float
  var high: Float
  /// Whether all values are.
  var areFinite: Bool
  static let none = Extremes(low: .infinity, high: -.infinity, areFinite: true)
}

/// Eight at a time: one by one, each comparison would wait for the last.
func extremes(of values: UnsafeBufferPointer<Float>) -> Extremes {
  var low = SIMD8<Float>(repeating: .infinity), high = -low, mark = SIMD8<Float>.zero
  let whole = values.count & ~7, start = UnsafeRawPointer(values.baseAddress)
  for index in stride(from: 0, to: whole, by: 8) {
    guard let x = start?.loadUnaligned(fromByteOffset: 4 * index, as: SIMD8<Float>.self) else { break }
    low.replace(with: x, where: x .< low)
    high.replace(with: x, where: x .> high)
    mark += x * 0  // NaN where a value is not finite
  }
  var result = Extremes(low: low.min(), high: high.max(), areFinite: mark.sum() == 0)
  for value in values[whole...] {
    result.low = value < result.low ? value : result.low
    result.high = value > result.high ? value : result.high
    result.areFinite = result.areFinite && value.isFinite
  }
  return result
}
