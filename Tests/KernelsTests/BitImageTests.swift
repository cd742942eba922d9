import KernelInterface
import Runtime
import Testing

/// Every way to gather planes of bits gives those of the definition.
@Suite struct BitImageTests {
  static let runnable = KernelTable.bitImage.filter { CPUFeatures.host.isSuperset(of: $0.features) }

  @Test(arguments: runnable.indices, [1, 7, 8, 13, 16, 31, 32, 33, 63, 64, 65, 100, 128, 200])
  func gathersBits(kernel: Int, channels: Int) {
    let kernel = Self.runnable[kernel]
    var random = SeededGenerator(state: UInt64(channels))
    for planes in 1...4 {
      let pixels = Int.random(in: 1...9, using: &random), words = (channels + 31) / 32
      let stride = (channels + 3) / 4 * 4 + 4 * Int.random(in: 0...2, using: &random)
      let bytes = (pixels - 1) * stride + channels
      let source = (0..<bytes).map { _ in UInt8.random(in: 0...255, using: &random) }
      var expected = [UInt32](repeating: 0, count: pixels * planes * words)
      for pixel in 0..<pixels {
        for plane in 0..<planes {
          for channel in 0..<channels where source[pixel * stride + channel] >> UInt8(plane) & 1 == 1 {
            expected[(pixel * planes + plane) * words + channel / 32] |= 1 << UInt32(channel % 32)
          }
        }
      }
      let input = GuardedBuffer(source + [UInt8](repeating: 0xFF, count: 64))
      let output = GuardedBuffer(bytes: 4 * expected.count, fill: 0xA5)
      let target = output.base.assumingMemoryBound(to: UInt32.self)
      kernel.function(
        BitImageArguments(
          source: input.pointer(to: UInt8.self), sourceStride: stride, pixels: pixels, channels: channels,
          planes: planes, target: target))
      #expect(Array(UnsafeBufferPointer(start: target, count: expected.count)) == expected)
      withExtendedLifetime((input, output)) {}
    }
  }
}
