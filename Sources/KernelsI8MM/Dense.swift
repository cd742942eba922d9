import CInstructions
import KernelInterface
import KernelsNEON

// The matrix product of this instruction set multiplies two rows of 8 unsigned bytes with two of 8 signed ones:
// two pixels and two channels of two steps. Packed weights become such rows by interleaving the two steps.

/// Dense convolution with 8-bit weights.
@export(interface)
package func convolutionDense8I8MM(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.bytes.panelBytes(steps: arguments.steps),
    TileFunctions(
      widePixels: 6, wide: dense8Tile6, narrowPixels: 2, narrow: dense8Tile2, single: dense8Tile1),
    rearranging: interleaving(arguments, dense8Interleave, single: dense8Tile1))
}

/// Dense convolution with 4-bit weights.
@export(interface)
package func convolutionDense4I8MM(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.nibbles.panelBytes(steps: arguments.steps),
    TileFunctions(
      widePixels: 6, wide: dense4Tile6, narrowPixels: 2, narrow: dense4Tile2, single: dense4Tile1),
    rearranging: interleaving(arguments, dense4Interleave, single: dense4Tile1))
}

/// Dense convolution with 2-bit weights.
@export(interface)
package func convolutionDense2I8MM(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.pairsOfBits.panelBytes(steps: arguments.steps),
    TileFunctions(
      widePixels: 6, wide: dense2Tile6, narrowPixels: 2, narrow: dense2Tile2, single: dense2Tile1),
    rearranging: interleaving(arguments, dense2Interleave, single: dense2Tile1))
}

/// Dense convolution with weights from tables of 16.
@export(interface)
package func convolutionPaletteI8MM(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.codes.panelBytes(steps: arguments.steps),
    TileFunctions(
      widePixels: 6, wide: paletteTile6, narrowPixels: 2, narrow: paletteTile2, single: paletteTile1),
    rearranging: interleaving(arguments, paletteInterleave, single: paletteTile1))
}

/// Once they are bytes in the order of matrix products, weights of all kinds are one.
private func interleaving(
  _ arguments: ConvolutionArguments, _ prepare: @escaping (TileOperands) -> Void,
  single: @escaping TileFunction
) -> TileFunctions {
  TileFunctions(
    rearrangedBytes: 128 &* ((arguments.steps &+ 1) / 2), prepare: prepare, widePixels: 6,
    wide: interleavedTile6, narrowPixels: 2, narrow: interleavedTile2, single: single)
}

private func dense8Tile6(_ t: TileOperands, _ s: Sums) { Tile(weights: .bytes).sumSix(t, s) }
private func dense8Tile2(_ t: TileOperands, _ s: Sums) { Tile(weights: .bytes).sumTwo(t, s) }
private func dense8Tile1(_ t: TileOperands, _ s: Sums) { Tile(weights: .bytes).sumSingle(t, s) }
private func dense8Interleave(_ t: TileOperands) { Tile(weights: .bytes).interleave(t) }

private func dense4Tile6(_ t: TileOperands, _ s: Sums) { Tile(weights: .nibbles).sumSix(t, s) }
private func dense4Tile2(_ t: TileOperands, _ s: Sums) { Tile(weights: .nibbles).sumTwo(t, s) }
private func dense4Tile1(_ t: TileOperands, _ s: Sums) { Tile(weights: .nibbles).sumSingle(t, s) }
private func dense4Interleave(_ t: TileOperands) { Tile(weights: .nibbles).interleave(t) }

private func dense2Tile6(_ t: TileOperands, _ s: Sums) { Tile(weights: .pairsOfBits).sumSix(t, s) }
private func dense2Tile2(_ t: TileOperands, _ s: Sums) { Tile(weights: .pairsOfBits).sumTwo(t, s) }
private func dense2Tile1(_ t: TileOperands, _ s: Sums) { Tile(weights: .pairsOfBits).sumSingle(t, s) }
private func dense2Interleave(_ t: TileOperands) { Tile(weights: .pairsOfBits).interleave(t) }

private func paletteTile6(_ t: TileOperands, _ s: Sums) { Tile(weights: .codes).sumSix(t, s) }
private func paletteTile2(_ t: TileOperands, _ s: Sums) { Tile(weights: .codes).sumTwo(t, s) }
private func paletteTile1(_ t: TileOperands, _ s: Sums) { Tile(weights: .codes).sumSingle(t, s) }
private func paletteInterleave(_ t: TileOperands) { Tile(weights: .codes).interleave(t) }

private func interleavedTile6(_ t: TileOperands, _ s: Sums) {
  Tile(weights: .bytes, areInterleaved: true).sumSix(t.withRearrangedWeights, s)
}
private func interleavedTile2(_ t: TileOperands, _ s: Sums) {
  Tile(weights: .bytes, areInterleaved: true).sumTwo(t.withRearrangedWeights, s)
}

private typealias Sums = UnsafeMutablePointer<Lanes>

// MARK: - Tiles

/// 16 channels of some pixels.
private struct Tile {
  let weights: PackedWeights
  /// Bytes in the order of matrix products, made by `interleave`.
  var areInterleaved = false

  /// Channels 4 i and 4 i + 1 of two steps, and 4 i + 2 and 4 i + 3.
  private typealias Rows = (first: Lanes, second: Lanes)

  /// - Parameter step: 0, or 2 of four steps in one block.
  @inline(__always)
  private func rows(_ w: UnsafeRawPointer, _ table: Lanes, step: Int, _ i: Int) -> Rows {
    if areInterleaved { return (load(w + 32 &* i), load(w + (32 &* i &+ 16))) }
    let even = weights.vector(w, table, step: step, i), odd = weights.vector(w, table, step: step &+ 1, i)
    return (interleave_low_x4(even, odd), interleave_high_x4(even, odd))
  }

  /// The same of the last step, when their number is odd.
  @inline(__always)
  private func lastRows(_ w: UnsafeRawPointer, _ i: Int) -> Rows {
    if areInterleaved { return rows(w, .zero, step: 0, i) }
    let weights = load(w + 16 &* i)
    return (interleave_low_x4(weights, .zero), interleave_high_x4(weights, .zero))
  }

  /// Calls `body` with the weights of every two steps, the first step's number, and its number in the block of
  /// weights, which `body` must leave where they are, see `after`.
  @inline(__always)
  private func forEachPair(
    _ t: TileOperands, _ body: (_ w: inout UnsafeRawPointer, _ number: Int, _ step: Int) -> Void
  ) {
    let stepsOfBlock = weights == .pairsOfBits ? 4 : 2
    var w = weights.start(t)
    for block in 0..<t.steps / stepsOfBlock {
      body(&w, block &* stepsOfBlock, 0)
      if stepsOfBlock == 4 { body(&w, block &* stepsOfBlock &+ 2, 2) }
      w += weights.blockBytes
    }
  }

  /// The weights of the last step, when their number is odd.
  @inline(__always)
  private func last(_ t: TileOperands) -> UnsafeRawPointer? {
    weights == .bytes && t.steps & 1 != 0 ? t.weights + 64 &* (t.steps &- 1) : nil
  }

  /// All rows of a panel, in order, as bytes.
  @inline(__always)
  func interleave(_ t: TileOperands) {
    let target = t.rearranged.assumingMemoryBound(to: Lanes.self), table = weights.table(t)
    forEachPair(t) { w, number, step in
      for i in 0..<4 {
        let rows = rows(w, table, step: step, i)
        target[4 &* number &+ 2 &* i] = weights.unscaledBytes(rows.first)
        target[4 &* number &+ 2 &* i &+ 1] = weights.unscaledBytes(rows.second)
      }
    }
    if let w = last(t) {
      for i in 0..<4 {
        let rows = lastRows(w, i)
        target[4 &* (t.steps &- 1) &+ 2 &* i] = rows.first
        target[4 &* (t.steps &- 1) &+ 2 &* i &+ 1] = rows.second
      }
    }
  }

  @inline(__always)
  private func bias(_ t: TileOperands) -> Row { Row(UnsafeRawPointer(t.bias)).map { weights.scaled($0) } }

  /// Six pixels: 24 accumulators; three vectors of inputs and four of weights fit the other registers.
  @inline(__always)
  func sumSix(_ t: TileOperands, _ sums: Sums) {
    let base0 = t.bases[0], base1 = t.bases[1], base2 = t.bases[2]
    let base3 = t.bases[3], base4 = t.bases[4], base5 = t.bases[5]
    let table = weights.table(t)
    var pixels01 = PixelPair(bias(t))
    var pixels23 = pixels01, pixels45 = pixels01
    forEachPair(t) { w, number, step in
      let offsets = t.stepOffsets + number
      let arePair = isPair(offsets)
      let x01 = inputs(base0, base1, offsets, arePair: arePair)
      let x23 = inputs(base2, base3, offsets, arePair: arePair)
      let x45 = inputs(base4, base5, offsets, arePair: arePair)
      let w0 = rows(w, table, step: step, 0)
      pixels01.s0.add(w0.first, w0.second, x01)
      pixels23.s0.add(w0.first, w0.second, x23)
      pixels45.s0.add(w0.first, w0.second, x45)
      w = after(w, pixels01.s0, pixels23.s0, pixels45.s0)
      let w1 = rows(w, table, step: step, 1)
      pixels01.s1.add(w1.first, w1.second, x01)
      pixels23.s1.add(w1.first, w1.second, x23)
      pixels45.s1.add(w1.first, w1.second, x45)
      w = after(w, pixels01.s1, pixels23.s1, pixels45.s1)
      let w2 = rows(w, table, step: step, 2)
      pixels01.s2.add(w2.first, w2.second, x01)
      pixels23.s2.add(w2.first, w2.second, x23)
      pixels45.s2.add(w2.first, w2.second, x45)
      w = after(w, pixels01.s2, pixels23.s2, pixels45.s2)
      let w3 = rows(w, table, step: step, 3)
      pixels01.s3.add(w3.first, w3.second, x01)
      pixels23.s3.add(w3.first, w3.second, x23)
      pixels45.s3.add(w3.first, w3.second, x45)
    }
    if let w = last(t) {
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
    let base0 = t.bases[0], base1 = t.bases[1], table = weights.table(t)
    var pixels = PixelPair(bias(t))
    forEachPair(t) { w, number, step in
      let x = inputs(base0, base1, t.stepOffsets + number, arePair: false)
      let w0 = rows(w, table, step: step, 0), w1 = rows(w, table, step: step, 1)
      let w2 = rows(w, table, step: step, 2), w3 = rows(w, table, step: step, 3)
      pixels.s0.add(w0.first, w0.second, x)
      pixels.s1.add(w1.first, w1.second, x)
      pixels.s2.add(w2.first, w2.second, x)
      pixels.s3.add(w3.first, w3.second, x)
    }
    if let w = last(t) {
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
    let base = t.bases[0], table = weights.table(t)
    var even = bias(t), odd = Row.zero
    forEachPair(t) { w, number, step in
      let x = inputsOfTwo(base, t.stepOffsets + number)
      even.add0(weights.row(w, table, step: step), x)
      odd.add1(weights.row(w, table, step: step &+ 1), x)
    }
    if let w = last(t) { even.add0(Row(w), load_4_bytes_x4(base + Int(t.stepOffsets[t.steps &- 1]))) }
    (even + odd).map { weights.unscaled($0) }.store(sums)
  }

  /// Both pixels, one after the other.
  @inline(__always)
  private func store(_ pixels: PixelPair, _ sums: Sums) {
    pixels.lower.map { weights.unscaled($0) }.store(sums)
    pixels.upper.map { weights.unscaled($0) }.store(sums + 4)
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
private func inputs(
  _ first: UnsafeRawPointer, _ second: UnsafeRawPointer, _ offsets: UnsafePointer<Int32>, arePair: Bool
) -> Lanes {
  let offset = Int(offsets[0])
  return arePair
    ? load_upper_half_x4(load_8_bytes_x4(first + offset), second + offset)
    : lower_halves_x4(inputsOfTwo(first, offsets), inputsOfTwo(second, offsets))
}
