import CInstructions
import KernelInterface

// Products of signed bytes have 16 bits, and two of them are added there before their sum is widened. Three
// tricks make that exact for unsigned inputs and all weights: in even steps inputs become x - 128, in odd steps
// 127 - x (flips of bits both), whose products are subtracted, and the bias makes up for it:
//
//     bias + Σ x w  =  bias + 128 Σ_even w + 127 Σ_odd w + Σ_even (x - 128) w - Σ_odd (127 - x) w   mod 2^32
//
// Both lie in -128...127, so a product lies in -16256...16384 and the difference of two in -32640...32640.

/// Dense convolution with 8-bit weights.
@export(interface) package func convolutionDense8NEON(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int
) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.bytes.panelBytes(steps: arguments.steps),
    TileFunctions(
      prepare: dense8Prepare, widePixels: 2, wide: dense8Tile2, narrowPixels: 2, narrow: dense8Tile2,
      single: dense8Tile1), rearranging: nil)
}

/// Dense convolution with 4-bit weights.
@export(interface) package func convolutionDense4NEON(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int
) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.nibbles.panelBytes(steps: arguments.steps),
    TileFunctions(
      prepare: dense4Prepare, widePixels: 2, wide: dense4Tile2, narrowPixels: 2, narrow: dense4Tile2,
      single: dense4Tile1), rearranging: nil)
}

/// Dense convolution with weights from tables of 16.
@export(interface) package func convolutionPaletteNEON(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int
) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.codes.panelBytes(steps: arguments.steps),
    TileFunctions(
      prepare: palettePrepare, widePixels: 2, wide: paletteTile2, narrowPixels: 2, narrow: paletteTile2,
      single: paletteTile1), rearranging: nil)
}

private func dense8Prepare(_ t: TileOperands) { Tile(weights: .bytes).prepare(t) }
private func dense8Tile2(_ t: TileOperands, _ s: Sums) { Tile(weights: .bytes).sumTwo(t, s) }
private func dense8Tile1(_ t: TileOperands, _ s: Sums) { Tile(weights: .bytes).sumSingle(t, s) }

private func dense4Prepare(_ t: TileOperands) { Tile(weights: .nibbles).prepare(t) }
private func dense4Tile2(_ t: TileOperands, _ s: Sums) { Tile(weights: .nibbles).sumTwo(t, s) }
private func dense4Tile1(_ t: TileOperands, _ s: Sums) { Tile(weights: .nibbles).sumSingle(t, s) }

private func palettePrepare(_ t: TileOperands) { Tile(weights: .codes).prepare(t) }
private func paletteTile2(_ t: TileOperands, _ s: Sums) { Tile(weights: .codes).sumTwo(t, s) }
private func paletteTile1(_ t: TileOperands, _ s: Sums) { Tile(weights: .codes).sumSingle(t, s) }

private typealias Sums = UnsafeMutablePointer<Lanes>

/// 16 channels of some pixels; two steps a block of weights.
private struct Tile {
  let weights: PackedWeights

  /// bias + 128 Σ_even w + 127 Σ_odd w, four channels at a time.
  @inline(__always)
  func prepare(_ t: TileOperands) {
    let table = weights.table(t)
    for i in 0..<4 {
      var evenLow = Lanes.zero, oddLow = Lanes.zero
      var w = weights.start(t)
      // Sums of two bytes in 16 bits, then of four channels in 32.
      for _ in 0..<t.steps / 2 {
        let even = weights.vector(w, table, step: 0, i), odd = weights.vector(w, table, step: 1, i)
        evenLow = add_word_pairs_x4(evenLow, add_neighbouring_bytes_x4(even))
        oddLow = add_word_pairs_x4(oddLow, add_neighbouring_bytes_x4(odd))
        w += weights.blockBytes
      }
      if t.steps & 1 != 0 {
        evenLow = add_word_pairs_x4(evenLow, add_neighbouring_bytes_x4(load(w + 16 &* i)))
      }
      let bias = weights.scaled(load(UnsafeRawPointer(t.bias + 4 &* i)))
      t.prepared[i] = bias &+ ((evenLow &+ oddLow) &<< 7) &- oddLow
    }
  }

  /// Two pixels: 16 accumulators.
  @inline(__always)
  func sumTwo(_ t: TileOperands, _ sums: Sums) {
    let base0 = t.bases[0], base1 = t.bases[1], table = weights.table(t)
    var row0 = HalfSums(), row1 = HalfSums()
    var w = weights.start(t)
    for number in 0..<t.steps / 2 {
      let offsets = t.stepOffsets + 2 &* number
      let x0 = inputs(base0, offsets), x1 = inputs(base1, offsets)
      let even0 = repeat_lane_0_x4(x0), odd0 = repeat_lane_1_x4(x0)
      let even1 = repeat_lane_0_x4(x1), odd1 = repeat_lane_1_x4(x1)
      addTwo(0, &row0.s0, &row1.s0, &w, table, even0, odd0, even1, odd1)
      addTwo(1, &row0.s1, &row1.s1, &w, table, even0, odd0, even1, odd1)
      addTwo(2, &row0.s2, &row1.s2, &w, table, even0, odd0, even1, odd1)
      addTwo(3, &row0.s3, &row1.s3, &w, table, even0, odd0, even1, odd1)
      w += weights.blockBytes
    }
    if weights == .bytes && t.steps & 1 != 0 {
      let offset = Int(t.stepOffsets[t.steps &- 1])
      row0.addLast(w, base0 + offset)
      row1.addLast(w, base1 + offset)
    }
    store(row0, t, sums)
    store(row1, t, sums + 4)
  }

  /// Two steps of channels 4 i to 4 i + 3 of two pixels. What is loaded next stays behind it.
  @inline(__always)
  private func addTwo(
    _ i: Int, _ first: inout HalfSum, _ second: inout HalfSum, _ w: inout UnsafeRawPointer, _ table: Lanes,
    _ even0: Lanes, _ odd0: Lanes, _ even1: Lanes, _ odd1: Lanes
  ) {
    let even = weights.vector(w, table, step: 0, i), odd = weights.vector(w, table, step: 1, i)
    first.add(even, odd, even0, odd0)
    second.add(even, odd, even1, odd1)
    w = after_x4(w, first.low, first.high, second.low, second.high)
  }

  @inline(__always)
  func sumSingle(_ t: TileOperands, _ sums: Sums) {
    prepare(t)
    let base = t.bases[0], table = weights.table(t)
    var row = HalfSums()
    var w = weights.start(t)
    for number in 0..<t.steps / 2 {
      let x = inputs(base, t.stepOffsets + 2 &* number)
      let even = repeat_lane_0_x4(x), odd = repeat_lane_1_x4(x)
      let w0 = weights.row(w, table, step: 0), w1 = weights.row(w, table, step: 1)
      row.s0.add(w0.v0, w1.v0, even, odd)
      row.s1.add(w0.v1, w1.v1, even, odd)
      row.s2.add(w0.v2, w1.v2, even, odd)
      row.s3.add(w0.v3, w1.v3, even, odd)
      w += weights.blockBytes
    }
    if weights == .bytes && t.steps & 1 != 0 { row.addLast(w, base + Int(t.stepOffsets[t.steps &- 1])) }
    store(row, t, sums)
  }

  @inline(__always)
  private func store(_ row: HalfSums, _ t: TileOperands, _ sums: Sums) {
    let complete = row.sums + Row(UnsafeRawPointer(t.prepared))
    complete.map { weights.unscaled($0) }.store(sums)
  }
}

/// The sums of four channels, each in two neighbouring lanes.
private struct HalfSum {
  var low = Lanes.zero
  var high = Lanes.zero

  @inline(__always)
  mutating func add(_ evenWeights: Lanes, _ oddWeights: Lanes, _ even: Lanes, _ odd: Lanes) {
    let lowWords = subtract_low_products_x4(multiply_low_bytes_x4(evenWeights, even), oddWeights, odd)
    low = add_word_pairs_x4(low, lowWords)
    let highWords = subtract_high_products_x4(multiply_high_bytes_x4(evenWeights, even), oddWeights, odd)
    high = add_word_pairs_x4(high, highWords)
  }

  @inline(__always)
  var sums: Lanes { add_neighbours_x4(low, high) }

  @inline(__always)
  mutating func add(_ weights: Lanes, _ x: Lanes) {
    low = add_word_pairs_x4(low, multiply_low_bytes_x4(weights, x))
    high = add_word_pairs_x4(high, multiply_high_bytes_x4(weights, x))
  }
}

/// The sums of 16 channels of one pixel.
private struct HalfSums {
  var s0 = HalfSum()
  var s1 = HalfSum()
  var s2 = HalfSum()
  var s3 = HalfSum()

  @inline(__always)
  var sums: Row { Row(s0.sums, s1.sums, s2.sums, s3.sums) }

  /// The last step, when their number is odd.
  @inline(__always)
  mutating func addLast(_ w: UnsafeRawPointer, _ inputs: UnsafeRawPointer) {
    let x = repeat_lane_0_x4(signed(load_4_bytes_x4(inputs)))
    s0.add(load(w), x)
    s1.add(load(w + 16), x)
    s2.add(load(w + 32), x)
    s3.add(load(w + 48), x)
  }
}

/// x - 128 of an even step in lane 0, 127 - x of the next in lane 1.
@inline(__always)
private func inputs(_ base: UnsafeRawPointer, _ offsets: UnsafePointer<Int32>) -> Lanes {
  let flips = Lanes(Int32(bitPattern: 0x8080_8080), 0x7F7F_7F7F, 0, 0)
  return kept_x4(kept_x4(inputsOfTwo(base, offsets)) ^ flips)
}
