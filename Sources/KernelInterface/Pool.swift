import Numerics

/// Means and maxima over windows of an image's pixels.
package struct PoolKernels: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  /// `count` windows in a row.
  package let means: @Sendable (PoolArguments, MeanArguments, _ count: Int) -> Void
  package let maxima: @Sendable (PoolArguments, _ count: Int) -> Void

  package init(
    _ name: StaticString, needs features: CPUFeatures,
    means: @escaping @Sendable (PoolArguments, MeanArguments, Int) -> Void,
    maxima: @escaping @Sendable (PoolArguments, Int) -> Void
  ) {
    self.name = name
    self.features = features
    self.means = means
    self.maxima = maxima
  }
}

/// Windows that lie in the image with all their pixels. Window i starts at `input + i * windowStride`; its pixels are
/// `rows` times `columns`, `rowStride` and `columnStride` bytes apart; its results are `channels` bytes at
/// `output + i * outputPixelStride`.
///
/// - Requires: rows, columns and channels of 1 or more.
/// - Memory: kernels read at most 64 bytes behind the last channel.
package struct PoolArguments {
  package var input: UnsafePointer<UInt8>
  package var rows: Int
  package var columns: Int
  package var rowStride: Int
  package var columnStride: Int
  package var windowStride: Int
  package var channels: Int
  package var output: UnsafeMutablePointer<UInt8>
  package var outputPixelStride: Int

  package init(
    input: UnsafePointer<UInt8>, rows: Int, columns: Int, rowStride: Int, columnStride: Int,
    windowStride: Int,
    channels: Int, output: UnsafeMutablePointer<UInt8>, outputPixelStride: Int
  ) {
    self.input = input
    self.rows = rows
    self.columns = columns
    self.rowStride = rowStride
    self.columnStride = columnStride
    self.windowStride = windowStride
    self.channels = channels
    self.output = output
    self.outputPixelStride = outputPixelStride
  }
}

/// What becomes of a window's sum: `clamp(zeroPoint + requantize(sum - offset, multiplier, shift))`, wrapping.
package struct MeanArguments {
  package var offset: Int32
  package var multiplier: Int32
  package var shift: Int32
  package var zeroPoint: Int32
  package var minimum: Int32
  package var maximum: Int32

  package init(
    offset: Int32, multiplier: Int32, shift: Int32, zeroPoint: Int32, minimum: Int32, maximum: Int32
  ) {
    self.offset = offset
    self.multiplier = multiplier
    self.shift = shift
    self.zeroPoint = zeroPoint
    self.minimum = minimum
    self.maximum = maximum
  }
}

// Loops that compilers vectorise by themselves, for instruction sets to compile with their own flags. They take
// numbers, since a function that other modules inline must not name this package's types.

/// Adds up to 64 channels of a window's pixels.
@inlinable @inline(__always)
package func sumWindow(
  _ window: UnsafePointer<UInt8>, rows: Int, columns: Int, rowStride: Int, columnStride: Int, channels: Int,
  into sums: UnsafeMutablePointer<Int32>
) {
  for c in 0..<channels { sums[c] = 0 }
  for row in 0..<rows {
    for column in 0..<columns {
      let x = window + (row &* rowStride &+ column &* columnStride)
      for c in 0..<channels { sums[c] &+= Int32(x[c]) }
    }
  }
}

@inlinable @inline(__always)
package func meansOfSums(
  _ sums: UnsafePointer<Int32>, _ output: UnsafeMutablePointer<UInt8>, _ count: Int, offset: Int32,
  multiplier: Int32, shift: Int32, zeroPoint: Int32, minimum: Int32, maximum: Int32
) {
  for c in 0..<count {
    output[c] = requantizeToByte(
      sums[c] &- offset, multiplier, shift, zeroPoint: zeroPoint, minimum: minimum, maximum: maximum)
  }
}

/// The largest of each channel.
@inlinable @inline(__always)
package func maximumOfWindow(
  _ window: UnsafePointer<UInt8>, rows: Int, columns: Int, rowStride: Int, columnStride: Int, channels: Int,
  into output: UnsafeMutablePointer<UInt8>
) {
  for c in 0..<channels { output[c] = window[c] }
  for row in 0..<rows {
    for column in 0..<columns {
      let x = window + (row &* rowStride &+ column &* columnStride)
      for c in 0..<channels { output[c] = max(output[c], x[c]) }
    }
  }
}
