import CInstructions
import KernelInterface

// Quotients as a division gives them, without dividing.

/// 64 elements at a time.
package func quantizeRunAVX512VNNI(_ arguments: QuantizeArguments, _ count: Int) {
  let quantizer = Quantizer(arguments)
  let input = UnsafeRawPointer(arguments.input), output = UnsafeMutableRawPointer(arguments.output)
  // From four bytes of each vector in a quarter to sixteen of each vector.
  let byVector = Lanes(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
  var first = 0
  while first < count {
    let left = count &- first, x = input + 4 &* first
    let bytes = quantizer.bytes(
      quantizer.round(load_lanes_x16(x, laneMask(left))),
      quantizer.round(load_lanes_x16(x + 64, laneMask(left &- 16))),
      quantizer.round(load_lanes_x16(x + 128, laneMask(left &- 32))),
      quantizer.round(load_lanes_x16(x + 192, laneMask(left &- 48))))
    let mask: UInt64 = left >= 64 ? ~0 : (1 &<< UInt64(left)) &- 1
    store_bytes_x16(output + first, mask, permute_x16(bytes, byVector))
    first &+= 64
  }
}

/// 16 pixels at a time.
package func quantizePixelsAVX512VNNI(_ arguments: QuantizeArguments, _ count: Int) {
  switch arguments.channels {
  case 1: forEachBlock(arguments, count, channels: 1)
  case 2: forEachBlock(arguments, count, channels: 2)
  case 3: forEachBlock(arguments, count, channels: 3)
  default: forEachBlock(arguments, count, channels: 4)
  }
}

@inline(__always)
private func forEachBlock(_ arguments: QuantizeArguments, _ count: Int, channels: Int) {
  let quantizer = Quantizer(arguments)
  let plane0 = UnsafeRawPointer(arguments.input), planeBytes = 4 &* arguments.planeStride
  let plane1 = plane0 + planeBytes, plane2 = plane1 + planeBytes, plane3 = plane2 + planeBytes
  // In each quarter, from four bytes of every channel to four pixels.
  let byPixel = Lanes(
    lowHalf: SIMD8(lowHalf: pixelOrder, highHalf: pixelOrder),
    highHalf: SIMD8(lowHalf: pixelOrder, highHalf: pixelOrder))
  var first = 0
  while first < count {
    let left = count &- first, mask = laneMask(left), offset = 4 &* first
    // Channels that round up repeat the last one.
    let v0 = quantizer.round(load_lanes_x16(plane0 + offset, mask))
    let v1 = channels > 1 ? quantizer.round(load_lanes_x16(plane1 + offset, mask)) : v0
    let v2 = channels > 2 ? quantizer.round(load_lanes_x16(plane2 + offset, mask)) : v1
    let v3 = channels > 3 ? quantizer.round(load_lanes_x16(plane3 + offset, mask)) : v2
    let pixels = look_up_bytes_x16(quantizer.bytes(v0, v1, v2, v3), byPixel)
    let target = UnsafeMutableRawPointer(arguments.output + first &* arguments.pixelStride)
    if arguments.pixelStride == 4 {
      let bytes: UInt64 = left >= 16 ? ~0 : (1 &<< UInt64(4 &* left)) &- 1
      store_bytes_x16(target, bytes, pixels)
    } else {
      for i in 0..<min(left, 16) {
        target.storeBytes(of: pixels[i], toByteOffset: i &* arguments.pixelStride, as: Int32.self)
      }
    }
    first &+= 16
  }
}

private let pixelOrder = SIMD4<Int32>(0x0C08_0400, 0x0D09_0501, 0x0E0A_0602, 0x0F0B_0703)

@inline(__always)
private func laneMask(_ count: Int) -> UInt32 {
  count >= 16 ? 0xFFFF : count <= 0 ? 0 : (1 &<< UInt32(truncatingIfNeeded: count)) &- 1
}

/// Quotients of floats, rounded twice as the definition says: to a float, and to an integer.
private struct Quantizer {
  private let scale: Lanes
  private let reciprocal: Lanes
  /// Numbers beyond have the same sign and are clamped too; it keeps the steps of the division finite.
  private let limit: Lanes
  private let negativeLimit: Lanes
  private let isOrdinary: Bool
  private let zeroPoint: Lanes
  private let maximum: Lanes

  @inline(__always)
  init(_ arguments: QuantizeArguments) {
    scale = Lanes(repeating: Int32(bitPattern: arguments.scale.bitPattern))
    reciprocal = Lanes(repeating: Int32(bitPattern: (1 / arguments.scale).bitPattern))
    limit = Lanes(repeating: Int32(bitPattern: (600 * arguments.scale).bitPattern))
    negativeLimit = Lanes(repeating: Int32(bitPattern: (-600 * arguments.scale).bitPattern))
    // 2^-60 ... 2^60: no step leaves the range of normal floats where the result is not 0.
    isOrdinary = arguments.scale >= 0x1p-60 && arguments.scale <= 0x1p60
    zeroPoint = Lanes(repeating: arguments.zeroPoint &* 0x0001_0001)
    maximum = Lanes(repeating: arguments.maximum &* 0x0101_0101)
  }

  /// The nearest integers to `x / scale`, ties to even, within ±2^31.
  ///
  /// With y = 1 / scale, rounded, x y is within two units in the last place of the quotient, one correction takes it
  /// within one, and by Markstein's theorem the next one gives the correctly rounded quotient (Handbook of
  /// Floating-Point Arithmetic, 4.7): the bits of a division.
  @inline(__always)
  func round(_ x: Lanes) -> Lanes {
    guard isOrdinary else {
      let quotient = divide_floats_x16(x, scale), bound = Lanes(repeating: 0x4416_0000)  // 600
      let negativeBound = Lanes(repeating: Int32(bitPattern: 0xC416_0000))
      return round_floats_x16(maximum_floats_x16(negativeBound, minimum_floats_x16(bound, quotient)))
    }
    let bounded = maximum_floats_x16(negativeLimit, minimum_floats_x16(limit, x))
    let first = multiply_floats_x16(bounded, reciprocal)
    let second = add_product_floats_x16(
      subtract_product_floats_x16(first, scale, bounded), reciprocal, first)
    let quotient = add_product_floats_x16(
      subtract_product_floats_x16(second, scale, bounded), reciprocal, second)
    return round_floats_x16(quotient)
  }

  /// In each quarter, four clamped bytes of every vector.
  @inline(__always)
  func bytes(_ v0: Lanes, _ v1: Lanes, _ v2: Lanes, _ v3: Lanes) -> Lanes {
    let words01 = add_words_x16(pack_words_x16(v0, v1), zeroPoint)
    let words23 = add_words_x16(pack_words_x16(v2, v3), zeroPoint)
    return minimum_bytes_x16(pack_bytes_x16(words01, words23), maximum)
  }
}
