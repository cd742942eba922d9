import CInstructions
import KernelInterface

// 64 channels at a time.

/// Bytes are added in 16 bits, even and odd ones apart, and from there every byte of a lane goes through 32 bits on its
/// own: so nothing changes places.
package func meansAVX512VNNI(_ x: PoolArguments, _ y: MeanArguments, _ count: Int) {
  let offset = Lanes(repeating: y.offset), multiplier = Lanes(repeating: y.multiplier)
  let half = repeat_64_x16(1 &<< Int64(y.shift &- 1)), shift = repeat_64_x16(Int64(y.shift))
  let zeroPoint = Lanes(repeating: y.zeroPoint)
  // Bounds of results before the zero point is added.
  let minimum = Int64(y.minimum &- y.zeroPoint), maximum = Int64(y.maximum &- y.zeroPoint)
  @inline(__always) func mean(_ sums: Lanes) -> Lanes {
    let differences = sums &- offset
    let even = add_64_x16(multiply_even_x16(differences, multiplier), half)
    let odd = add_64_x16(multiply_even_x16(odd_to_even_x16(differences), multiplier), half)
    let results = interleave_even_x16(
      clamp_64_x16(shift_right_64_x16(even, shift), minimum, maximum),
      clamp_64_x16(shift_right_64_x16(odd, shift), minimum, maximum))
    return results &+ zeroPoint
  }
  for window in 0..<count {
    var channel = 0
    while channel < x.channels {
      let (b0, b1, b2, b3) = sums(x, x.input + (window &* x.windowStride &+ channel))
      let bytes = mean(b0) | mean(b1) &<< 8 | mean(b2) &<< 16 | mean(b3) &<< 24
      store_bytes_x16(
        x.output + (window &* x.outputPixelStride &+ channel), byteMask(x.channels &- channel), bytes)
      channel &+= 64
    }
  }
}

/// The sums of every fourth channel of 64, from channel 0, 1, 2 and 3 on.
@inline(__always)
private func sums(_ x: PoolArguments, _ window: UnsafePointer<UInt8>) -> (Lanes, Lanes, Lanes, Lanes) {
  let pixelsAtOnce = 256  // of at most 255, in 16 bits
  let lower = Lanes(repeating: 0x00FF_00FF)
  var b0 = Lanes.zero, b1 = Lanes.zero, b2 = Lanes.zero, b3 = Lanes.zero
  for row in 0..<x.rows {
    var pixel = UnsafeRawPointer(window + row &* x.rowStride)
    var left = x.columns
    while left > 0 {
      let pixels = min(left, pixelsAtOnce)
      var even = Lanes.zero, odd = Lanes.zero
      for _ in 0..<pixels {
        let bytes = load(pixel)
        even = add_words_wrapping_x16(even, bytes & lower)
        odd = add_words_wrapping_x16(odd, upper_bytes_x16(bytes))
        pixel += x.columnStride
      }
      b0 = b0 &+ (even & 0xFFFF)
      b2 = b2 &+ (even &>> 16 & 0xFFFF)
      b1 = b1 &+ (odd & 0xFFFF)
      b3 = b3 &+ (odd &>> 16 & 0xFFFF)
      left &-= pixels
    }
  }
  return (b0, b1, b2, b3)
}

package func maximaAVX512VNNI(_ x: PoolArguments, _ count: Int) {
  for window in 0..<count {
    var channel = 0
    while channel < x.channels {
      let first = UnsafeRawPointer(x.input + (window &* x.windowStride &+ channel))
      var largest = Lanes.zero
      for row in 0..<x.rows {
        var pixel = first + row &* x.rowStride
        for _ in 0..<x.columns {
          largest = maximum_bytes_x16(largest, load(pixel))
          pixel += x.columnStride
        }
      }
      store_bytes_x16(
        x.output + (window &* x.outputPixelStride &+ channel), byteMask(x.channels &- channel), largest)
      channel &+= 64
    }
  }
}
