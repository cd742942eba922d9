import CInstructions
import KernelInterface

// Products of inputs less 128 with weights of two bits lie in -254...256, so that sums of 124 of them fit 16 bits: no
// instruction widens them in the loop. The bias makes up for the 128:
//
//     bias + Σ x w  =  bias + 128 Σ w + Σ (x - 128) w   mod 2^32

/// Dense convolution with 2-bit weights.
@export(interface) package func convolutionDense2NEON(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int
) {
  convolve(
    arguments, first, count, panelBytes: weights.panelBytes(steps: arguments.steps),
    TileFunctions(
      prepare: dense2Prepare, widePixels: 2, wide: dense2Tile2, narrowPixels: 2, narrow: dense2Tile2,
      single: dense2Tile1), rearranging: nil)
}

private typealias Sums = UnsafeMutablePointer<Lanes>

private let weights = PackedWeights.pairsOfBits
/// Groups of four steps whose sums fit 16 bits.
private let quadsAtOnce = 31

private func dense2Tile2(_ t: TileOperands, _ s: Sums) { Tile<2>().sum(t, s) }
private func dense2Tile1(_ t: TileOperands, _ s: Sums) {
  dense2Prepare(t)
  Tile<1>().sum(t, s)
}

/// bias + 128 Σ w.
private func dense2Prepare(_ t: TileOperands) {
  var sums = Row.zero
  for quad in 0..<t.steps / 4 {
    let w = t.weights + 64 &* quad
    let low = row(w, step: 0).combined(row(w, step: 1), add_bytes_x4)
    let high = row(w, step: 2).combined(row(w, step: 3), add_bytes_x4)
    let bytes = low.combined(high, add_bytes_x4)
    sums = sums.combined(bytes) { add_word_pairs_x4($0, add_neighbouring_bytes_x4($1)) }
  }
  (Row(UnsafeRawPointer(t.bias)) + sums.map { $0 &<< 7 }).store(t.prepared)
}

/// The weights of a step, as bytes.
@inline(__always)
private func row(_ quad: UnsafeRawPointer, step: Int) -> Row {
  weights.row(quad, .zero, step: step).map { weights.unscaledBytes($0) }
}

/// 16 channels of some pixels. With two, 16 vectors of sums, four of weights and two of inputs and their repeated lanes
/// fit the 32 registers.
private struct Tile<let pixels: Int> {
  @inline(__always)
  func sum(_ t: TileOperands, _ sums: Sums) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    for pixel in 0..<pixels { Row(UnsafeRawPointer(t.prepared)).store(sums + 4 &* pixel) }
    let quads = t.steps / 4
    var w = t.weights
    var start = 0
    while start < quads {
      var words = InlineArray<pixels, Words>(repeating: Words())
      for quad in start..<min(start &+ quadsAtOnce, quads) {
        let offsets = t.stepOffsets + 4 &* quad
        if isRunOfFour(offsets) {
          add(InlineArray<pixels, Lanes> { signed(load(bases[$0] + Int(offsets[0]))) }, w, &words)
        } else {
          add(InlineArray<pixels, Lanes> { signed(inputsOfFour(bases[$0], offsets)) }, w, &words)
        }
        w += 64
      }
      for pixel in 0..<pixels { (Row(sums + 4 &* pixel) + words[pixel].sums).store(sums + 4 &* pixel) }
      start &+= quadsAtOnce
    }
  }

  /// Four steps.
  @inline(__always)
  private func add(
    _ x: InlineArray<pixels, Lanes>, _ w: UnsafeRawPointer, _ words: inout InlineArray<pixels, Words>
  ) {
    let w0 = row(w, step: 0)
    for pixel in 0..<pixels { words[pixel].add(w0, repeat_lane_0_x4(x[pixel])) }
    let w1 = row(after(w, words), step: 1)
    for pixel in 0..<pixels { words[pixel].add(w1, repeat_lane_1_x4(x[pixel])) }
    let w2 = row(after(w, words), step: 2)
    for pixel in 0..<pixels { words[pixel].add(w2, repeat_lane_2_x4(x[pixel])) }
    let w3 = row(after(w, words), step: 3)
    for pixel in 0..<pixels { words[pixel].add(w3, repeat_lane_3_x4(x[pixel])) }
  }

  @inline(__always)
  private func after(_ w: UnsafeRawPointer, _ words: InlineArray<pixels, Words>) -> UnsafeRawPointer {
    let first = words[0], last = words[pixels &- 1]
    return after_x4(w, first.low.v3, first.high.v3, last.low.v3, last.high.v3)
  }
}

/// Sums of 16 channels in 16 bits, each in four neighbouring lanes: vector i of `low` has channels 4 i and 4 i + 1.
private struct Words {
  private(set) var low = Row.zero
  private(set) var high = Row.zero

  @inline(__always)
  mutating func add(_ weights: Row, _ x: Lanes) {
    low.accumulate(weights, x, add_low_products_x4)
    high.accumulate(weights, x, add_high_products_x4)
  }

  @inline(__always)
  var sums: Row {
    low.combined(high) { add_neighbours_x4(add_neighbouring_words_x4($0), add_neighbouring_words_x4($1)) }
  }
}
