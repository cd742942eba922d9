import KernelInterface
import Numerics

/// Windows in memory that ends, with the 64 bytes that kernels may read, at an inaccessible page.
struct PoolCase {
  static let channelCounts = [1, 4, 16, 20, 60, 64, 68, 128, 200]

  private let arguments: PoolArguments
  private let count: Int
  private let input: GuardedBuffer
  private let output: GuardedBuffer

  private init(channels: Int, rows: Int, columns: Int, count: Int, _ random: inout SeededGenerator) {
    let pixelStride = (channels + 3) / 4 * 4 + 4 * Int.random(in: 0...2, using: &random)
    let columnStride = pixelStride * Int.random(in: 1...2, using: &random)
    let windowStride = pixelStride * Int.random(in: 1...3, using: &random)
    let rowStride = columnStride * columns + windowStride * count
    let last = (rows - 1) * rowStride + (columns - 1) * columnStride + (count - 1) * windowStride + channels
    let isExtreme = Int.random(in: 0...3, using: &random) == 0
    input = GuardedBuffer(
      (0..<last + 64).map { _ -> UInt8 in isExtreme ? 255 : UInt8.random(in: 0...255, using: &random) })
    let outputStride = channels + Int.random(in: 0...8, using: &random)
    output = GuardedBuffer(bytes: (count - 1) * outputStride + channels, fill: 0xAA)
    self.count = count
    arguments = PoolArguments(
      input: input.pointer(to: UInt8.self), rows: rows, columns: columns, rowStride: rowStride,
      columnStride: columnStride, windowStride: windowStride, channels: channels,
      output: output.base.assumingMemoryBound(to: UInt8.self), outputPixelStride: outputStride)
  }

  /// How many bytes of the output differ from what `result` makes of the numbers of each window and channel.
  private func wrong(_ result: (_ numbers: [UInt8]) -> UInt8) -> Int {
    let x = arguments
    var expected = [UInt8](repeating: 0xAA, count: output.count)
    for window in 0..<count {
      for channel in 0..<x.channels {
        var numbers: [UInt8] = []
        for row in 0..<x.rows {
          for column in 0..<x.columns {
            let place = window * x.windowStride + row * x.rowStride + column * x.columnStride + channel
            numbers.append(x.input[place])
          }
        }
        expected[window * x.outputPixelStride + channel] = result(numbers)
      }
    }
    let actual = output.pointer(to: UInt8.self)
    return expected.indices.count { actual[$0] != expected[$0] }
  }

  /// How many maxima and means of a kernel differ from the formula.
  static func wrongBytes(_ kernels: PoolKernels, channels: Int) -> Int {
    var random = SeededGenerator(state: UInt64(channels)), wrong = 0
    for (rows, columns) in [(1, 1), (2, 2), (3, 3), (1, 7), (7, 7), (2, 300)] {
      for count in [1, 2, 5] {
        let maxima = PoolCase(channels: channels, rows: rows, columns: columns, count: count, &random)
        kernels.maxima(maxima.arguments, count)
        wrong += maxima.wrong { $0.max() ?? 0 }

        let means = PoolCase(channels: channels, rows: rows, columns: columns, count: count, &random)
        let minimum = Int32.random(in: 0...90, using: &random)
        let mean = MeanArguments(
          offset: Int32.random(in: 0...255, using: &random) * Int32(rows * columns),
          multiplier: Int32.random(in: 0...Int32.max, using: &random),
          shift: Int32.random(in: Bool.random(using: &random) ? 1...62 : 31...40, using: &random),
          zeroPoint: Int32.random(in: 0...255, using: &random),
          minimum: Bool.random(using: &random) ? 0 : minimum,
          maximum: Int32.random(in: 100...255, using: &random))
        kernels.means(means.arguments, mean, count)
        wrong += means.wrong { numbers in
          let sum = numbers.reduce(Int32(0)) { $0 + Int32($1) } - mean.offset
          return requantizeToByte(
            sum, mean.multiplier, mean.shift, zeroPoint: mean.zeroPoint, minimum: mean.minimum,
            maximum: mean.maximum)
        }
      }
    }
    return wrong
  }
}
