import CInstructions

/// From the sums of 16 channels to stored bytes.
package struct PanelOutput {
  private let isFused: Bool
  /// Factors, or multipliers.
  private let factors: Row
  /// Shifts to the left, that is negative.
  private let shifts: Row
  /// 1.5 * 2^23 + zero point as a float, or the zero point in 16-bit lanes.
  private let addend: Lanes
  private let minimum: Lanes
  private let maximum: Lanes

  /// - Parameters:
  ///   - factors: 16 scales, or 16 multipliers.
  ///   - shifts: 16, used with multipliers.
  @export(interface)
  package init(
    isFused: Bool, factors: UnsafeRawPointer, shifts: UnsafeRawPointer, zeroPoint: Int32, minimum: Int32,
    maximum: Int32
  ) {
    self.isFused = isFused
    self.factors = Row(factors)
    self.shifts = Row(shifts).map { 0 &- $0 }
    addend = Lanes(
      repeating: isFused
        ? Int32(bitPattern: Float(12_582_912 &+ zeroPoint).bitPattern) : zeroPoint &* 0x0001_0001)
    self.minimum = Lanes(repeating: minimum &* 0x0101_0101)
    self.maximum = Lanes(repeating: maximum &* 0x0101_0101)
  }

  /// Stores the first `channels` bytes of some pixels, whose sums follow one another.
  @export(interface)
  package func store(
    _ sums: UnsafePointer<Lanes>, pixels: Int, _ destination: UnsafeMutableRawPointer, pixelStride: Int,
    channels: Int
  ) {
    var destination = destination
    if isFused {
      for pixel in 0..<pixels {
        store(clamped(fusedWords(Row(sums + 4 &* pixel))), destination, channels)
        destination += pixelStride
      }
    } else {
      for pixel in 0..<pixels {
        store(clamped(exactWords(Row(sums + 4 &* pixel))), destination, channels)
        destination += pixelStride
      }
    }
  }

  /// Results in 16 bits: whatever saturates there lies beyond 0...255 on the same side.
  private struct Words {
    let low: Lanes
    let high: Lanes
  }

  /// One rounding, as `FixedPointMultiplier.fusedScale` proves.
  @inline(__always)
  private func fusedWords(_ sums: Row) -> Words {
    let origin = Lanes(repeating: 0x4B40_0000)  // bits(1.5 * 2^23)
    return Words(
      low: narrow_32_x4(
        scaled_bits_x4(sums.v0, factors.v0, addend) &- origin,
        scaled_bits_x4(sums.v1, factors.v1, addend) &- origin),
      high: narrow_32_x4(
        scaled_bits_x4(sums.v2, factors.v2, addend) &- origin,
        scaled_bits_x4(sums.v3, factors.v3, addend) &- origin))
  }

  /// In 64 bits, for every multiplier and shift.
  @inline(__always)
  private func exactWords(_ sums: Row) -> Words {
    let low = narrow_32_x4(
      requantized(sums.v0, factors.v0, shifts.v0), requantized(sums.v1, factors.v1, shifts.v1))
    let high = narrow_32_x4(
      requantized(sums.v2, factors.v2, shifts.v2), requantized(sums.v3, factors.v3, shifts.v3))
    return Words(low: add_words_x4(low, addend), high: add_words_x4(high, addend))
  }

  @inline(__always)
  private func requantized(_ sums: Lanes, _ multipliers: Lanes, _ shifts: Lanes) -> Lanes {
    narrow_64_x4(
      shift_rounding_64_x4(multiply_low_x4(sums, multipliers), widen_low_x4(shifts)),
      shift_rounding_64_x4(multiply_high_x4(sums, multipliers), widen_high_x4(shifts)))
  }

  @inline(__always)
  private func clamped(_ words: Words) -> Lanes {
    minimum_bytes_x4(maximum_bytes_x4(narrow_to_bytes_x4(words.low, words.high), minimum), maximum)
  }

  @inline(__always)
  private func store(_ bytes: Lanes, _ destination: UnsafeMutableRawPointer, _ channels: Int) {
    if channels == 16 {
      destination.storeBytes(of: bytes, as: Lanes.self)
    } else {
      for i in 0..<channels / 4 { (destination + 4 &* i).storeBytes(of: bytes[i], as: Int32.self) }
      for i in channels & ~3..<channels {
        let byte = UInt8(truncatingIfNeeded: bytes[i / 4] &>> Int32(truncatingIfNeeded: 8 &* (i & 3)))
        (destination + i).storeBytes(of: byte, as: UInt8.self)
      }
    }
  }
}
