import CInstructions
import KernelInterface

/// Dense convolution with 8-bit weights.
package func convolutionDense8AVX512VNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  var channel = 0
  while channel < arguments.storedChannels {
    switch (arguments.storedChannels &- channel &+ 15) / 16 {
    case 1: dense8Panels1(arguments, channel, first, count)
    case 2: dense8Panels2(arguments, channel, first, count)
    case 3: dense8Panels3(arguments, channel, first, count)
    default: dense8Panels4(arguments, channel, first, count)
    }
    channel &+= 64
  }
}

/// Dense convolution with 4-bit weights. Nibbles in the upper half of their bytes are weights times 16, which
/// costs one shift of every accumulator at the end and nothing in the loop.
package func convolutionDense4AVX512VNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  var channel = 0
  while channel < arguments.storedChannels {
    switch (arguments.storedChannels &- channel &+ 15) / 16 {
    case 1: dense4Panels1(arguments, channel, first, count)
    case 2: dense4Panels2(arguments, channel, first, count)
    case 3: dense4Panels3(arguments, channel, first, count)
    default: dense4Panels4(arguments, channel, first, count)
    }
    channel &+= 64
  }
}

// Tiles keep 12 to 24 accumulators in registers, enough to hide the latency of the dot product.

private func dense8Panels1(_ arguments: ConvolutionArguments, _ channel: Int, _ first: Int, _ count: Int) {
  convolve(Tile<1, 12>(), Tile<1, 4>(), arguments, channel, first, count, fourBits: false)
}

private func dense8Panels2(_ arguments: ConvolutionArguments, _ channel: Int, _ first: Int, _ count: Int) {
  convolve(Tile<2, 12>(), Tile<2, 4>(), arguments, channel, first, count, fourBits: false)
}

private func dense8Panels3(_ arguments: ConvolutionArguments, _ channel: Int, _ first: Int, _ count: Int) {
  convolve(Tile<3, 8>(), Tile<3, 3>(), arguments, channel, first, count, fourBits: false)
}

private func dense8Panels4(_ arguments: ConvolutionArguments, _ channel: Int, _ first: Int, _ count: Int) {
  convolve(Tile<4, 6>(), Tile<4, 2>(), arguments, channel, first, count, fourBits: false)
}

private func dense4Panels1(_ arguments: ConvolutionArguments, _ channel: Int, _ first: Int, _ count: Int) {
  convolve(Tile<1, 12>(), Tile<1, 4>(), arguments, channel, first, count, fourBits: true)
}

private func dense4Panels2(_ arguments: ConvolutionArguments, _ channel: Int, _ first: Int, _ count: Int) {
  convolve(Tile<2, 11>(), Tile<2, 4>(), arguments, channel, first, count, fourBits: true)
}

private func dense4Panels3(_ arguments: ConvolutionArguments, _ channel: Int, _ first: Int, _ count: Int) {
  convolve(Tile<3, 7>(), Tile<3, 3>(), arguments, channel, first, count, fourBits: true)
}

private func dense4Panels4(_ arguments: ConvolutionArguments, _ channel: Int, _ first: Int, _ count: Int) {
  convolve(Tile<4, 5>(), Tile<4, 2>(), arguments, channel, first, count, fourBits: true)
}

/// The pixels of one group of panels, by whole tiles, small tiles and single pixels. Everything is inlined: a
/// specialization that is called would be a weak symbol.
@inline(__always)
private func convolve<let panels: Int, let pixels: Int, let fewPixels: Int>(
  _ tile: Tile<panels, pixels>, _ smallTile: Tile<panels, fewPixels>, _ arguments: ConvolutionArguments,
  _ channel: Int, _ first: Int, _ count: Int, fourBits: Bool
) {
  let group = PanelGroup<panels>(arguments, channel: channel, fourBits: fourBits)
  var cursor = PixelCursor(arguments, first: first)
  var output = UnsafeMutableRawPointer(arguments.output + (first &* arguments.outputPixelStride &+ channel))
  var left = count
  while left > 0 {
    if left > fewPixels {
      tile.convolve(group, &cursor, &output, valid: min(left, pixels))
      left &-= pixels
    } else if left > 1 {
      smallTile.convolve(group, &cursor, &output, valid: left)
      left = 0
    } else {
      Tile<panels, 1>().convolve(group, &cursor, &output, valid: 1)
      left = 0
    }
  }
}

/// What all tiles of a group of panels share.
private struct PanelGroup<let panels: Int> {
  let arguments: ConvolutionArguments
  let channel: Int
  let fourBits: Bool
  /// Steps of 64 bytes a panel; two steps of the convolution with 4-bit weights.
  let blocks: Int
  let weights: UnsafeRawPointer
  let saturating: Bool
  let bytes: OutputBytes
  let mask: UInt64

  @inline(__always)
  init(_ arguments: ConvolutionArguments, channel: Int, fourBits: Bool) {
    self.arguments = arguments
    self.channel = channel
    self.fourBits = fourBits
    blocks = fourBits ? arguments.steps / 2 : arguments.steps
    weights = arguments.weights + channel / 16 &* blocks &* 64
    saturating = needsSaturation(arguments, channel: channel, channels: 16 &* panels)
    bytes = OutputBytes(arguments)
    mask = byteMask(min(arguments.storedChannels &- channel, 16 &* panels))
  }

  @inline(__always)
  func weights(_ panel: Int, _ block: Int) -> Lanes {
    load(weights + (panel &* blocks &+ block) &* 64)
  }
}

/// The accumulators of some panels times some pixels.
private struct Tile<let panels: Int, let pixels: Int> {
  typealias Accumulators = InlineArray<pixels, InlineArray<panels, Lanes>>

  @inline(__always)
  func convolve(
    _ group: PanelGroup<panels>, _ cursor: inout PixelCursor, _ output: inout UnsafeMutableRawPointer, valid: Int
  ) {
    let bases: InlineArray<pixels, UnsafeRawPointer> = cursor.next(valid: valid)
    var bias = InlineArray<panels, Lanes>(repeating: .zero)
    for panel in 0..<panels {
      bias[panel] = load(UnsafeRawPointer(group.arguments.bias + (group.channel &+ 16 &* panel)))
      if group.fourBits { bias[panel] = bias[panel] &<< 4 }
    }
    var accumulators = Accumulators(repeating: bias)
    if group.fourBits {
      accumulate4(group, bases, &accumulators)
      for pixel in 0..<pixels {
        for panel in 0..<panels { accumulators[pixel][panel] = shift_right_4_x16(accumulators[pixel][panel]) }
      }
    } else {
      accumulate8(group, bases, &accumulators)
    }
    store(group, accumulators, &output, valid: valid)
  }

  @inline(__always)
  private func accumulate8(
    _ group: PanelGroup<panels>, _ bases: InlineArray<pixels, UnsafeRawPointer>, _ accumulators: inout Accumulators
  ) {
    for step in 0..<group.blocks {
      var weights = InlineArray<panels, Lanes>(repeating: .zero)
      for panel in 0..<panels { weights[panel] = group.weights(panel, step) }
      accumulateStep(bases, Int(group.arguments.stepOffsets[step]), weights, &accumulators)
    }
  }

  @inline(__always)
  private func accumulate4(
    _ group: PanelGroup<panels>, _ bases: InlineArray<pixels, UnsafeRawPointer>, _ accumulators: inout Accumulators
  ) {
    let upper = Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0))
    for pair in 0..<group.blocks {
      var even = InlineArray<panels, Lanes>(repeating: .zero)
      var odd = even
      for panel in 0..<panels {
        let both = group.weights(panel, pair)
        even[panel] = shift_left_4_words_x16(both) & upper
        odd[panel] = both & upper
      }
      accumulateStep(bases, Int(group.arguments.stepOffsets[2 &* pair]), even, &accumulators)
      accumulateStep(bases, Int(group.arguments.stepOffsets[2 &* pair &+ 1]), odd, &accumulators)
    }
  }

  @inline(__always)
  private func accumulateStep(
    _ bases: InlineArray<pixels, UnsafeRawPointer>, _ offset: Int, _ weights: InlineArray<panels, Lanes>,
    _ accumulators: inout Accumulators
  ) {
    for pixel in 0..<pixels {
      let x = Lanes(repeating: (bases[pixel] + offset).loadUnaligned(as: Int32.self))
      for panel in 0..<panels {
        accumulators[pixel][panel] = dot4_x16(accumulators[pixel][panel], x, weights[panel])
      }
    }
  }

  @inline(__always)
  private func store(
    _ group: PanelGroup<panels>, _ accumulators: Accumulators, _ output: inout UnsafeMutableRawPointer, valid: Int
  ) {
    // From four bytes of each panel a quarter to sixteen of each panel.
    let byPanel = Lanes(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
    var doubled = accumulators
    for panel in 0..<panels {
      let requantization = Requantization(group.arguments, channel: group.channel &+ 16 &* panel)
      for pixel in 0..<pixels {
        doubled[pixel][panel] = requantization.doubled(accumulators[pixel][panel], saturating: group.saturating)
      }
    }
    for pixel in 0..<pixels where pixel < valid {
      let v0 = doubled[pixel][0]
      let v1 = panels > 1 ? doubled[pixel][min(1, panels - 1)] : v0
      let v2 = panels > 2 ? doubled[pixel][min(2, panels - 1)] : v0
      let v3 = panels > 3 ? doubled[pixel][min(3, panels - 1)] : v1
      store_bytes_x16(output, group.mask, permute_x16(group.bytes(v0, v1, v2, v3), byPanel))
      output += group.arguments.outputPixelStride
    }
  }
}

private typealias Lanes = SIMD16<Int32>

@inline(__always)
private func load(_ pointer: UnsafeRawPointer) -> Lanes { pointer.loadUnaligned(as: Lanes.self) }

/// Requantization of 16 accumulators, exact for every shift.
private struct Requantization {
  private var multiplierEven: Lanes
  private var multiplierOdd: Lanes
  /// 64-bit counts, one less than the shifts: the last bit is shifted out after rounding, see `outputBytes`.
  private var shiftEven: Lanes
  private var shiftOdd: Lanes

  @inline(__always)
  init(multiplier: Lanes, shift: Lanes) {
    let counts = shift &- 1
    multiplierEven = multiplier
    multiplierOdd = odd_to_even_x16(multiplier)
    shiftEven = odd_to_even_x16(interleave_even_x16(counts, counts))
    shiftOdd = odd_to_even_x16(counts)
  }

  @inline(__always)
  init(_ arguments: ConvolutionArguments, channel: Int) {
    self.init(
      multiplier: load(UnsafeRawPointer(arguments.multiplier + channel)),
      shift: load(UnsafeRawPointer(arguments.shift + channel)))
  }

  /// `floor(accumulator * multiplier / 2^(shift-1))`, which 32 bits hold when every shift is at least 32;
  /// otherwise `saturating` must be set, and results beyond ±2^30 are brought there.
  @inline(__always)
  func doubled(_ accumulators: Lanes, saturating: Bool) -> Lanes {
    var even = shift_right_64_x16(multiply_even_x16(accumulators, multiplierEven), shiftEven)
    var odd = shift_right_64_x16(multiply_even_x16(odd_to_even_x16(accumulators), multiplierOdd), shiftOdd)
    if saturating {
      even = clamp_64_x16(even, -1 << 30, 1 << 30)
      odd = clamp_64_x16(odd, -1 << 30, 1 << 30)
    }
    return interleave_even_x16(even, odd)
  }
}

/// The last step, from doubled results to stored bytes.
///
/// `(v + 1) >> 1` rounds a doubled result half-up and `(v + 1 + 2 z) >> 1` adds the zero point too. 16 bits with
/// saturation are enough, since whatever saturates lies beyond 0...255 on the same side.
private struct OutputBytes {
  private let offset: Lanes
  private let minimum: Lanes
  private let maximum: Lanes

  @inline(__always)
  init(_ arguments: ConvolutionArguments) {
    offset = Lanes(repeating: (1 &+ 2 &* arguments.outputZeroPoint) &* 0x0001_0001)
    minimum = Lanes(repeating: arguments.clampMinimum &* 0x0101_0101)
    maximum = Lanes(repeating: arguments.clampMaximum &* 0x0101_0101)
  }

  /// In each quarter of the result, four bytes of every argument.
  @inline(__always)
  func callAsFunction(_ v0: Lanes, _ v1: Lanes, _ v2: Lanes, _ v3: Lanes) -> Lanes {
    let words01 = halve_words_x16(add_words_x16(pack_words_x16(v0, v1), offset))
    let words23 = halve_words_x16(add_words_x16(pack_words_x16(v2, v3), offset))
    return minimum_bytes_x16(maximum_bytes_x16(pack_bytes_x16(words01, words23), minimum), maximum)
  }
}

/// Whether a shift of these channels is too small for 32-bit results.
@inline(__always)
private func needsSaturation(_ arguments: ConvolutionArguments, channel: Int, channels: Int) -> Bool {
  var smallest: Int32 = 62
  for c in channel..<min(channel &+ channels, arguments.outputChannels) {
    smallest = min(smallest, arguments.shift[c])
  }
  return smallest < 32
}

/// A mask of the first `count` bytes of 64.
@inline(__always)
private func byteMask(_ count: Int) -> UInt64 { count >= 64 ? ~0 : (1 &<< UInt64(count)) &- 1 }

/// Walks the bases of consecutive output pixels.
private struct PixelCursor {
  private var base: UnsafeRawPointer
  private var column: Int
  private let outputWidth: Int
  private let pixelStride: Int
  /// From the last pixel of a row to the first of the next.
  private let wrapStride: Int

  @inline(__always)
  init(_ arguments: ConvolutionArguments, first: Int) {
    let row = first / arguments.outputWidth
    column = first &- row &* arguments.outputWidth
    outputWidth = arguments.outputWidth
    pixelStride = arguments.inputPixelStride
    wrapStride = arguments.inputRowStride &- (arguments.outputWidth &- 1) &* arguments.inputPixelStride
    base = UnsafeRawPointer(arguments.input) + (row &* arguments.inputRowStride &+ column &* pixelStride)
  }

  /// The bases of the next `valid` pixels; the last is repeated, so that a tile at the end reads what exists.
  @inline(__always)
  mutating func next<let pixels: Int>(valid: Int) -> InlineArray<pixels, UnsafeRawPointer> {
    var bases = InlineArray<pixels, UnsafeRawPointer>(repeating: base)
    for pixel in 0..<pixels {
      bases[pixel] = base
      if pixel &+ 1 < valid { advance() }
    }
    advance()
    return bases
  }

  @inline(__always)
  private mutating func advance() {
    column &+= 1
    let wraps = column == outputWidth
    column = wraps ? 0 : column
    base += wraps ? wrapStride : pixelStride
  }
}
