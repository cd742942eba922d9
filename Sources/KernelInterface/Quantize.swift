/// Real numbers to stored integers: `clamp(roundHalfEven(x / scale) + zeroPoint)` within 0 ... maximum; NaN gives the
/// zero point.
package struct QuantizeKernels: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  /// `output[i] = q(input[i])` for `count` elements; strides and channels have no meaning.
  package let run: @Sendable (QuantizeArguments, _ count: Int) -> Void
  /// `output[i * pixelStride + c] = q(input[c * planeStride + i])` for `count` pixels of 1 to 4 channels c. Writes
  /// four bytes of every pixel; those without a channel hold anything.
  package let pixels: @Sendable (QuantizeArguments, _ count: Int) -> Void

  package init(
    _ name: StaticString, needs features: CPUFeatures,
    run: @escaping @Sendable (QuantizeArguments, Int) -> Void,
    pixels: @escaping @Sendable (QuantizeArguments, Int) -> Void
  ) {
    self.name = name
    self.features = features
    self.run = run
    self.pixels = pixels
  }
}

package struct QuantizeArguments {
  package var input: UnsafePointer<Float>
  /// Elements from a channel to the next.
  package var planeStride: Int
  /// 1 to 4.
  package var channels: Int
  package var output: UnsafeMutablePointer<UInt8>
  package var pixelStride: Int
  package var scale: Float
  package var zeroPoint: Int32
  package var maximum: Int32

  package init(
    input: UnsafePointer<Float>, planeStride: Int, channels: Int, output: UnsafeMutablePointer<UInt8>,
    pixelStride: Int, scale: Float, zeroPoint: Int32, maximum: Int32
  ) {
    self.input = input
    self.planeStride = planeStride
    self.channels = channels
    self.output = output
    self.pixelStride = pixelStride
    self.scale = scale
    self.zeroPoint = zeroPoint
    self.maximum = maximum
  }
}

// Loops that compilers vectorise by themselves, for instruction sets to compile with their own flags. They take
// numbers, since a function that other modules inline must not name this package's types.

/// Beyond +-512 only the sign matters, so numbers are cut off before they are rounded; rounding to an integer
/// is then an addition: the low bits of x + 1.5 * 2^23 are x rounded half to even.
@inlinable @inline(__always)
package func quantizeReals(
  _ input: UnsafePointer<Float>, _ output: UnsafeMutablePointer<UInt8>, _ count: Int, scale: Float,
  zeroPoint: Int32, maximum: Int32
) {
  for i in 0..<count {
    let x = input[i] / scale
    let low: Float = x > -512 ? x : (x <= -512 ? -512 : 0)  // NaN: 0
    let bounded: Float = low < 512 ? low : 512
    let rounded = Int32(bitPattern: (bounded + 12_582_912).bitPattern) &- 0x4B40_0000
    output[i] = UInt8(truncatingIfNeeded: min(max(rounded &+ zeroPoint, 0), maximum))
  }
}

/// Channel by channel into a block of bytes on the stack, by `run`, which is then interleaved. Channels that round up
/// repeat the last one.
@inlinable @inline(__always)
package func quantizePixels(
  _ input: UnsafePointer<Float>, planeStride: Int, channels: Int, _ output: UnsafeMutablePointer<UInt8>,
  pixelStride: Int, _ count: Int,
  run: (_ input: UnsafePointer<Float>, _ output: UnsafeMutablePointer<UInt8>, _ count: Int) -> Void
) {
  let block = 256  // 1 KiB in all, the most that is sure to lie on the stack
  withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4 &* block) { buffer in
    guard let bytes = buffer.baseAddress else { return }
    var first = 0
    while first < count {
      let pixels = min(block, count &- first)
      for c in 0..<4 {
        run(input + (min(c, channels &- 1) &* planeStride &+ first), bytes + c &* block, pixels)
      }
      let target = UnsafeMutableRawPointer(output + first &* pixelStride)
      for i in 0..<pixels {
        let low = UInt32(bytes[i]) | UInt32(bytes[block &+ i]) &<< 8
        let high = UInt32(bytes[2 &* block &+ i]) | UInt32(bytes[3 &* block &+ i]) &<< 8
        target.storeBytes(
          of: (low | high &<< 16).littleEndian, toByteOffset: i &* pixelStride, as: UInt32.self)
      }
      first &+= pixels
    }
  }
}
