import CInstructions
import KernelInterface

// From sums to bytes. Tuples instead of structs, since what copies a struct that several files know is a weak symbol.

typealias Lanes = SIMD8<Int32>

@inline(__always)
func load(_ pointer: UnsafeRawPointer) -> Lanes { pointer.loadUnaligned(as: Lanes.self) }

/// `zeroPoint + requantize(sum)` of 16 channels in 16 bits, by one fused multiply-add where that is exact: in each half,
/// four of the lower and four of the upper channels.
/// - Parameter magic: the bits of 1.5 * 2^23 + zeroPoint: a float whose unit in the last place is 1.
@inline(__always)
func roundedWords(
  _ lower: Lanes, _ upper: Lanes, _ scale: (lower: Lanes, upper: Lanes), _ magic: Lanes
) -> Lanes {
  pack_words_x8(
    multiply_add_floats_x8(lower, scale.lower, magic) &- 0x4B40_0000,
    multiply_add_floats_x8(upper, scale.upper, magic) &- 0x4B40_0000)
}

/// From the sums of a panel to stored bytes.
///
/// `(v + 1) >> 1` rounds a doubled result half-up and `(v + 1 + 2 z) >> 1` adds the zero point too. 16 bits
/// with saturation are enough, since whatever saturates lies beyond 0...255 on the same side.
typealias PanelOutput = (
  lower: Requantization, upper: Requantization, saturating: Bool, offset: Lanes, minimum: Lanes,
  maximum: Lanes
)

@inline(__always)
func panelOutput(_ arguments: ConvolutionArguments, channel: Int) -> PanelOutput {
  let multiplier = UnsafeRawPointer(arguments.multiplier + channel)
  let shift = UnsafeRawPointer(arguments.shift + channel)
  var smallest: Int32 = 62
  for c in channel..<min(channel &+ 16, arguments.outputChannels) {
    smallest = min(smallest, arguments.shift[c])
  }
  return (
    requantization(multiplier: load(multiplier), shift: load(shift)),
    requantization(multiplier: load(multiplier + 32), shift: load(shift + 32)), smallest < 32,
    Lanes(repeating: (1 &+ 2 &* arguments.outputZeroPoint) &* 0x0001_0001),
    Lanes(repeating: arguments.clampMinimum &* 0x0101_0101),
    Lanes(repeating: arguments.clampMaximum &* 0x0101_0101)
  )
}

/// Stores the first `channels` bytes of one pixel.
@inline(__always)
func storeExactly(
  _ output: PanelOutput, _ lower: Lanes, _ upper: Lanes, _ destination: UnsafeMutableRawPointer,
  _ channels: Int
) {
  let twice = pack_words_x8(
    doubled(lower, output.lower, saturating: output.saturating),
    doubled(upper, output.upper, saturating: output.saturating))
  let words = halve_words_x8(add_words_saturating_x8(twice, output.offset))
  let bytes = minimum_bytes_x8(maximum_bytes_x8(pack_bytes_x8(words, words), output.minimum), output.maximum)
  // Each half has channels 0...3 and 8...11, or 4...7 and 12...15.
  storeBytes(permute_x8(bytes, Lanes(0, 4, 1, 5, 2, 6, 3, 7)).lowHalf, destination, channels)
}

/// Requantization of 8 accumulators, exact for every shift. AVX2 has no arithmetic 64-bit shift: with 2^63 added, the
/// logical one shifts a nonnegative number, and the shifted 2^63 is subtracted again: `bias` holds its lower 32 bits. The
/// shifts are 64-bit counts, one less than given: the last bit is shifted out after rounding.
typealias Requantization = (
  multiplierEven: Lanes, multiplierOdd: Lanes, shiftEven: Lanes, shiftOdd: Lanes, sign: Lanes, bias: Lanes
)

@inline(__always)
func requantization(multiplier: Lanes, shift: Lanes) -> Requantization {
  let counts = shift &- 1
  let shiftEven = odd_to_even_x8(even_to_odd_x8(counts)), shiftOdd = odd_to_even_x8(counts)
  let sign = repeat_64_x8(Int64.min)
  return (
    multiplier, odd_to_even_x8(multiplier), shiftEven, shiftOdd, sign,
    blend_odd_x8(shift_right_64_x8(sign, shiftEven), even_to_odd_x8(shift_right_64_x8(sign, shiftOdd)))
  )
}

/// `floor(accumulator * multiplier / 2^(shift-1))`, which 32 bits hold when every shift is at least 32;
/// otherwise `saturating` must be set, and results beyond ±2^30 are brought there.
@inline(__always)
func doubled(_ accumulators: Lanes, _ r: Requantization, saturating: Bool) -> Lanes {
  let productEven = multiply_even_x8(accumulators, r.multiplierEven)
  let productOdd = multiply_even_x8(odd_to_even_x8(accumulators), r.multiplierOdd)
  let even = shift_right_64_x8(add_64_x8(productEven, r.sign), r.shiftEven)
  let odd = shift_right_64_x8(add_64_x8(productOdd, r.sign), r.shiftOdd)
  if saturating {
    let signedEven = clamped(subtract_64_x8(even, shift_right_64_x8(r.sign, r.shiftEven)))
    let signedOdd = clamped(subtract_64_x8(odd, shift_right_64_x8(r.sign, r.shiftOdd)))
    return blend_odd_x8(signedEven, even_to_odd_x8(signedOdd))
  }
  return blend_odd_x8(even, even_to_odd_x8(odd)) &- r.bias
}

@inline(__always)
private func clamped(_ value: Lanes) -> Lanes {
  let low = repeat_64_x8(-1 << 30), high = repeat_64_x8(1 << 30)
  let atLeast = select_x8(value, low, is_greater_64_x8(low, value))
  return select_x8(atLeast, high, is_greater_64_x8(atLeast, high))
}

/// Stores the first `channels` of 16 bytes.
@inline(__always)
func storeBytes(_ bytes: SIMD4<Int32>, _ destination: UnsafeMutableRawPointer, _ channels: Int) {
  if channels == 16 {
    destination.storeBytes(of: bytes, as: SIMD4<Int32>.self)
  } else {
    storeFewBytes(bytes, destination, channels)
  }
}

@inline(never)
private func storeFewBytes(
  _ bytes: SIMD4<Int32>, _ destination: UnsafeMutableRawPointer, _ channels: Int
) {
  for i in 0..<channels / 4 { (destination + 4 &* i).storeBytes(of: bytes[i], as: Int32.self) }
  for i in channels & ~3..<channels {
    let byte = UInt8(truncatingIfNeeded: bytes[i / 4] &>> Int32(truncatingIfNeeded: 8 &* (i & 3)))
    (destination + i).storeBytes(of: byte, as: UInt8.self)
  }
}
