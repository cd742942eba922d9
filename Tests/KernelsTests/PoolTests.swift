import KernelInterface
import Numerics
import Runtime
import Testing

/// Means and maxima over windows by every kernel of the list, one scalar at a time on the other side.
@Suite struct PoolTests {
  static let runnable = KernelTable.pool.filter { CPUFeatures.host.isSuperset(of: $0.features) }

  /// Windows in memory that ends, with the 64 bytes that kernels may read, at an inaccessible page.
  private struct Case {
    var arguments: PoolArguments
    let count: Int
    let input: GuardedBuffer
    let output: GuardedBuffer

    init(channels: Int, rows: Int, columns: Int, count: Int, _ random: inout SeededGenerator) {
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

    func expected(_ result: ([UInt8]) -> UInt8) -> [UInt8] {
      var bytes = [UInt8](repeating: 0xAA, count: output.count)
      for window in 0..<count {
        for channel in 0..<arguments.channels {
          var values: [UInt8] = []
          for row in 0..<arguments.rows {
            for column in 0..<arguments.columns {
              values.append(
                arguments.input[
                  window * arguments.windowStride + row * arguments.rowStride + column
                    * arguments.columnStride
                    + channel])
            }
          }
          bytes[window * arguments.outputPixelStride + channel] = result(values)
        }
      }
      return bytes
    }
    var actual: [UInt8] {
      Array(UnsafeBufferPointer(start: output.pointer(to: UInt8.self), count: output.count))
    }
  }

  @Test(arguments: runnable.indices, [1, 4, 16, 20, 60, 64, 68, 128, 200])
  func givesTheBitsOfTheFormula(kernels: Int, channels: Int) {
    let kernels = Self.runnable[kernels]
    var random = SeededGenerator(state: UInt64(channels))
    for (rows, columns) in [(1, 1), (2, 2), (3, 3), (1, 7), (7, 7), (2, 300)] {
      for count in [1, 2, 5] {
        let windows = Case(channels: channels, rows: rows, columns: columns, count: count, &random)
        kernels.maxima(windows.arguments, count)
        #expect(windows.actual == windows.expected { $0.max() ?? 0 }, "\(kernels.name), maxima")

        let means = Case(channels: channels, rows: rows, columns: columns, count: count, &random)
        let clamp = ElementwiseTests.clamp(&random)
        let mean = MeanArguments(
          offset: Int32.random(in: 0...255, using: &random) * Int32(rows * columns),
          multiplier: Int32.random(in: 0...Int32.max, using: &random),
          shift: Int32.random(in: Bool.random(using: &random) ? 1...62 : 31...40, using: &random),
          zeroPoint: clamp.zeroPoint, minimum: clamp.minimum, maximum: clamp.maximum)
        kernels.means(means.arguments, mean, count)
        let expected = means.expected { values in
          let sum = values.reduce(Int32(0)) { $0 + Int32($1) } - mean.offset
          return requantizeToByte(
            sum, mean.multiplier, mean.shift, zeroPoint: mean.zeroPoint, minimum: mean.minimum,
            maximum: mean.maximum)
        }
        #expect(means.actual == expected, "\(kernels.name), means of \(rows) x \(columns)")
      }
    }
  }
}
