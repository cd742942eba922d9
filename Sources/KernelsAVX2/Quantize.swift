import CInstructions
import KernelInterface

// Quotients as a division gives them, without dividing. What is left of whole vectors takes the loops of KernelInterface.

/// 32 elements at a time.
package func quantizeRunAVX2(_ x: QuantizeArguments, _ count: Int) {
  let quantizer = Quantizer(x)
  let input = UnsafeRawPointer(x.input), output = UnsafeMutableRawPointer(x.output)
  // From four bytes of each vector in a half to eight of each vector.
  let byVector = Lanes(0, 4, 1, 5, 2, 6, 3, 7)
  let whole = count & ~31
  for first in stride(from: 0, to: whole, by: 32) {
    let reals = input + 4 &* first
    let bytes = quantizer.bytes(
      quantizer.round(load(reals)), quantizer.round(load(reals + 32)), quantizer.round(load(reals + 64)),
      quantizer.round(load(reals + 96)))
    (output + first).storeBytes(of: permute_x8(bytes, byVector), as: Lanes.self)
  }
  quantizeReals(
    x.input + whole, x.output + whole, count &- whole, scale: x.scale, zeroPoint: x.zeroPoint,
    maximum: x.maximum)
}

/// 8 pixels at a time.
package func quantizePixelsAVX2(_ x: QuantizeArguments, _ count: Int) {
  switch x.channels {
  case 1: forEachBlock(x, count, channels: 1)
  case 2: forEachBlock(x, count, channels: 2)
  case 3: forEachBlock(x, count, channels: 3)
  default: forEachBlock(x, count, channels: 4)
  }
}

@inline(__always)
private func forEachBlock(_ x: QuantizeArguments, _ count: Int, channels: Int) {
  let quantizer = Quantizer(x)
  let plane0 = UnsafeRawPointer(x.input), planeBytes = 4 &* x.planeStride
  let plane1 = plane0 + planeBytes, plane2 = plane1 + planeBytes, plane3 = plane2 + planeBytes
  // In each half, from four bytes of every channel to four pixels.
  let byPixel = Lanes(
    0x0C08_0400, 0x0D09_0501, 0x0E0A_0602, 0x0F0B_0703, 0x0C08_0400, 0x0D09_0501, 0x0E0A_0602, 0x0F0B_0703)
  let whole = count & ~7
  for first in stride(from: 0, to: whole, by: 8) {
    let offset = 4 &* first
    // Channels that round up repeat the last one.
    let v0 = quantizer.round(load(plane0 + offset))
    let v1 = channels > 1 ? quantizer.round(load(plane1 + offset)) : v0
    let v2 = channels > 2 ? quantizer.round(load(plane2 + offset)) : v1
    let v3 = channels > 3 ? quantizer.round(load(plane3 + offset)) : v2
    let pixels = look_up_bytes_x8(quantizer.bytes(v0, v1, v2, v3), byPixel)
    let target = UnsafeMutableRawPointer(x.output + first &* x.pixelStride)
    if x.pixelStride == 4 {
      target.storeBytes(of: pixels, as: Lanes.self)
    } else {
      for i in 0..<8 {
        target.storeBytes(of: pixels[i], toByteOffset: i &* x.pixelStride, as: Int32.self)
      }
    }
  }
  quantizePixels(
    x.input + whole, planeStride: x.planeStride, channels: channels, x.output + whole &* x.pixelStride,
    pixelStride: x.pixelStride, count &- whole
  ) { input, output, count in
    quantizeReals(input, output, count, scale: x.scale, zeroPoint: x.zeroPoint, maximum: x.maximum)
  }
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
  init(_ x: QuantizeArguments) {
    scale = Lanes(repeating: Int32(bitPattern: x.scale.bitPattern))
    reciprocal = Lanes(repeating: Int32(bitPattern: (1 / x.scale).bitPattern))
    limit = Lanes(repeating: Int32(bitPattern: (600 * x.scale).bitPattern))
    negativeLimit = Lanes(repeating: Int32(bitPattern: (-600 * x.scale).bitPattern))
    // 2^-60 ... 2^60: no step leaves the range of normal floats where the result is not 0.
    isOrdinary = x.scale >= 0x1p-60 && x.scale <= 0x1p60
    zeroPoint = Lanes(repeating: x.zeroPoint &* 0x0001_0001)
    maximum = Lanes(repeating: x.maximum &* 0x0101_0101)
  }

  /// The nearest integers to `x / scale`, ties to even, within ±2^31; see `Quantizer` of KernelsAVX512VNNI for the proof.
  @inline(__always)
  func round(_ x: Lanes) -> Lanes {
    guard isOrdinary else {
      let quotient = divide_floats_x8(x, scale), bound = Lanes(repeating: 0x4416_0000)  // 600
      let negativeBound = Lanes(repeating: Int32(bitPattern: 0xC416_0000))
      return round_floats_x8(maximum_floats_x8(negativeBound, minimum_floats_x8(bound, quotient)))
    }
    let bounded = maximum_floats_x8(negativeLimit, minimum_floats_x8(limit, x))
    let first = multiply_floats_x8(bounded, reciprocal)
    let second = add_product_floats_x8(subtract_product_floats_x8(first, scale, bounded), reciprocal, first)
    let quotient = add_product_floats_x8(
      subtract_product_floats_x8(second, scale, bounded), reciprocal, second)
    return round_floats_x8(quotient)
  }

  /// In each half, four clamped bytes of every vector.
  @inline(__always)
  func bytes(_ v0: Lanes, _ v1: Lanes, _ v2: Lanes, _ v3: Lanes) -> Lanes {
    let words01 = add_words_saturating_x8(pack_words_x8(v0, v1), zeroPoint)
    let words23 = add_words_saturating_x8(pack_words_x8(v2, v3), zeroPoint)
    return minimum_bytes_x8(pack_bytes_x8(words01, words23), maximum)
  }
}
