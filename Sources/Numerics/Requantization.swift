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
