import CInstructions
import KernelInterface
import KernelsNEON

// The dot product of this instruction set multiplies signed bytes. Inputs become signed by a flip of their
// highest bit, which subtracts 128, and the bias makes up for it:
//
//     bias + Σ x w  =  bias + 128 Σ w + Σ (x - 128) w   mod 2^32

/// Dense convolution with 8-bit weights.
@export(interface)
package func convolutionDense8DotProduct(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.bytes.panelBytes(steps: arguments.steps),
    TileFunctions(
      prepare: dense8Prepare, widePixels: 4, wide: dense8Tile4, narrowPixels: 2, narrow: dense8Tile2,
      single: dense8Tile1), rearranging: nil)
}

/// Dense convolution with 4-bit weights.
@export(interface)
package func convolutionDense4DotProduct(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.nibbles.panelBytes(steps: arguments.steps),
    TileFunctions(
      prepare: dense4Prepare, widePixels: 4, wide: dense4Tile4, narrowPixels: 2, narrow: dense4Tile2,
      single: dense4Tile1),
    rearranging: unpacking(arguments, dense4Unpack, single: dense4Tile1))
}

/// Dense convolution with 2-bit weights.
@export(interface)
package func convolutionDense2DotProduct(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.pairsOfBits.panelBytes(steps: arguments.steps),
    TileFunctions(
      prepare: dense2Prepare, widePixels: 4, wide: dense2Tile4, narrowPixels: 2, narrow: dense2Tile2,
      single: dense2Tile1),
    rearranging: unpacking(arguments, dense2Unpack, single: dense2Tile1))
}

/// Dense convolution with weights from tables of 16.
@export(interface)
package func convolutionPaletteDotProduct(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: PackedWeights.codes.panelBytes(steps: arguments.steps),
    TileFunctions(
      prepare: palettePrepare, widePixels: 4, wide: paletteTile4, narrowPixels: 2, narrow: paletteTile2,
      single: paletteTile1),
    rearranging: unpacking(arguments, paletteUnpack, single: paletteTile1))
}

/// Once they are bytes, weights of all kinds are one.
private func unpacking(
  _ arguments: ConvolutionArguments, _ prepare: @escaping (TileOperands) -> Void,
  single: @escaping TileFunction
) -> TileFunctions {
  TileFunctions(
    rearrangedBytes: 64 &* arguments.steps, prepare: prepare, widePixels: 4, wide: unpackedTile4,
    narrowPixels: 2, narrow: unpackedTile2, single: single)
}

private func dense8Prepare(_ t: TileOperands) { PackedWeights.bytes.prepare(t) }
private func dense8Tile4(_ t: TileOperands, _ s: Sums) { Tile<4>(weights: .bytes).sum(t, s) }
private func dense8Tile2(_ t: TileOperands, _ s: Sums) { Tile<2>(weights: .bytes).sum(t, s) }
private func dense8Tile1(_ t: TileOperands, _ s: Sums) { PackedWeights.bytes.sumSingle(t, s) }

private func dense4Prepare(_ t: TileOperands) { PackedWeights.nibbles.prepare(t) }
private func dense4Tile4(_ t: TileOperands, _ s: Sums) { Tile<4>(weights: .nibbles).sum(t, s) }
private func dense4Tile2(_ t: TileOperands, _ s: Sums) { Tile<2>(weights: .nibbles).sum(t, s) }
private func dense4Tile1(_ t: TileOperands, _ s: Sums) { PackedWeights.nibbles.sumSingle(t, s) }
private func dense4Unpack(_ t: TileOperands) { PackedWeights.nibbles.unpack(t) }

private func dense2Prepare(_ t: TileOperands) { PackedWeights.pairsOfBits.prepare(t) }
private func dense2Tile4(_ t: TileOperands, _ s: Sums) { Tile<4>(weights: .pairsOfBits).sum(t, s) }
private func dense2Tile2(_ t: TileOperands, _ s: Sums) { Tile<2>(weights: .pairsOfBits).sum(t, s) }
private func dense2Tile1(_ t: TileOperands, _ s: Sums) { PackedWeights.pairsOfBits.sumSingle(t, s) }
private func dense2Unpack(_ t: TileOperands) { PackedWeights.pairsOfBits.unpack(t) }

private func palettePrepare(_ t: TileOperands) { PackedWeights.codes.prepare(t) }
private func paletteTile4(_ t: TileOperands, _ s: Sums) { Tile<4>(weights: .codes).sum(t, s) }
private func paletteTile2(_ t: TileOperands, _ s: Sums) { Tile<2>(weights: .codes).sum(t, s) }
private func paletteTile1(_ t: TileOperands, _ s: Sums) { PackedWeights.codes.sumSingle(t, s) }
private func paletteUnpack(_ t: TileOperands) { PackedWeights.codes.unpack(t) }

private func unpackedTile4(_ t: TileOperands, _ s: Sums) {
  Tile<4>(weights: .bytes).sum(t.withRearrangedWeights, s)
}
private func unpackedTile2(_ t: TileOperands, _ s: Sums) {
  Tile<2>(weights: .bytes).sum(t.withRearrangedWeights, s)
}

private typealias Sums = UnsafeMutablePointer<Lanes>

// MARK: - Tiles

/// 16 channels of some pixels. With four, 16 accumulators, eight vectors of weights and four of inputs fit the
/// 32 registers.
private struct Tile<let pixels: Int> {
  let weights: PackedWeights

  @inline(__always)
  func sum(_ t: TileOperands, _ sums: Sums) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    let table = weights.table(t)
    var rows = InlineArray<pixels, Row>(repeating: Row(UnsafeRawPointer(t.prepared)))
    var step = 0
    var w = weights.start(t)
    while step &+ 3 < t.steps {
      let offsets = t.stepOffsets + step
      if isRunOfFour(offsets) {
        add(InlineArray<pixels, Lanes> { signed(load(bases[$0] + Int(offsets[0]))) }, w, table, &rows)
      } else {
        add(InlineArray<pixels, Lanes> { signed(inputsOfFour(bases[$0], offsets)) }, w, table, &rows)
      }
      w += weights.quadBytes
      step &+= 4
    }
    if weights != .pairsOfBits && step &+ 1 < t.steps {
      let w0 = weights.row(w, table, step: 0), w1 = weights.row(w, table, step: 1)
      for pixel in 0..<pixels {
        let x = signed(inputsOfTwo(bases[pixel], t.stepOffsets + step))
        rows[pixel].add0(w0, x)
        rows[pixel].add1(w1, x)
      }
      w += weights.blockBytes
      step &+= 2
    }
    if weights == .bytes && step < t.steps {
      let w0 = weights.row(w, table, step: 0)
      for pixel in 0..<pixels {
        rows[pixel].add0(w0, signed(load_4_bytes_x4(bases[pixel] + Int(t.stepOffsets[step]))))
      }
    }
    for pixel in 0..<pixels { rows[pixel].map { weights.unscaled($0) }.store(sums + 4 &* pixel) }
  }

  /// Four steps.
  @inline(__always)
  private func add(
    _ x: InlineArray<pixels, Lanes>, _ w: UnsafeRawPointer, _ table: Lanes,
    _ rows: inout InlineArray<pixels, Row>
  ) {
    let w0 = weights.row(w, table, step: 0)
    for pixel in 0..<pixels { rows[pixel].add0(w0, x[pixel]) }
    let w1 = weights.row(weights == .pairsOfBits ? after(w, rows) : w, table, step: 1)
    for pixel in 0..<pixels { rows[pixel].add1(w1, x[pixel]) }
    let v = after(w, rows)
    let w2 = weights.row(v, table, step: 2)
    for pixel in 0..<pixels { rows[pixel].add2(w2, x[pixel]) }
    let w3 = weights.row(weights == .pairsOfBits ? after(w, rows) : v, table, step: 3)
    for pixel in 0..<pixels { rows[pixel].add3(w3, x[pixel]) }
  }

  /// `w`, from which nothing is loaded before these sums are complete.
  @inline(__always)
  private func after(_ w: UnsafeRawPointer, _ rows: InlineArray<pixels, Row>) -> UnsafeRawPointer {
    after_x4(w, rows[0].v3, rows[pixels / 4].v3, rows[pixels / 2].v3, rows[pixels &- 1].v3)
  }
}

extension PackedWeights {
  /// Calls `body` with the scaled weights of every step and its number.
  @inline(__always)
  private func forEachStep(_ t: TileOperands, _ body: (_ w: Row, _ step: Int) -> Void) {
    let table = table(t)
    var w = start(t)
    var step = 0
    while step &+ 3 < t.steps {
      body(row(w, table, step: 0), step)
      body(row(w, table, step: 1), step &+ 1)
      body(row(w, table, step: 2), step &+ 2)
      body(row(w, table, step: 3), step &+ 3)
      w += quadBytes
      step &+= 4
    }
    if self != .pairsOfBits && step &+ 1 < t.steps {
      body(row(w, table, step: 0), step)
      body(row(w, table, step: 1), step &+ 1)
      w += blockBytes
      step &+= 2
    }
    if self == .bytes && step < t.steps { body(row(w, table, step: 0), step) }
  }

  /// bias + 128 Σ w.
  @inline(__always)
  fileprivate func prepare(_ t: TileOperands) {
    var correction = Row.zero
    forEachStep(t) { w, _ in correction.add0(w, .minus128) }
    (Row(UnsafeRawPointer(t.bias)).map { scaled($0) } - correction).store(t.prepared)
  }

  /// All weights of a panel, in order, as bytes, and the bias with their sum.
  @inline(__always)
  fileprivate func unpack(_ t: TileOperands) {
    let target = t.rearranged.assumingMemoryBound(to: Lanes.self)
    var correction = Row.zero
    forEachStep(t) { w, step in
      let bytes = w.map { unscaledBytes($0) }
      correction.add0(bytes, .minus128)
      bytes.store(target + 4 &* step)
    }
    (Row(UnsafeRawPointer(t.bias)) - correction).store(t.prepared)
  }

  /// One pixel and the sum of the weights at once: what there is to load bounds the speed.
  @inline(__always)
  fileprivate func sumSingle(_ t: TileOperands, _ sums: Sums) {
    let base = t.bases[0]
    var row = Row(UnsafeRawPointer(t.bias)).map { scaled($0) }, correction = Row.zero
    forEachStep(t) { w, step in
      row.add0(w, signed(load_4_bytes_x4(base + Int(t.stepOffsets[step]))))
      correction.add0(w, .minus128)
    }
    (row - correction).map { unscaled($0) }.store(sums)
  }
}

extension Lanes {
  /// All bytes -128.
  @inline(__always)
  fileprivate static var minus128: Lanes { Lanes(repeating: Int32(bitPattern: 0x8080_8080)) }
}
