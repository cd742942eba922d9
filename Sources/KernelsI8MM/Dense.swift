import CInstructions
import KernelInterface
import KernelsNEON

// The matrix product of this instruction set multiplies two rows of 8 unsigned bytes with two of 8 signed ones:
// two pixels and two channels of two steps. Packed weights become such rows by interleaving the two steps.

/// Dense convolution with 8-bit weights.
@export(interface)
package func convolutionDense8I8MM(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: 64 &* arguments.steps,
    TileFunctions(
      prepare: { _ in }, widePixels: 6, wide: dense8Tile6, narrowPixels: 2, narrow: dense8Tile2,
      single: dense8Tile1),
    rearranging: TileFunctions(
      rearrangedBytes: 128 &* ((arguments.steps &+ 1) / 2), prepare: dense8Interleave, widePixels: 6,
      wide: dense8InterleavedTile6, narrowPixels: 2, narrow: dense8InterleavedTile2, single: dense8Tile1))
}

/// Dense convolution with 4-bit weights.
@export(interface)
package func convolutionDense4I8MM(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: 32 &* arguments.steps,
    TileFunctions(
      prepare: { _ in }, widePixels: 6, wide: dense4Tile6, narrowPixels: 2, narrow: dense4Tile2,
      single: dense4Tile1),
    rearranging: TileFunctions(
      rearrangedBytes: 64 &* arguments.steps, prepare: dense4Interleave, widePixels: 6,
      wide: dense4InterleavedTile6, narrowPixels: 2, narrow: dense4InterleavedTile2, single: dense4Tile1))
}

private let bytes = Weights(hasFourBits: false, areInterleaved: false)
private let nibbles = Weights(hasFourBits: true, areInterleaved: false)
private let interleavedBytes = Weights(hasFourBits: false, areInterleaved: true)
private let interleavedNibbles = Weights(hasFourBits: true, areInterleaved: true)

private func dense8Tile6(_ t: TileOperands, _ s: Sums) { bytes.sumSix(t, s) }
private func dense8Tile2(_ t: TileOperands, _ s: Sums) { bytes.sumTwo(t, s) }
private func dense8Tile1(_ t: TileOperands, _ s: Sums) { bytes.sumSingle(t, s) }
private func dense8Interleave(_ t: TileOperands) { bytes.interleave(t) }
private func dense8InterleavedTile6(_ t: TileOperands, _ s: Sums) { interleavedBytes.sumSix(t, s) }
private func dense8InterleavedTile2(_ t: TileOperands, _ s: Sums) { interleavedBytes.sumTwo(t, s) }

private func dense4Tile6(_ t: TileOperands, _ s: Sums) { nibbles.sumSix(t, s) }
private func dense4Tile2(_ t: TileOperands, _ s: Sums) { nibbles.sumTwo(t, s) }
private func dense4Tile1(_ t: TileOperands, _ s: Sums) { nibbles.sumSingle(t, s) }
private func dense4Interleave(_ t: TileOperands) { nibbles.interleave(t) }
private func dense4InterleavedTile6(_ t: TileOperands, _ s: Sums) { interleavedNibbles.sumSix(t, s) }
private func dense4InterleavedTile2(_ t: TileOperands, _ s: Sums) { interleavedNibbles.sumTwo(t, s) }

private typealias Sums = UnsafeMutablePointer<Lanes>

/// Sums, and how weights are read for them. A nibble in the upper half of its byte is the weight times 16, and
/// so are all sums with 4-bit weights until they are complete.
private struct Weights {
  let hasFourBits: Bool
  /// Bytes in the order of matrix products, made by `interleave`.
  let areInterleaved: Bool

  /// Four channels of two steps, or two channels each.
  struct Pair {
    let first: Lanes
    let second: Lanes
  }

  /// Of two steps.
  @inline(__always)
  private var pairBytes: Int { hasFourBits && !areInterleaved ? 64 : 128 }

  @inline(__always)
  private func start(_ t: TileOperands) -> UnsafeRawPointer {
    areInterleaved ? UnsafeRawPointer(t.rearranged) : t.weights
  }

  /// Vector `i` of two steps.
  @inline(__always)
  private func pair(_ pointer: UnsafeRawPointer, _ i: Int) -> Pair {
    let first = load(pointer + 16 &* i)
    return hasFourBits
      ? Pair(
        first: shift_left_4_bytes_x4(first), second: first & Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0)))
      : Pair(first: first, second: load(pointer + (64 &+ 16 &* i)))
  }

  /// Channels 4 i and 4 i + 1 of two steps, and 4 i + 2 and 4 i + 3.
  @inline(__always)
  private func rows(_ pointer: UnsafeRawPointer, _ i: Int) -> Pair {
    if areInterleaved { return Pair(first: load(pointer + 32 &* i), second: load(pointer + (32 &* i &+ 16))) }
    let pair = pair(pointer, i)
    return Pair(
      first: interleave_low_x4(pair.first, pair.second), second: interleave_high_x4(pair.first, pair.second))
  }

  /// The same of the last step, when their number is odd.
  @inline(__always)
  private func lastRows(_ pointer: UnsafeRawPointer, _ i: Int) -> Pair {
    if areInterleaved { return rows(pointer, i) }
    let weights = load(pointer + 16 &* i)
    return Pair(first: interleave_low_x4(weights, .zero), second: interleave_high_x4(weights, .zero))
  }

  /// All rows of a panel, in order.
  @inline(__always)
  func interleave(_ t: TileOperands) {
    var w = t.weights
    var target = t.rearranged.assumingMemoryBound(to: Pair.self)
    for _ in 0..<t.steps / 2 {
      for i in 0..<4 { target[i] = rows(w, i) }
      w += pairBytes
      target += 4
    }
    if t.steps & 1 != 0 {
      for i in 0..<4 { target[i] = lastRows(w, i) }
    }
  }

  @inline(__always)
  private func bias(_ t: TileOperands, _ i: Int) -> Lanes {
    let bias = load(UnsafeRawPointer(t.bias + 4 &* i))
    return hasFourBits ? bias &<< 4 : bias
  }

  @inline(__always)
  private func unscaled(_ sum: Lanes) -> Lanes { hasFourBits ? sum &>> 4 : sum }

  @inline(__always)
  private func biases(_ t: TileOperands) -> PixelPair {
    PixelPair(bias(t, 0), bias(t, 1), bias(t, 2), bias(t, 3))
  }

  /// Six pixels: 24 accumulators; three vectors of inputs and four of weights fit the other registers.
  @inline(__always)
  func sumSix(_ t: TileOperands, _ sums: Sums) {
    let base0 = t.bases[0], base1 = t.bases[1], base2 = t.bases[2]
    let base3 = t.bases[3], base4 = t.bases[4], base5 = t.bases[5]
    var pixels01 = biases(t)
    var pixels23 = pixels01, pixels45 = pixels01
    var w = start(t)
    for number in 0..<t.steps / 2 {
      let offsets = t.stepOffsets + 2 &* number
      let x01: Lanes, x23: Lanes, x45: Lanes
      if isPair(offsets) {
        let offset = Int(offsets[0])
        x01 = load_upper_half_x4(load_8_bytes_x4(base0 + offset), base1 + offset)
        x23 = load_upper_half_x4(load_8_bytes_x4(base2 + offset), base3 + offset)
        x45 = load_upper_half_x4(load_8_bytes_x4(base4 + offset), base5 + offset)
      } else {
        x01 = gather(base0, base1, offsets)
        x23 = gather(base2, base3, offsets)
        x45 = gather(base4, base5, offsets)
      }
      let w0 = rows(w, 0)
      pixels01.s0.add(w0.first, w0.second, x01)
      pixels23.s0.add(w0.first, w0.second, x23)
      pixels45.s0.add(w0.first, w0.second, x45)
      w = after(w, pixels01.s0, pixels23.s0, pixels45.s0)
      let w1 = rows(w, 1)
      pixels01.s1.add(w1.first, w1.second, x01)
      pixels23.s1.add(w1.first, w1.second, x23)
      pixels45.s1.add(w1.first, w1.second, x45)
      w = after(w, pixels01.s1, pixels23.s1, pixels45.s1)
      let w2 = rows(w, 2)
      pixels01.s2.add(w2.first, w2.second, x01)
      pixels23.s2.add(w2.first, w2.second, x23)
      pixels45.s2.add(w2.first, w2.second, x45)
      w = after(w, pixels01.s2, pixels23.s2, pixels45.s2)
      let w3 = rows(w, 3)
      pixels01.s3.add(w3.first, w3.second, x01)
      pixels23.s3.add(w3.first, w3.second, x23)
      pixels45.s3.add(w3.first, w3.second, x45)
      w += pairBytes
    }
    if !hasFourBits && t.steps & 1 != 0 {
      let offset = Int(t.stepOffsets[t.steps &- 1])
      addLast(w, base0 + offset, base1 + offset, &pixels01)
      addLast(w, base2 + offset, base3 + offset, &pixels23)
      addLast(w, base4 + offset, base5 + offset, &pixels45)
    }
    store(pixels01, sums)
    store(pixels23, sums + 8)
    store(pixels45, sums + 16)
  }

  @inline(__always)
  func sumTwo(_ t: TileOperands, _ sums: Sums) {
    let base0 = t.bases[0], base1 = t.bases[1]
    var pixels = biases(t)
    var w = start(t)
    for number in 0..<t.steps / 2 {
      let x = gather(base0, base1, t.stepOffsets + 2 &* number)
      let w0 = rows(w, 0), w1 = rows(w, 1)
      let w2 = rows(w, 2), w3 = rows(w, 3)
      pixels.s0.add(w0.first, w0.second, x)
      pixels.s1.add(w1.first, w1.second, x)
      pixels.s2.add(w2.first, w2.second, x)
      pixels.s3.add(w3.first, w3.second, x)
      w += pairBytes
    }
    if !hasFourBits && t.steps & 1 != 0 {
      let offset = Int(t.stepOffsets[t.steps &- 1])
      addLast(w, base0 + offset, base1 + offset, &pixels)
    }
    store(pixels, sums)
  }

  /// The last step, when their number is odd; of the 8 bytes of each pixel the upper ones have weight zero.
  @inline(__always)
  private func addLast(
    _ w: UnsafeRawPointer, _ first: UnsafeRawPointer, _ second: UnsafeRawPointer, _ pixels: inout PixelPair
  ) {
    let x = load_upper_half_x4(load_8_bytes_x4(first), second)
    let w0 = lastRows(w, 0), w1 = lastRows(w, 1), w2 = lastRows(w, 2), w3 = lastRows(w, 3)
    pixels.s0.add(w0.first, w0.second, x)
    pixels.s1.add(w1.first, w1.second, x)
    pixels.s2.add(w2.first, w2.second, x)
    pixels.s3.add(w3.first, w3.second, x)
  }

  /// One pixel by dot products, of even and odd steps.
  @inline(__always)
  func sumSingle(_ t: TileOperands, _ sums: Sums) {
    let base = t.bases[0]
    var s0 = bias(t, 0), s1 = bias(t, 1), s2 = bias(t, 2), s3 = bias(t, 3)
    var odd0 = Lanes.zero, odd1 = Lanes.zero, odd2 = Lanes.zero, odd3 = Lanes.zero
    var w = t.weights
    for number in 0..<t.steps / 2 {
      let offsets = t.stepOffsets + 2 &* number
      let x = load_lane_1_x4(load_4_bytes_x4(base + Int(offsets[0])), base + Int(offsets[1]))
      let w0 = pair(w, 0), w1 = pair(w, 1), w2 = pair(w, 2), w3 = pair(w, 3)
      s0 = dot4_lane_0_x4(s0, w0.first, x)
      s1 = dot4_lane_0_x4(s1, w1.first, x)
      s2 = dot4_lane_0_x4(s2, w2.first, x)
      s3 = dot4_lane_0_x4(s3, w3.first, x)
      odd0 = dot4_lane_1_x4(odd0, w0.second, x)
      odd1 = dot4_lane_1_x4(odd1, w1.second, x)
      odd2 = dot4_lane_1_x4(odd2, w2.second, x)
      odd3 = dot4_lane_1_x4(odd3, w3.second, x)
      w += pairBytes
    }
    if !hasFourBits && t.steps & 1 != 0 {
      let x = load_4_bytes_x4(base + Int(t.stepOffsets[t.steps &- 1]))
      s0 = dot4_lane_0_x4(s0, load(w), x)
      s1 = dot4_lane_0_x4(s1, load(w + 16), x)
      s2 = dot4_lane_0_x4(s2, load(w + 32), x)
      s3 = dot4_lane_0_x4(s3, load(w + 48), x)
    }
    sums[0] = unscaled(s0 &+ odd0)
    sums[1] = unscaled(s1 &+ odd1)
    sums[2] = unscaled(s2 &+ odd2)
    sums[3] = unscaled(s3 &+ odd3)
  }

  /// Both pixels, one after the other.
  @inline(__always)
  private func store(_ pixels: PixelPair, _ sums: Sums) {
    store(pixels.s0, sums)
    store(pixels.s1, sums + 1)
    store(pixels.s2, sums + 2)
    store(pixels.s3, sums + 3)
  }

  @inline(__always)
  private func store(_ square: Squares, _ sums: Sums) {
    sums[0] = unscaled(lower_halves_x4(square.first, square.second))
    sums[4] = unscaled(upper_halves_x4(square.first, square.second))
  }
}

/// Whether two steps read 8 bytes that lie together.
@inline(__always)
private func isPair(_ offsets: UnsafePointer<Int32>) -> Bool { offsets[1] &- offsets[0] == 4 }

/// `w`, from which nothing is loaded before these sums are complete.
@inline(__always)
private func after(_ w: UnsafeRawPointer, _ a: Squares, _ b: Squares, _ c: Squares) -> UnsafeRawPointer {
  after_x4(after_x4(w, a.first, a.second, b.first, b.second), c.first, c.second, c.first, c.second)
}

/// Two steps of two pixels.
@inline(__always)
private func gather(
  _ first: UnsafeRawPointer, _ second: UnsafeRawPointer, _ offsets: UnsafePointer<Int32>
) -> Lanes {
  let even = Int(offsets[0]), odd = Int(offsets[1])
  return lower_halves_x4(
    load_lane_1_x4(load_4_bytes_x4(first + even), first + odd),
    load_lane_1_x4(load_4_bytes_x4(second + even), second + odd))
}

@inline(__always)
private func load(_ pointer: UnsafeRawPointer) -> Lanes { pointer.loadUnaligned(as: Lanes.self) }
