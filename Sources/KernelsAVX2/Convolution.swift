import CInstructions
import KernelInterface

// All kernels of this instruction set are one file whose functions are private and, unless inlined, not
// generic: so no object holds a weak symbol, and debug builds are as fast as release builds.

private typealias Lanes = SIMD8<Int32>

/// Computes the sums of 16 channels of some pixels, with the bias: `sums[pixel][half of the panel]`.
private typealias TileFunction = (_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) -> Void

/// Dense convolution with 8-bit weights: bytes are widened to 16 bits, since sums of products of bytes would
/// saturate, and multiplied in pairs.
package func convolutionDense8AVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, blocks: arguments.steps, isDepthwise: false, first, count, dense8Tile4, dense8Tile1)
}

/// Dense convolution with 4-bit weights: products of bytes are added in 16 bits, eight steps at a time.
package func convolutionDense4AVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, blocks: arguments.steps / 2, isDepthwise: false, first, count, dense4Tile4, dense4Tile1)
}

/// Depthwise convolution: taps are interleaved and widened to 16 bits.
package func convolutionDepthwiseAVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, blocks: arguments.steps / 4, isDepthwise: true, first, count, depthwiseTile4, depthwiseTile1)
}

// MARK: - Tiles

// 16 channels times four pixels, or one: eight accumulators hide the latency of a multiplication and an
// addition, and with the weights they fit the 16 registers.

@inline(never) private func dense8Tile4(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<4>().sum8(tile, sums)
}

@inline(never) private func dense8Tile1(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<1>().sum8(tile, sums)
}

@inline(never) private func dense4Tile4(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<4>().sum4(tile, sums)
}

@inline(never) private func dense4Tile1(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<1>().sum4(tile, sums)
}

@inline(never) private func depthwiseTile4(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<4>().sumDepthwise(tile, sums)
}

@inline(never) private func depthwiseTile1(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<1>().sumDepthwise(tile, sums)
}

/// What the sums of a tile are made of.
private struct TileOperands {
  /// One for each pixel.
  let bases: UnsafePointer<UnsafeRawPointer>
  let stepOffsets: UnsafePointer<Int32>
  let weights: UnsafeRawPointer
  /// Blocks of 64 bytes: steps, pairs of steps with 4-bit weights, or groups of four taps.
  let blocks: Int
  let bias: UnsafePointer<Int32>
}

/// The two vectors of 16 channels.
private struct Pair {
  var lower: Lanes
  var upper: Lanes

  @inline(__always)
  init(_ lower: Lanes, _ upper: Lanes) {
    self.lower = lower
    self.upper = upper
  }

  @inline(__always)
  init(_ pointer: UnsafeRawPointer) { self.init(load(pointer), load(pointer + 32)) }
}

/// Signed weights of 16 channels, as 16-bit lanes: bytes 0 and 2 of each step or group, and bytes 1 and 3.
private struct WideWeights {
  let even: Pair
  let odd: Pair

  @inline(__always)
  init(_ pointer: UnsafeRawPointer) {
    let bytes = Pair(pointer)
    even = Pair(
      shift_right_8_words_x8(shift_left_8_words_x8(bytes.lower)),
      shift_right_8_words_x8(shift_left_8_words_x8(bytes.upper)))
    odd = Pair(shift_right_8_words_x8(bytes.lower), shift_right_8_words_x8(bytes.upper))
  }
}

private struct Tile<let pixels: Int> {
  @inline(__always)
  func sum8(_ t: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    var accumulators = InlineArray<pixels, Pair> { _ in Pair(UnsafeRawPointer(t.bias)) }
    let lowerBytes = Lanes(repeating: 0x00FF_00FF)
    for step in 0..<t.blocks {
      let weights = WideWeights(t.weights + 64 &* step)
      var offset = Int(t.stepOffsets[step])
      for pixel in 0..<pixels {
        let x = Lanes(repeating: (bases[pixel] + offset).loadUnaligned(as: Int32.self))
        let even = x & lowerBytes, odd = upper_bytes_x8(x)
        var sum = accumulators[pixel]
        sum.lower = sum.lower &+ dot2_words_x8(even, weights.even.lower)
        sum.upper = sum.upper &+ dot2_words_x8(even, weights.even.upper)
        sum.lower = sum.lower &+ dot2_words_x8(odd, weights.odd.lower)
        sum.upper = sum.upper &+ dot2_words_x8(odd, weights.odd.upper)
        accumulators[pixel] = sum
        offset = Int(after_x8(Int64(offset), sum.lower, sum.upper))
      }
    }
    store(accumulators, sums)
  }

  /// A 16-bit lane gains at most 2 * 255 * 8 = 4080 a step, so that eight steps stay below 2^15.
  @inline(__always)
  func sum4(_ t: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    let ones = Lanes(repeating: 0x0001_0001)
    for pixel in 0..<pixels {
      let bias = Pair(UnsafeRawPointer(t.bias))
      sums[2 &* pixel] = bias.lower
      sums[2 &* pixel &+ 1] = bias.upper
    }
    var start = 0
    while start < t.blocks {
      var words = InlineArray<pixels, Pair> { _ in Pair(.zero, .zero) }
      for pair in start..<min(start &+ 4, t.blocks) {
        let even = nibbles(t.weights + 64 &* pair, isUpper: false)
        accumulateWords(bases, Int(t.stepOffsets[2 &* pair]), even, &words)
        let odd = nibbles(t.weights + 64 &* pair, isUpper: true)
        accumulateWords(bases, Int(t.stepOffsets[2 &* pair &+ 1]), odd, &words)
      }
      for pixel in 0..<pixels {
        sums[2 &* pixel] = sums[2 &* pixel] &+ dot2_words_x8(words[pixel].lower, ones)
        sums[2 &* pixel &+ 1] = sums[2 &* pixel &+ 1] &+ dot2_words_x8(words[pixel].upper, ones)
      }
      start &+= 4
    }
  }

  @inline(__always)
  private func accumulateWords(
    _ bases: InlineArray<pixels, UnsafeRawPointer>, _ offset: Int, _ weights: Pair,
    _ words: inout InlineArray<pixels, Pair>
  ) {
    var offset = offset
    for pixel in 0..<pixels {
      let x = Lanes(repeating: (bases[pixel] + offset).loadUnaligned(as: Int32.self))
      let lower = add_words_x8(words[pixel].lower, dot2_bytes_x8(x, weights.lower))
      let upper = add_words_x8(words[pixel].upper, dot2_bytes_x8(x, weights.upper))
      words[pixel] = Pair(lower, upper)
      offset = Int(after_x8(Int64(offset), lower, upper))
    }
  }

  /// The lower or upper nibbles of 64 bytes, as signed bytes.
  @inline(__always)
  private func nibbles(_ pointer: UnsafeRawPointer, isUpper: Bool) -> Pair {
    // The bytes 0...7, -8 ... -1: the value of each nibble.
    let values = Lanes(
      0x0302_0100, 0x0706_0504, Int32(bitPattern: 0xFBFA_F9F8), Int32(bitPattern: 0xFFFE_FDFC),
      0x0302_0100, 0x0706_0504, Int32(bitPattern: 0xFBFA_F9F8), Int32(bitPattern: 0xFFFE_FDFC))
    let mask = Lanes(repeating: 0x0F0F_0F0F)
    var both = Pair(pointer)
    if isUpper { both = Pair(upper_nibbles_x8(both.lower), upper_nibbles_x8(both.upper)) }
    return Pair(look_up_bytes_x8(values, both.lower & mask), look_up_bytes_x8(values, both.upper & mask))
  }

  @inline(__always)
  func sumDepthwise(_ t: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    var accumulators = InlineArray<pixels, Pair> { _ in Pair(UnsafeRawPointer(t.bias)) }
    for group in 0..<t.blocks {
      let weights = WideWeights(t.weights + 64 &* group)
      let taps = t.stepOffsets + 4 &* group
      let tap1 = Int(taps[1]), tap2 = Int(taps[2]), tap3 = Int(taps[3])
      var tap0 = Int(taps[0])
      for pixel in 0..<pixels {
        let base = bases[pixel]
        let x0 = loadHalf(base + tap0), x1 = loadHalf(base + tap1)
        let x2 = loadHalf(base + tap2), x3 = loadHalf(base + tap3)
        var sum = accumulators[pixel]
        sum.lower =
          sum.lower &+ dot2_words_x8(widen_bytes_x8(interleave_low_bytes_x4(x0, x2)), weights.even.lower)
        sum.upper =
          sum.upper &+ dot2_words_x8(widen_bytes_x8(interleave_high_bytes_x4(x0, x2)), weights.even.upper)
        sum.lower =
          sum.lower &+ dot2_words_x8(widen_bytes_x8(interleave_low_bytes_x4(x1, x3)), weights.odd.lower)
        sum.upper =
          sum.upper &+ dot2_words_x8(widen_bytes_x8(interleave_high_bytes_x4(x1, x3)), weights.odd.upper)
        accumulators[pixel] = sum
        tap0 = Int(after_x8(Int64(tap0), sum.lower, sum.upper))
      }
    }
    store(accumulators, sums)
  }

  @inline(__always)
  private func store(_ accumulators: InlineArray<pixels, Pair>, _ sums: UnsafeMutablePointer<Lanes>) {
    for pixel in 0..<pixels {
      sums[2 &* pixel] = accumulators[pixel].lower
      sums[2 &* pixel &+ 1] = accumulators[pixel].upper
    }
  }
}

// MARK: - From tiles to the output

/// All pixels of all panels, one panel after the other.
@inline(__always)
private func convolve(
  _ arguments: ConvolutionArguments, blocks: Int, isDepthwise: Bool, _ first: Int, _ count: Int,
  _ tile4: TileFunction, _ tile1: TileFunction
) {
  withUnsafeTemporaryAllocation(byteCount: 32 &+ (4 * 2) &* 32, alignment: 32) { memory in
    guard let memory = memory.baseAddress else { return }
    let bases = memory.assumingMemoryBound(to: UnsafeRawPointer.self)
    let sums = (memory + 32).assumingMemoryBound(to: Lanes.self)
    var channel = 0
    while channel < arguments.storedChannels {
      let channels = min(arguments.storedChannels &- channel, 16)
      let tile = TileOperands(
        bases: bases, stepOffsets: arguments.stepOffsets, weights: arguments.weights + channel &* 4 &* blocks,
        blocks: blocks, bias: arguments.bias + channel)
      let output = PanelOutput(arguments, channel: channel)
      var destination = UnsafeMutableRawPointer(
        arguments.output + (first &* arguments.outputPixelStride &+ channel))
      var cursor = PixelCursor(arguments, first: first, channel: isDepthwise ? channel : 0)
      var left = count
      while left > 0 {
        let valid = min(left, 4)
        cursor.fill(bases, 4, valid: valid)
        if valid > 1 { tile4(tile, sums) } else { tile1(tile, sums) }
        for pixel in 0..<valid {
          output.store(sums + 2 &* pixel, destination, channels)
          destination += arguments.outputPixelStride
        }
        left &-= valid
      }
      channel &+= 16
    }
  }
}

/// Walks the bases of consecutive output pixels.
private struct PixelCursor {
  private var base: UnsafeRawPointer
  private var column: Int
  private let outputWidth: Int
  private let pixelStride: Int
  /// From the last pixel of a row to the first of the next.
  private let wrapStride: Int

  @inline(__always)
  init(_ arguments: ConvolutionArguments, first: Int, channel: Int) {
    let row = first / arguments.outputWidth
    column = first &- row &* arguments.outputWidth
    outputWidth = arguments.outputWidth
    pixelStride = arguments.inputPixelStride
    wrapStride = arguments.inputRowStride &- (arguments.outputWidth &- 1) &* arguments.inputPixelStride
    base =
      UnsafeRawPointer(arguments.input)
      + (row &* arguments.inputRowStride &+ column &* pixelStride &+ channel)
  }

  /// The bases of the next `valid` pixels of a tile; the last is repeated, so that a tile at the end reads
  /// what exists.
  @inline(__always)
  mutating func fill(_ bases: UnsafeMutablePointer<UnsafeRawPointer>, _ pixels: Int, valid: Int) {
    for pixel in 0..<valid {
      bases[pixel] = base
      column &+= 1
      let wraps = column == outputWidth
      column = wraps ? 0 : column
      base += wraps ? wrapStride : pixelStride
    }
    for pixel in valid..<pixels { bases[pixel] = bases[valid &- 1] }
  }
}

// MARK: - Epilogue

/// From the sums of a panel to stored bytes.
///
/// `(v + 1) >> 1` rounds a doubled result half-up and `(v + 1 + 2 z) >> 1` adds the zero point too. 16 bits
/// with saturation are enough, since whatever saturates lies beyond 0...255 on the same side.
private struct PanelOutput {
  private let lower: Requantization
  private let upper: Requantization
  private let saturating: Bool
  private let offset: Lanes
  private let minimum: Lanes
  private let maximum: Lanes

  @inline(__always)
  init(_ arguments: ConvolutionArguments, channel: Int) {
    let multiplier = Pair(UnsafeRawPointer(arguments.multiplier + channel))
    let shift = Pair(UnsafeRawPointer(arguments.shift + channel))
    lower = Requantization(multiplier: multiplier.lower, shift: shift.lower)
    upper = Requantization(multiplier: multiplier.upper, shift: shift.upper)
    var smallest: Int32 = 62
    for c in channel..<min(channel &+ 16, arguments.outputChannels) {
      smallest = min(smallest, arguments.shift[c])
    }
    saturating = smallest < 32
    offset = Lanes(repeating: (1 &+ 2 &* arguments.outputZeroPoint) &* 0x0001_0001)
    minimum = Lanes(repeating: arguments.clampMinimum &* 0x0101_0101)
    maximum = Lanes(repeating: arguments.clampMaximum &* 0x0101_0101)
  }

  /// Stores the first `channels` bytes of one pixel.
  @inline(__always)
  func store(_ sums: UnsafePointer<Lanes>, _ destination: UnsafeMutableRawPointer, _ channels: Int) {
    let doubled = pack_words_x8(
      lower.doubled(sums[0], saturating: saturating), upper.doubled(sums[1], saturating: saturating))
    let words = halve_words_x8(add_words_saturating_x8(doubled, offset))
    let bytes = minimum_bytes_x8(maximum_bytes_x8(pack_bytes_x8(words, words), minimum), maximum)
    // Each half has channels 0...3 and 8...11, or 4...7 and 12...15.
    let ordered = permute_x8(bytes, Lanes(0, 4, 1, 5, 2, 6, 3, 7)).lowHalf
    if channels == 16 {
      destination.storeBytes(of: ordered, as: SIMD4<Int32>.self)
    } else {
      for i in 0..<channels / 4 { (destination + 4 &* i).storeBytes(of: ordered[i], as: Int32.self) }
      for i in channels & ~3..<channels {
        let byte = UInt8(truncatingIfNeeded: ordered[i / 4] &>> Int32(truncatingIfNeeded: 8 &* (i & 3)))
        (destination + i).storeBytes(of: byte, as: UInt8.self)
      }
    }
  }
}

/// Requantization of 8 accumulators, exact for every shift. AVX2 has no arithmetic 64-bit shift: with 2^63
/// added, the logical one shifts a nonnegative number, and the shifted 2^63 is subtracted again.
private struct Requantization {
  private let multiplierEven: Lanes
  private let multiplierOdd: Lanes
  /// 64-bit counts, one less than the shifts: the last bit is shifted out after rounding, by `PanelOutput`.
  private let shiftEven: Lanes
  private let shiftOdd: Lanes
  private let sign: Lanes
  /// The lower 32 bits of the shifted 2^63.
  private let bias: Lanes

  @inline(__always)
  init(multiplier: Lanes, shift: Lanes) {
    let counts = shift &- 1
    multiplierEven = multiplier
    multiplierOdd = odd_to_even_x8(multiplier)
    shiftEven = odd_to_even_x8(even_to_odd_x8(counts))
    shiftOdd = odd_to_even_x8(counts)
    sign = repeat_64_x8(Int64.min)
    bias = blend_odd_x8(shift_right_64_x8(sign, shiftEven), even_to_odd_x8(shift_right_64_x8(sign, shiftOdd)))
  }

  /// `floor(accumulator * multiplier / 2^(shift-1))`, which 32 bits hold when every shift is at least 32;
  /// otherwise `saturating` must be set, and results beyond ±2^30 are brought there.
  @inline(__always)
  func doubled(_ accumulators: Lanes, saturating: Bool) -> Lanes {
    let productEven = multiply_even_x8(accumulators, multiplierEven)
    let productOdd = multiply_even_x8(odd_to_even_x8(accumulators), multiplierOdd)
    let even = shift_right_64_x8(add_64_x8(productEven, sign), shiftEven)
    let odd = shift_right_64_x8(add_64_x8(productOdd, sign), shiftOdd)
    if saturating {
      let signedEven = clamped(subtract_64_x8(even, shift_right_64_x8(sign, shiftEven)))
      let signedOdd = clamped(subtract_64_x8(odd, shift_right_64_x8(sign, shiftOdd)))
      return blend_odd_x8(signedEven, even_to_odd_x8(signedOdd))
    }
    return blend_odd_x8(even, even_to_odd_x8(odd)) &- bias
  }

  @inline(__always)
  private func clamped(_ value: Lanes) -> Lanes {
    let low = repeat_64_x8(-1 << 30), high = repeat_64_x8(1 << 30)
    let atLeast = select_x8(value, low, is_greater_64_x8(low, value))
    return select_x8(atLeast, high, is_greater_64_x8(atLeast, high))
  }
}

@inline(__always)
private func load(_ pointer: UnsafeRawPointer) -> Lanes { pointer.loadUnaligned(as: Lanes.self) }

@inline(__always)
private func loadHalf(_ pointer: UnsafeRawPointer) -> SIMD4<Int32> {
  pointer.loadUnaligned(as: SIMD4<Int32>.self)
}

// MARK: - Ceilings

/// Executes `10 * iterations` multiplications of 16-bit pairs, each with its addition: 32 operations, the
/// inner loop of 8-bit weights without loads and widening.
package func peakDotWordsAVX2(iterations: Int) -> Int32 {
  let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
  var accumulators = InlineArray<10, Lanes> { _ in .zero }
  for _ in 0..<iterations {
    for i in 0..<10 { accumulators[i] = accumulators[i] &+ dot2_words_x8(accumulators[i], x) }
  }
  return sum(accumulators)
}

/// Executes `10 * iterations` multiplications of byte pairs, each with its 16-bit addition: 64 operations,
/// the inner loop of 4-bit weights.
package func peakDotBytesAVX2(iterations: Int) -> Int32 {
  let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
  var accumulators = InlineArray<10, Lanes> { _ in .zero }
  for _ in 0..<iterations {
    for i in 0..<10 { accumulators[i] = add_words_x8(accumulators[i], dot2_bytes_x8(accumulators[i], x)) }
  }
  return sum(accumulators)
}

@inline(__always)
private func sum(_ accumulators: InlineArray<10, Lanes>) -> Int32 {
  var sum = Lanes.zero
  for i in 0..<10 { sum = sum &+ accumulators[i] }
  return sum[0]
}
