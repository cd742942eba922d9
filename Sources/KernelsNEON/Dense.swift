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
    arguments, first, count, panelBytes: 64 &* arguments.steps,
    TileFunctions(
      prepare: dense8Prepare, widePixels: 2, wide: dense8Tile2, narrowPixels: 2, narrow: dense8Tile2,
      single: dense8Tile1), rearranging: nil)
}

/// Dense convolution with 4-bit weights.
@export(interface) package func convolutionDense4NEON(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int
) {
  convolve(
    arguments, first, count, panelBytes: 32 &* arguments.steps,
    TileFunctions(
      prepare: dense4Prepare, widePixels: 2, wide: dense4Tile2, narrowPixels: 2, narrow: dense4Tile2,
      single: dense4Tile1), rearranging: nil)
}

private func dense8Prepare(_ t: TileOperands) { Weights(hasFourBits: false).prepare(t) }
private func dense8Tile2(_ t: TileOperands, _ s: Sums) { Weights(hasFourBits: false).sumTwo(t, s) }
private func dense8Tile1(_ t: TileOperands, _ s: Sums) { Weights(hasFourBits: false).sumSingle(t, s) }

private func dense4Prepare(_ t: TileOperands) { Weights(hasFourBits: true).prepare(t) }
private func dense4Tile2(_ t: TileOperands, _ s: Sums) { Weights(hasFourBits: true).sumTwo(t, s) }
private func dense4Tile1(_ t: TileOperands, _ s: Sums) { Weights(hasFourBits: true).sumSingle(t, s) }

private typealias Sums = UnsafeMutablePointer<Lanes>

/// Sums, and how weights are read for them. A nibble in the upper half of its byte is the weight times 16, and
/// so are all sums with 4-bit weights until they are complete.
private struct Weights {
  let hasFourBits: Bool

  /// Four channels of two steps.
  private struct Pair {
    let even: Lanes
    let odd: Lanes
  }

  /// Of two steps.
  @inline(__always)
  private var pairBytes: Int { hasFourBits ? 64 : 128 }

  /// Vector `i` of two steps.
  @inline(__always)
  private func pair(_ pointer: UnsafeRawPointer, _ i: Int) -> Pair {
    let first = load(pointer + 16 &* i)
    return hasFourBits
      ? Pair(
        even: shift_left_4_bytes_x4(first), odd: first & Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0)))
      : Pair(even: first, odd: load(pointer + (64 &+ 16 &* i)))
  }

  /// bias + 128 Σ_even w + 127 Σ_odd w, four channels at a time.
  @inline(__always)
  func prepare(_ t: TileOperands) {
    for i in 0..<4 {
      var evenLow = Lanes.zero, oddLow = Lanes.zero
      var w = t.weights
      // Sums of two bytes in 16 bits, then of four channels in 32.
      for _ in 0..<t.steps / 2 {
        let weights = pair(w, i)
        evenLow = add_word_pairs_x4(evenLow, add_neighbouring_bytes_x4(weights.even))
        oddLow = add_word_pairs_x4(oddLow, add_neighbouring_bytes_x4(weights.odd))
        w += pairBytes
      }
      if t.steps & 1 != 0 {
        evenLow = add_word_pairs_x4(evenLow, add_neighbouring_bytes_x4(load(w + 16 &* i)))
      }
      let bias = load(UnsafeRawPointer(t.bias + 4 &* i))
      t.prepared[i] = (hasFourBits ? bias &<< 4 : bias) &+ ((evenLow &+ oddLow) &<< 7) &- oddLow
    }
  }

  /// Two pixels: 16 accumulators.
  @inline(__always)
  func sumTwo(_ t: TileOperands, _ sums: Sums) {
    let base0 = t.bases[0], base1 = t.bases[1]
    var row0 = HalfSums(), row1 = HalfSums()
    var w = t.weights
    for number in 0..<t.steps / 2 {
      let offsets = t.stepOffsets + 2 &* number
      let x0 = inputs(base0, offsets), x1 = inputs(base1, offsets)
      let even0 = repeat_lane_0_x4(x0), odd0 = repeat_lane_1_x4(x0)
      let even1 = repeat_lane_0_x4(x1), odd1 = repeat_lane_1_x4(x1)
      let w0 = pair(w, 0)
      row0.s0.add(w0.even, w0.odd, even0, odd0)
      row1.s0.add(w0.even, w0.odd, even1, odd1)
      w = after_x4(w, row0.s0.low, row0.s0.high, row1.s0.low, row1.s0.high)
      let w1 = pair(w, 1)
      row0.s1.add(w1.even, w1.odd, even0, odd0)
      row1.s1.add(w1.even, w1.odd, even1, odd1)
      w = after_x4(w, row0.s1.low, row0.s1.high, row1.s1.low, row1.s1.high)
      let w2 = pair(w, 2)
      row0.s2.add(w2.even, w2.odd, even0, odd0)
      row1.s2.add(w2.even, w2.odd, even1, odd1)
      w = after_x4(w, row0.s2.low, row0.s2.high, row1.s2.low, row1.s2.high)
      let w3 = pair(w, 3)
      row0.s3.add(w3.even, w3.odd, even0, odd0)
      row1.s3.add(w3.even, w3.odd, even1, odd1)
      w += pairBytes
    }
    if !hasFourBits && t.steps & 1 != 0 {
      let offset = Int(t.stepOffsets[t.steps &- 1])
      row0.addLast(w, base0 + offset)
      row1.addLast(w, base1 + offset)
    }
    store(row0, t, sums)
    store(row1, t, sums + 4)
  }

  @inline(__always)
  func sumSingle(_ t: TileOperands, _ sums: Sums) {
    prepare(t)
    let base = t.bases[0]
    var row = HalfSums()
    var w = t.weights
    for number in 0..<t.steps / 2 {
      let x = inputs(base, t.stepOffsets + 2 &* number)
      let even = repeat_lane_0_x4(x), odd = repeat_lane_1_x4(x)
      let w0 = pair(w, 0), w1 = pair(w, 1), w2 = pair(w, 2), w3 = pair(w, 3)
      row.s0.add(w0.even, w0.odd, even, odd)
      row.s1.add(w1.even, w1.odd, even, odd)
      row.s2.add(w2.even, w2.odd, even, odd)
      row.s3.add(w3.even, w3.odd, even, odd)
      w += pairBytes
    }
    if !hasFourBits && t.steps & 1 != 0 { row.addLast(w, base + Int(t.stepOffsets[t.steps &- 1])) }
    store(row, t, sums)
  }

  @inline(__always)
  private func store(_ row: HalfSums, _ t: TileOperands, _ sums: Sums) {
    store(row.s0, t, sums, 0)
    store(row.s1, t, sums, 1)
    store(row.s2, t, sums, 2)
    store(row.s3, t, sums, 3)
  }

  @inline(__always)
  private func store(_ half: HalfSum, _ t: TileOperands, _ sums: Sums, _ i: Int) {
    let sum = add_neighbours_x4(half.low, half.high) &+ t.prepared[i]
    sums[i] = hasFourBits ? sum &>> 4 : sum
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

  /// The last step, when their number is odd.
  @inline(__always)
  mutating func addLast(_ w: UnsafeRawPointer, _ inputs: UnsafeRawPointer) {
    let x = repeat_lane_0_x4(load_4_bytes_x4(inputs) ^ Lanes(repeating: Int32(bitPattern: 0x8080_8080)))
    s0.add(load(w), x)
    s1.add(load(w + 16), x)
    s2.add(load(w + 32), x)
    s3.add(load(w + 48), x)
  }
}

/// x - 128 of an even step in lane 0, 127 - x of the next in lane 1.
@inline(__always)
private func inputs(_ base: UnsafeRawPointer, _ offsets: UnsafePointer<Int32>) -> Lanes {
  let low = load_4_bytes_x4(base + Int(offsets[0]))
  let flips = Lanes(Int32(bitPattern: 0x8080_8080), 0x7F7F_7F7F, 0, 0)
  return kept_x4(kept_x4(load_lane_1_x4(low, base + Int(offsets[1]))) ^ flips)
}

@inline(__always)
private func load(_ pointer: UnsafeRawPointer) -> Lanes { pointer.loadUnaligned(as: Lanes.self) }
