import CInstructions
import KernelInterface

// Dense convolutions with weights of two bits, of palettes, and of single bits. One file, since tiles are private and
// generic: so no object holds a weak symbol.

/// Computes the sums of 16 channels of some pixels, with the bias: `sums[pixel][half of the panel]`.
private typealias TileFunction = (_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) -> Void

/// Dense convolution with 2-bit weights: products of bytes are added in 16 bits, 32 steps at a time.
package func convolutionDense2AVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, blocks: arguments.steps / 4, first, count, dense2Tile4, dense2Tile1)
}

/// Dense convolution with weights from tables of 16, which then are treated as those of 8 bits.
package func convolutionPaletteAVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, blocks: arguments.steps / 2 &+ 1, first, count, paletteTile4, paletteTile1)
}

/// Convolution with weights of -1 and 1 on bits, counted by a table of nibbles.
package func convolutionBinaryAVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let blocks = arguments.steps / arguments.planes
  convolve(arguments, blocks: blocks, first, count, binaryTile4, binaryTile1)
}

/// The same with weights of -1, 0 and 1: two blocks a step.
package func convolutionTernaryAVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let blocks = 2 &* (arguments.steps / arguments.planes)
  convolve(arguments, blocks: blocks, first, count, ternaryTile4, ternaryTile1)
}

// MARK: - Tiles

// 16 channels times four pixels, or one.

@inline(never) private func dense2Tile4(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<4>().sum2(tile, sums)
}

@inline(never) private func dense2Tile1(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<1>().sum2(tile, sums)
}

@inline(never) private func paletteTile4(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<4>().sumPalette(tile, sums)
}

@inline(never) private func paletteTile1(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<1>().sumPalette(tile, sums)
}

@inline(never) private func binaryTile4(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<4>().sumBits(tile, isTernary: false, sums)
}

@inline(never) private func binaryTile1(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<1>().sumBits(tile, isTernary: false, sums)
}

@inline(never) private func ternaryTile4(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<4>().sumBits(tile, isTernary: true, sums)
}

@inline(never) private func ternaryTile1(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<1>().sumBits(tile, isTernary: true, sums)
}

/// What the sums of a tile are made of.
private struct TileOperands {
  /// One for each pixel.
  let bases: UnsafePointer<UnsafeRawPointer>
  let stepOffsets: UnsafePointer<Int32>
  let weights: UnsafeRawPointer
  /// Blocks of 64 bytes: groups of four steps, pairs of steps behind a table, words of signs, or these and masks.
  let blocks: Int
  let planes: Int
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

/// Signed weights of 16 channels, as 16-bit lanes: bytes 0 and 2 of each step, and bytes 1 and 3.
private struct WideWeights {
  let even: Pair
  let odd: Pair

  @inline(__always)
  init(_ bytes: Pair) {
    even = Pair(
      shift_right_8_words_x8(shift_left_8_words_x8(bytes.lower)),
      shift_right_8_words_x8(shift_left_8_words_x8(bytes.upper)))
    odd = Pair(shift_right_8_words_x8(bytes.lower), shift_right_8_words_x8(bytes.upper))
  }
}

private struct Tile<let pixels: Int> {
  /// The first block is the table of weights, twice in each half of it.
  @inline(__always)
  func sumPalette(_ t: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    var accumulators = InlineArray<pixels, Pair> { _ in Pair(UnsafeRawPointer(t.bias)) }
    let lowerBytes = Lanes(repeating: 0x00FF_00FF)
    let table = load(t.weights)
    for pair in 0..<t.blocks &- 1 {
      let codes = t.weights + 64 &* (pair &+ 1), offsets = t.stepOffsets + 2 &* pair
      let even = WideWeights(nibbles(codes, isUpper: false, values: table))
      accumulate(bases, Int(offsets[0]), even, lowerBytes, &accumulators)
      let odd = WideWeights(nibbles(codes, isUpper: true, values: table))
      accumulate(bases, Int(offsets[1]), odd, lowerBytes, &accumulators)
    }
    store(accumulators, sums)
  }

  /// A 16-bit lane gains at most 2 * 255 * 2 = 1020 a step, so that 32 steps stay below 2^15.
  @inline(__always)
  func sum2(_ t: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    let ones = Lanes(repeating: 0x0001_0001), mask = Lanes(repeating: 0x0303_0303)
    // The bytes 0, 1, -2, -1: the value of every two bits.
    let values = Lanes(repeating: Int32(bitPattern: 0xFFFE_0100))
    for pixel in 0..<pixels { store(Pair(UnsafeRawPointer(t.bias)), sums + 2 &* pixel) }
    var start = 0
    while start < t.blocks {
      var words = InlineArray<pixels, Pair> { _ in Pair(.zero, .zero) }
      for quad in start..<min(start &+ 8, t.blocks) {
        var bits = Pair(t.weights + 64 &* quad)
        let offsets = t.stepOffsets + 4 &* quad
        for step in 0..<4 {
          let weights = Pair(
            look_up_bytes_x8(values, bits.lower & mask), look_up_bytes_x8(values, bits.upper & mask))
          accumulateWords(bases, Int(offsets[step]), weights, &words)
          bits = Pair(shift_right_2_words_x8(bits.lower), shift_right_2_words_x8(bits.upper))
        }
      }
      for pixel in 0..<pixels {
        sums[2 &* pixel] = sums[2 &* pixel] &+ dot2_words_x8(words[pixel].lower, ones)
        sums[2 &* pixel &+ 1] = sums[2 &* pixel &+ 1] &+ dot2_words_x8(words[pixel].upper, ones)
      }
      start &+= 8
    }
  }

  /// Bits are counted in bytes, which hold 31 steps of at most 8 each.
  @inline(__always)
  func sumBits(_ t: TileOperands, isTernary: Bool, _ sums: UnsafeMutablePointer<Lanes>) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    let steps = isTernary ? t.blocks / 2 : t.blocks, blockBytes = isTernary ? 128 : 64
    for pixel in 0..<pixels { store(Pair(.zero, .zero), sums + 2 &* pixel) }
    for plane in 0..<t.planes {
      for vector in 0..<2 &* pixels { sums[vector] = sums[vector] &+ sums[vector] }
      let offsets = t.stepOffsets + plane &* steps
      var start = 0
      while start < steps {
        var counts = InlineArray<pixels, Pair> { _ in Pair(.zero, .zero) }
        for step in start..<min(start &+ 31, steps) {
          let signs = Pair(t.weights + blockBytes &* step)
          let masks = isTernary ? Pair(t.weights + (blockBytes &* step &+ 64)) : signs
          var offset = Int(offsets[step])
          for pixel in 0..<pixels {
            let x = Lanes(repeating: (bases[pixel] + offset).loadUnaligned(as: Int32.self))
            let lower = isTernary ? (x ^ signs.lower) & masks.lower : x ^ signs.lower
            let upper = isTernary ? (x ^ signs.upper) & masks.upper : x ^ signs.upper
            counts[pixel] = Pair(counted(lower, counts[pixel].lower), counted(upper, counts[pixel].upper))
            offset = Int(after_x8(Int64(offset), counts[pixel].lower, counts[pixel].upper))
          }
        }
        for pixel in 0..<pixels {
          sums[2 &* pixel] = sums[2 &* pixel] &+ sumOfBytes(counts[pixel].lower)
          sums[2 &* pixel &+ 1] = sums[2 &* pixel &+ 1] &+ sumOfBytes(counts[pixel].upper)
        }
        start &+= 31
      }
    }
    let bias = Pair(UnsafeRawPointer(t.bias))
    for pixel in 0..<pixels {
      sums[2 &* pixel] = sums[2 &* pixel] &+ bias.lower
      sums[2 &* pixel &+ 1] = sums[2 &* pixel &+ 1] &+ bias.upper
    }
  }

  /// The ones in every byte, added to `counts`.
  @inline(__always)
  private func counted(_ bits: Lanes, _ counts: Lanes) -> Lanes {
    // The bytes 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4: the ones of every nibble.
    let table = Lanes(
      0x0201_0100, 0x0302_0201, 0x0302_0201, 0x0403_0302, 0x0201_0100, 0x0302_0201, 0x0302_0201, 0x0403_0302)
    let mask = Lanes(repeating: 0x0F0F_0F0F)
    let upper = look_up_bytes_x8(table, upper_nibbles_x8(bits) & mask)
    return add_bytes_x8(add_bytes_x8(counts, look_up_bytes_x8(table, bits & mask)), upper)
  }

  /// The sums of the four unsigned bytes of every lane.
  @inline(__always)
  private func sumOfBytes(_ bytes: Lanes) -> Lanes {
    dot2_words_x8(
      dot2_bytes_x8(bytes, Lanes(repeating: 0x0101_0101)), Lanes(repeating: 0x0001_0001))
  }

  @inline(__always)
  private func store(_ pair: Pair, _ sums: UnsafeMutablePointer<Lanes>) {
    sums[0] = pair.lower
    sums[1] = pair.upper
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

  /// The bytes of `values` that the lower or upper nibbles of 64 bytes name.
  @inline(__always)
  private func nibbles(_ pointer: UnsafeRawPointer, isUpper: Bool, values: Lanes) -> Pair {
    let mask = Lanes(repeating: 0x0F0F_0F0F)
    var both = Pair(pointer)
    if isUpper { both = Pair(upper_nibbles_x8(both.lower), upper_nibbles_x8(both.upper)) }
    return Pair(look_up_bytes_x8(values, both.lower & mask), look_up_bytes_x8(values, both.upper & mask))
  }

  @inline(__always)
  private func accumulate(
    _ bases: InlineArray<pixels, UnsafeRawPointer>, _ offset: Int, _ weights: WideWeights,
    _ lowerBytes: Lanes,
    _ accumulators: inout InlineArray<pixels, Pair>
  ) {
    var offset = offset
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
  _ arguments: ConvolutionArguments, blocks: Int, _ first: Int, _ count: Int,
  _ tile4: TileFunction, _ tile1: TileFunction
) {
  // Bases of four pixels, and two sums of each.
  let memory = arguments.scratch
  let bases = memory.assumingMemoryBound(to: UnsafeRawPointer.self)
  let sums = (memory + 32).assumingMemoryBound(to: Lanes.self)
  var channel = 0
  while channel < arguments.storedChannels {
    let channels = min(arguments.storedChannels &- channel, 16)
    let tile = TileOperands(
      bases: bases, stepOffsets: arguments.stepOffsets, weights: arguments.weights + channel &* 4 &* blocks,
      blocks: blocks, planes: arguments.planes, bias: arguments.bias + channel)
    let output = panelOutput(arguments, channel: channel)
    var destination = UnsafeMutableRawPointer(
      arguments.output + (first &* arguments.outputPixelStride &+ channel))
    var cursor = pixelCursor(arguments, first: first)
    var left = count
    while left > 0 {
      let valid = min(left, 4)
      fill(bases, 4, valid: valid, &cursor)
      if valid > 1 { tile4(tile, sums) } else { tile1(tile, sums) }
      for pixel in 0..<valid {
        storeExactly(output, sums[2 &* pixel], sums[2 &* pixel &+ 1], destination, channels)
        destination += arguments.outputPixelStride
      }
      left &-= valid
    }
    channel &+= 16
  }
}
