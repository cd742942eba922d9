import CInstructions

// From sums to bytes, for all kernels of this instruction set. Release builds inline all of it; debug builds, which
// compile file by file, call it. Tuples instead of structs, since what copies a struct that several files know is a
// weak symbol.

typealias Lanes = SIMD16<Int32>

/// Requantization of 16 accumulators, exact for every shift. The shifts are 64-bit counts, one less than given: the
/// last bit is shifted out after rounding, by `bytes`.
typealias Requantization = (multiplierEven: Lanes, multiplierOdd: Lanes, shiftEven: Lanes, shiftOdd: Lanes)

@inline(__always)
func requantization(multiplier: Lanes, shift: Lanes) -> Requantization {
  let counts = shift &- 1
  return (
    multiplier, odd_to_even_x16(multiplier), odd_to_even_x16(interleave_even_x16(counts, counts)),
    odd_to_even_x16(counts)
  )
}

/// `floor(accumulator * multiplier / 2^(shift-1))`, which 32 bits hold when every shift is at least 32;
/// otherwise `saturating` must be set, and results beyond ±2^30 are brought there.
@inline(__always)
private func doubled(_ accumulators: Lanes, _ r: Requantization, saturating: Bool) -> Lanes {
  var even = shift_right_64_x16(multiply_even_x16(accumulators, r.multiplierEven), r.shiftEven)
  var odd = shift_right_64_x16(multiply_even_x16(odd_to_even_x16(accumulators), r.multiplierOdd), r.shiftOdd)
  if saturating {
    even = clamp_64_x16(even, -1 << 30, 1 << 30)
    odd = clamp_64_x16(odd, -1 << 30, 1 << 30)
  }
  return interleave_even_x16(even, odd)
}

/// Whether one of these shifts is too small for 32-bit results.
@inline(__always)
func needsSaturation(_ shifts: UnsafePointer<Int32>, channels: Int) -> Bool {
  var smallest: Int32 = 62
  for c in 0..<channels { smallest = min(smallest, shifts[c]) }
  return smallest < 32
}

/// The last step, from sums to bytes.
///
/// `(v + 1) >> 1` rounds a doubled result half-up and `(v + 1 + 2 z) >> 1` adds the zero point too. 16 bits
/// with saturation are enough, since whatever saturates lies beyond 0...255 on the same side.
typealias ByteOutput = (saturating: Bool, offset: Lanes, minimum: Lanes, maximum: Lanes)

@inline(__always)
func byteOutput(zeroPoint: Int32, minimum: Int32, maximum: Int32, saturating: Bool) -> ByteOutput {
  (
    saturating, Lanes(repeating: (1 &+ 2 &* zeroPoint) &* 0x0001_0001),
    Lanes(repeating: minimum &* 0x0101_0101), Lanes(repeating: maximum &* 0x0101_0101)
  )
}

/// The bytes of one to four vectors of 16 sums, in order; what follows them is arbitrary.
@inline(__always)
func bytes(
  _ output: ByteOutput, _ sums: UnsafePointer<Lanes>, _ requantizations: UnsafePointer<Requantization>,
  vectors: Int
) -> Lanes {
  let v0 = doubled(sums[0], requantizations[0], saturating: output.saturating)
  let v1 = vectors > 1 ? doubled(sums[1], requantizations[1], saturating: output.saturating) : v0
  let v2 = vectors > 2 ? doubled(sums[2], requantizations[2], saturating: output.saturating) : v0
  let v3 = vectors > 3 ? doubled(sums[3], requantizations[3], saturating: output.saturating) : v1
  // From four bytes of each vector in a quarter to sixteen of each vector.
  let byVector = Lanes(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
  return permute_x16(packed(output, v0, v1, v2, v3), byVector)
}

/// The bytes of four vectors of sums: in each quarter of the result, four of every vector.
@inline(__always)
func bytesOfQuarters(
  _ output: ByteOutput, _ sums: UnsafePointer<Lanes>, _ requantizations: UnsafePointer<Requantization>
) -> Lanes {
  packed(
    output, doubled(sums[0], requantizations[0], saturating: output.saturating),
    doubled(sums[1], requantizations[1], saturating: output.saturating),
    doubled(sums[2], requantizations[2], saturating: output.saturating),
    doubled(sums[3], requantizations[3], saturating: output.saturating))
}

/// In each quarter of the result, four bytes of every doubled result.
@inline(__always)
private func packed(_ output: ByteOutput, _ v0: Lanes, _ v1: Lanes, _ v2: Lanes, _ v3: Lanes) -> Lanes {
  let words01 = halve_words_x16(add_words_x16(pack_words_x16(v0, v1), output.offset))
  let words23 = halve_words_x16(add_words_x16(pack_words_x16(v2, v3), output.offset))
  return minimum_bytes_x16(
    maximum_bytes_x16(pack_bytes_x16(words01, words23), output.minimum), output.maximum)
}

/// A mask of the first `count` bytes of 64.
@inline(__always)
func byteMask(_ count: Int) -> UInt64 { count >= 64 ? ~0 : (1 &<< UInt64(count)) &- 1 }

@inline(__always)
func load(_ pointer: UnsafeRawPointer) -> Lanes { pointer.loadUnaligned(as: Lanes.self) }
