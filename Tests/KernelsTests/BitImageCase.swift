import KernelInterface

/// Planes of bits, with guard pages around all operands.
enum BitImageCase {
  static let channelCounts = [1, 7, 8, 13, 16, 31, 32, 33, 63, 64, 65, 100, 128, 200]

  /// How many words of a kernel differ from the definition.
  static func wrongWords(_ kernel: BitImageKernel, channels: Int) -> Int {
    var random = SeededGenerator(state: UInt64(channels)), wrong = 0
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
      wrong += expected.indices.count { target[$0] != expected[$0] }
      withExtendedLifetime((input, output)) {}
    }
    return wrong
  }
}
