import CInstructions
import KernelInterface

// 64 bytes of both operands at a time, widened within quarters, so that packing restores their order.

/// Every pair of bytes meets both multipliers in one instruction, which takes 16 bits of each: larger ones are cut into
/// the lower 7 bits and the rest, m = 2^7 * upper + lower. The upper parts, of at most 2^14, meet the bytes times 2^7,
/// which 16 bits hold too.
package func addAVX512VNNI(_ arguments: AddArguments, _ count: Int) {
  let fits = Int32(Int16.min)...Int32(Int16.max)
  if fits.contains(arguments.multiplierA) && fits.contains(arguments.multiplierB) {
    let multipliers = wordPair(arguments.multiplierA, arguments.multiplierB)
    let constant = Lanes(repeating: arguments.constant)
    @inline(__always) func sum(_ pairs: Lanes) -> Lanes { dot2_x16(constant, pairs, multipliers) }
    addAll(arguments, count, sum)
  } else {
    let upper = wordPair(arguments.multiplierA &>> 7, arguments.multiplierB &>> 7)
    let lower = wordPair(arguments.multiplierA & 0x7F, arguments.multiplierB & 0x7F)
    let constant = Lanes(repeating: arguments.constant)
    @inline(__always) func sum(_ pairs: Lanes) -> Lanes {
      dot2_x16(dot2_x16(constant, pairs &<< 7, upper), pairs, lower)
    }
    addAll(arguments, count, sum)
  }
}

/// `sum` takes pairs of 16-bit numbers in each lane to 32 bits.
@inline(__always)
private func addAll(_ arguments: AddArguments, _ count: Int, _ sum: (_ pairs: Lanes) -> Lanes) {
  let shift = Lanes(repeating: arguments.shift)
  let zeroPoint = Lanes(repeating: arguments.zeroPoint &* 0x0001_0001)
  let minimum = Lanes(repeating: arguments.minimum &* 0x0101_0101)
  let maximum = Lanes(repeating: arguments.maximum &* 0x0101_0101)
  let a = UnsafeRawPointer(arguments.a), b = UnsafeRawPointer(arguments.b)
  @inline(__always) func bytes(_ first: Int) -> Lanes {
    let x = load(a + first), y = load(b + first)
    let low = interleave_low_bytes_x16(x, y), high = interleave_high_bytes_x16(x, y)
    let s0 = sum(interleave_low_bytes_x16(low, .zero)) &>> shift
    let s1 = sum(interleave_high_bytes_x16(low, .zero)) &>> shift
    let s2 = sum(interleave_low_bytes_x16(high, .zero)) &>> shift
    let s3 = sum(interleave_high_bytes_x16(high, .zero)) &>> shift
    // Saturation to 16 bits leaves numbers on the side where they are clamped anyway.
    let words01 = add_words_x16(pack_words_x16(s0, s1), zeroPoint)
    let words23 = add_words_x16(pack_words_x16(s2, s3), zeroPoint)
    return minimum_bytes_x16(maximum_bytes_x16(pack_bytes_x16(words01, words23), minimum), maximum)
  }
  let output = UnsafeMutableRawPointer(arguments.output)
  var first = 0
  while first &+ 64 <= count {
    output.storeBytes(of: bytes(first), toByteOffset: first, as: Lanes.self)
    first &+= 64
  }
  if first < count { store_bytes_x16(output + first, byteMask(count &- first), bytes(first)) }
}

/// Two numbers of 16 bits in every lane.
@inline(__always)
private func wordPair(_ a: Int32, _ b: Int32) -> Lanes { Lanes(repeating: (a & 0xFFFF) | b &<< 16) }

package func multiplyAVX512VNNI(_ arguments: MultiplyArguments, _ count: Int) {
  let multiplier = Lanes(repeating: arguments.multiplier)
  let half = repeat_64_x16(1 &<< Int64(arguments.shift &- 1)), shift = repeat_64_x16(Int64(arguments.shift))
  @inline(__always) func requantized(_ products: Lanes) -> Lanes {
    let even = add_64_x16(multiply_even_x16(products, multiplier), half)
    let odd = add_64_x16(multiply_even_x16(odd_to_even_x16(products), multiplier), half)
    return interleave_even_x16(
      clamp_64_x16(shift_right_64_x16(even, shift), -1 << 30, 1 << 30),
      clamp_64_x16(shift_right_64_x16(odd, shift), -1 << 30, 1 << 30))
  }
  let zeroPointA = Lanes(repeating: arguments.zeroPointA &* 0x0001_0001)
  let zeroPointB = Lanes(repeating: arguments.zeroPointB &* 0x0001_0001)
  let zeroPoint = Lanes(repeating: arguments.zeroPoint &* 0x0001_0001)
  let minimum = Lanes(repeating: arguments.minimum &* 0x0101_0101)
  let maximum = Lanes(repeating: arguments.maximum &* 0x0101_0101)
  let a = UnsafeRawPointer(arguments.a), b = UnsafeRawPointer(arguments.b)
  /// The products of four lanes of a quarter: of words and zeros.
  @inline(__always) func words(_ x: Lanes, _ y: Lanes) -> Lanes {
    let low = dot2_x16(.zero, interleave_low_words_x16(x, .zero), interleave_low_words_x16(y, .zero))
    let high = dot2_x16(.zero, interleave_high_words_x16(x, .zero), interleave_high_words_x16(y, .zero))
    return add_words_x16(pack_words_x16(requantized(low), requantized(high)), zeroPoint)
  }
  var first = 0
  while first < count {
    let x = load(a + first), y = load(b + first)
    let low = words(
      subtract_words_x16(interleave_low_bytes_x16(x, .zero), zeroPointA),
      subtract_words_x16(interleave_low_bytes_x16(y, .zero), zeroPointB))
    let high = words(
      subtract_words_x16(interleave_high_bytes_x16(x, .zero), zeroPointA),
      subtract_words_x16(interleave_high_bytes_x16(y, .zero), zeroPointB))
    let bytes = minimum_bytes_x16(maximum_bytes_x16(pack_bytes_x16(low, high), minimum), maximum)
    store_bytes_x16(arguments.output + first, byteMask(count &- first), bytes)
    first &+= 64
  }
}
