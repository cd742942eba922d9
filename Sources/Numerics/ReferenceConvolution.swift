/// The sizes of a convolution of one sample, row-major: x [channels, height, width] to y [outputs, rows, columns].
package struct ReferenceConvolution {
  package var channels: Int
  package var height: Int
  package var width: Int
  package var outputs: Int
  package var rows: Int
  package var columns: Int
  package var groups = 1
  package var kernel = (height: 1, width: 1)
  package var stride = (vertical: 1, horizontal: 1)
  package var dilation = (vertical: 1, horizontal: 1)
  package var padding = (top: 0, left: 0)
  package var inputZeroPoint: UInt8 = 0
  package var outputZeroPoint: Int32 = 0
  package var minimum: Int32 = 0
  package var maximum: Int32 = 255

  package init(channels: Int, height: Int, width: Int, outputs: Int, rows: Int, columns: Int) {
    self.channels = channels
    self.height = height
    self.width = width
    self.outputs = outputs
    self.rows = rows
    self.columns = columns
  }

  /// Weights of one output channel.
  package var rowLength: Int { channels / groups * kernel.height * kernel.width }

  /// The definition of integer convolution, for one sample:
  ///
  ///     y[o] = clamp(zeroPoint + requantize(bias[o] + Σ x * w, multiplier[o], shift[o]))      (sums wrap mod 2^32)
  ///
  /// where x outside the image is its zero point, and `bias` holds `-zeroPoint * Σ w`. Every output pixel's window is
  /// laid out once in the order of the weights [outputs, channels / groups, kh, kw], so that each sum is one loop.
  ///
  /// - Requires: groups divides channels and outputs; the operands have the sizes named here; 1 <= shift <= 62.
  package func run(
    _ x: UnsafePointer<UInt8>, weights: UnsafePointer<Int16>, bias: UnsafePointer<Int32>,
    multiplier: UnsafePointer<Int32>, shift: UnsafePointer<Int32>, to y: UnsafeMutablePointer<UInt8>
  ) {
    let taps = kernel.height * kernel.width, length = rowLength, groupOutputs = outputs / groups
    let area = height * width, outputArea = rows * columns
    withUnsafeTemporaryAllocation(of: Int.self, capacity: taps) { positions in
      withUnsafeTemporaryAllocation(of: Int16.self, capacity: channels * taps) { window in
        for pixel in 0..<outputArea {
          locateTaps(row: pixel / columns, column: pixel % columns, positions)
          for channel in 0..<channels {
            let plane = x + channel &* area
            for tap in 0..<taps {
              let position = positions[tap]
              window[channel &* taps &+ tap] = Int16(position >= 0 ? plane[position] : inputZeroPoint)
            }
          }
          for output in 0..<outputs {
            let first = output / groupOutputs &* length, row = weights + output &* length
            var accumulator = bias[output]
            for k in 0..<length { accumulator &+= Int32(window[first &+ k]) &* Int32(row[k]) }
            y[output &* outputArea &+ pixel] = requantizeToByte(
              accumulator, multiplier[output], shift[output], zeroPoint: outputZeroPoint, minimum: minimum,
              maximum: maximum)
          }
        }
      }
    }
  }

  /// Where each tap of an output pixel's window lies in a channel's plane, or -1 outside the image.
  private func locateTaps(row: Int, column: Int, _ positions: UnsafeMutableBufferPointer<Int>) {
    var tap = 0
    for i in 0..<kernel.height {
      let h = row * stride.vertical - padding.top + i * dilation.vertical
      for j in 0..<kernel.width {
        let w = column * stride.horizontal - padding.left + j * dilation.horizontal
        positions[tap] = h >= 0 && h < height && w >= 0 && w < width ? h * width + w : -1
        tap += 1
      }
    }
  }
}

/// The definition of the last product of a network, whose results leave the integers, for one sample:
/// `y[o] = scale[o] * (bias[o] + Σ x * w)`, the sum exact in 32 bits, one rounding to float and one of the product.
package func referenceProduct(
  _ x: UnsafePointer<UInt8>, depth: Int, weights: UnsafePointer<Int16>, outputs: Int,
  bias: UnsafePointer<Int32>,
  scale: UnsafePointer<Float>, to y: UnsafeMutablePointer<Float>
) {
  for output in 0..<outputs {
    let row = weights + output &* depth
    var accumulator = bias[output]
    for k in 0..<depth { accumulator &+= Int32(x[k]) &* Int32(row[k]) }
    y[output] = scale[output] * Float(accumulator)
  }
}
