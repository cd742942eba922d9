/// The one written integer semantics of qcc: every evaluator, kernel and instruction set gives these bits.

/// A positive real factor as `multiplier * 2^-shift`, with a 31-bit multiplier.
package struct FixedPointMultiplier: Hashable, Sendable {
  /// 0, or in 2^30 ..< 2^31 unless the factor is too small for `shift <= 62`.
  package var multiplier: Int32
  /// 1 ... 62.
  package var shift: Int32

  package init(multiplier: Int32, shift: Int32) {
    self.multiplier = multiplier
    self.shift = shift
  }

  /// The nearest representable factor, or nil when `factor` is negative, not finite or at least 2^30.
  package init?(_ factor: Double) {
    guard factor >= 0, factor < 1_073_741_824 else { return nil }
    guard factor > 0 else {
      self.init(multiplier: 0, shift: 1)
      return
    }
    var shift: Int32 = 30 - Int32(factor.exponent)  // factor * 2^shift is in 2^30 ..< 2^31
    if shift > 62 { shift = 62 }
    var scaled = scaledByPowerOfTwo(factor, shift).rounded(.toNearestOrEven)
    if scaled >= 2_147_483_648 {
      scaled /= 2
      shift -= 1
    }
    guard shift >= 1 else { return nil }
    self.init(multiplier: Int32(scaled), shift: shift)
  }

  /// The nearest factor with an odd 24-bit multiplier (times 2^7, so that the shift is that of 31 bits): off by at
  /// most 2^-23 of itself, and what `fusedScale` needs. Nil as above.
  package init?(fused factor: Double) {
    guard let nearest = FixedPointMultiplier(factor) else { return nil }
    let upper = nearest.multiplier == 0 ? 0 : nearest.multiplier >> 7 | 1
    self.init(multiplier: upper << 7, shift: nearest.shift)
  }

  /// The factor as a float, when one fused multiply-add rounds every accumulator as `requantize` does:
  ///
  ///     zeroPoint + requantize(a, multiplier, shift)
  ///       == bits(fma(Float(a), fusedScale, 1.5 * 2^23 + zeroPoint)) - bits(1.5 * 2^23)
  ///
  /// after both are clamped to 0 ... 255, for |a| <= `largestAccumulator` and zero points of 0 ... 255. Nil when that
  /// is not proven. The proof: an odd multiplier m of 24 bits is a float, and fma rounds a m / 2^s + c once, to an
  /// integer as long as the sum stays within 2^23 ... 2^24. Ties, which the two break differently, would need
  /// 2^(s-1) to divide a, so that |a m / 2^s| >= m / 2 >= 2^22. Beyond 2^24 the conversion of a is inexact, but
  /// monotonic: both sides are clamped when 2^24 times the factor exceeds 2^10.
  package func fusedScale(largestAccumulator: Int64) -> Float? {
    let odd = multiplier >> 7
    guard multiplier >= 0, multiplier & 0x7F == 0, (1...62).contains(shift) else { return nil }
    if odd == 0 { return 0 }
    guard odd & 1 == 1, odd >= 1 << 23 else { return nil }
    let factor = value
    guard Double(largestAccumulator) * factor < 4_194_304 - 1024 else { return nil }
    guard largestAccumulator <= 1 << 24 || factor * 16_777_216 >= 1024 else { return nil }
    return Float(factor)
  }

  package var value: Double { scaledByPowerOfTwo(Double(multiplier), -shift) }
}

/// `x * 2^exponent`, exact, without the C mathematics library.
@inline(__always)
func scaledByPowerOfTwo(_ x: Double, _ exponent: Int32) -> Double {
  x * Double(sign: .plus, exponent: Int(exponent), significand: 1)
}

/// Single-rounding requantization: `(accumulator * multiplier + 2^(shift-1)) >> shift` in 64 bits, ties upward.
/// (The 31-bit multiplier keeps the product below 2^62.)
/// - Requires: 1 <= shift <= 62.
@inlinable @inline(__always)
package func requantize(_ accumulator: Int32, _ multiplier: Int32, _ shift: Int32) -> Int32 {
  let wide = Int64(accumulator) &* Int64(multiplier) &+ (1 &<< Int64(shift &- 1))
  let result = wide &>> Int64(shift)
  return Int32(truncatingIfNeeded: min(max(result, Int64(Int32.min / 2)), Int64(Int32.max / 2)))
}

/// `clamp(zeroPoint + requantize(…))`, the last step of every integer operation with a 32-bit accumulator.
@inlinable @inline(__always)
package func requantizeToByte(
  _ accumulator: Int32, _ multiplier: Int32, _ shift: Int32, zeroPoint: Int32, minimum: Int32, maximum: Int32
) -> UInt8 {
  UInt8(
    truncatingIfNeeded: min(max(requantize(accumulator, multiplier, shift) &+ zeroPoint, minimum), maximum))
}
