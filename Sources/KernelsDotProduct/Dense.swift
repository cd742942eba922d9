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
    arguments, first, count, panelBytes: 64 &* arguments.steps,
    TileFunctions(
      prepare: dense8Prepare, widePixels: 4, wide: dense8Tile4, narrowPixels: 2, narrow: dense8Tile2,
      single: dense8Tile1), rearranging: nil)
}

/// Dense convolution with 4-bit weights.
@export(interface)
package func convolutionDense4DotProduct(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, first, count, panelBytes: 32 &* arguments.steps,
    TileFunctions(
      prepare: dense4Prepare, widePixels: 4, wide: dense4Tile4, narrowPixels: 2, narrow: dense4Tile2,
      single: dense4Tile1),
    rearranging: TileFunctions(
      rearrangedBytes: 64 &* arguments.steps, prepare: dense4Unpack, widePixels: 4, wide: dense4UnpackedTile4,
      narrowPixels: 2, narrow: dense4UnpackedTile2, single: dense4Tile1))
}

private let bytes = Weights(hasFourBits: false, areUnpacked: false)
private let nibbles = Weights(hasFourBits: true, areUnpacked: false)
private let unpackedNibbles = Weights(hasFourBits: true, areUnpacked: true)

private func dense8Prepare(_ t: TileOperands) { bytes.prepare(t) }
private func dense8Tile4(_ t: TileOperands, _ s: Sums) { Tile<4>(weights: bytes).sum(t, s) }
private func dense8Tile2(_ t: TileOperands, _ s: Sums) { Tile<2>(weights: bytes).sum(t, s) }
private func dense8Tile1(_ t: TileOperands, _ s: Sums) { bytes.sumSingle(t, s) }

private func dense4Prepare(_ t: TileOperands) { nibbles.prepare(t) }
private func dense4Tile4(_ t: TileOperands, _ s: Sums) { Tile<4>(weights: nibbles).sum(t, s) }
private func dense4Tile2(_ t: TileOperands, _ s: Sums) { Tile<2>(weights: nibbles).sum(t, s) }
private func dense4Tile1(_ t: TileOperands, _ s: Sums) { nibbles.sumSingle(t, s) }
private func dense4Unpack(_ t: TileOperands) {
  nibbles.unpack(t)
  dense4UnpackedPrepare(t)
}
/// Not inlined: Swift 6.3.1 crashes while it compiles both loops in one function.
@inline(never) private func dense4UnpackedPrepare(_ t: TileOperands) { unpackedNibbles.prepare(t) }
private func dense4UnpackedTile4(_ t: TileOperands, _ s: Sums) { Tile<4>(weights: unpackedNibbles).sum(t, s) }
private func dense4UnpackedTile2(_ t: TileOperands, _ s: Sums) { Tile<2>(weights: unpackedNibbles).sum(t, s) }

private typealias Sums = UnsafeMutablePointer<Lanes>

// MARK: - Tiles

/// 16 channels of some pixels. With four, 16 accumulators, eight vectors of weights and four of inputs fit the
/// 32 registers.
private struct Tile<let pixels: Int> {
  let weights: Weights

  @inline(__always)
  func sum(_ t: TileOperands, _ sums: Sums) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    var rows = InlineArray<pixels, Row>(repeating: Row(UnsafeRawPointer(t.prepared)))
    var step = 0
    var w = weights.start(t)
    while step &+ 1 < t.steps {
      let offsets = t.stepOffsets + step
      if step &+ 3 < t.steps, isRunOfFour(offsets) {
        let x = InlineArray<pixels, Lanes> { signed(load(bases[$0] + Int(offsets[0]))) }
        let w0 = weights.even(w), w1 = weights.odd(w)
        for pixel in 0..<pixels {
          rows[pixel].add0(w0, x[pixel])
          rows[pixel].add1(w1, x[pixel])
        }
        w = after_x4(
          w + weights.pairBytes, rows[0].v3, rows[pixels / 4].v3, rows[pixels / 2].v3, rows[pixels &- 1].v3)
        let w2 = weights.even(w), w3 = weights.odd(w)
        for pixel in 0..<pixels {
          rows[pixel].add2(w2, x[pixel])
          rows[pixel].add3(w3, x[pixel])
        }
        step &+= 4
      } else {
        let w0 = weights.even(w), w1 = weights.odd(w)
        for pixel in 0..<pixels {
          let low = load_4_bytes_x4(bases[pixel] + Int(offsets[0]))
          let x = signed(load_lane_1_x4(low, bases[pixel] + Int(offsets[1])))
          rows[pixel].add0(w0, x)
          rows[pixel].add1(w1, x)
        }
        step &+= 2
      }
      w += weights.pairBytes
    }
    if !weights.hasFourBits && step < t.steps {
      let w0 = weights.even(w)
      for pixel in 0..<pixels {
        rows[pixel].add0(w0, signed(load_4_bytes_x4(bases[pixel] + Int(t.stepOffsets[step]))))
      }
    }
    for pixel in 0..<pixels { weights.unscaled(rows[pixel]).store(sums + 4 &* pixel) }
  }
}

/// How weights are read. A nibble in the upper half of its byte is the weight times 16, and so are all sums
/// with 4-bit weights until they are complete.
private struct Weights {
  let hasFourBits: Bool
  /// Nibbles in bytes of their own, made by `unpack`.
  let areUnpacked: Bool

  @inline(__always)
  private var arePacked: Bool { hasFourBits && !areUnpacked }

  @inline(__always)
  func start(_ t: TileOperands) -> UnsafeRawPointer {
    areUnpacked ? UnsafeRawPointer(t.rearranged) : t.weights
  }

  /// Of two steps.
  @inline(__always)
  var pairBytes: Int { arePacked ? 64 : 128 }

  @inline(__always)
  func even(_ pair: UnsafeRawPointer) -> Row { arePacked ? Row(pair).lowerNibbles : Row(pair) }

  @inline(__always)
  func odd(_ pair: UnsafeRawPointer) -> Row { arePacked ? Row(pair).upperNibbles : Row(pair + 64) }

  /// All weights of a panel, in order.
  @inline(__always)
  func unpack(_ t: TileOperands) {
    var w = t.weights
    let target = t.rearranged.assumingMemoryBound(to: Lanes.self)
    for pair in 0..<t.steps / 2 {
      even(w).store(target + 8 &* pair)
      odd(w).store(target + (8 &* pair &+ 4))
      w += pairBytes
    }
  }

  @inline(__always)
  func bias(_ t: TileOperands) -> Row {
    let bias = Row(UnsafeRawPointer(t.bias))
    return hasFourBits ? bias.shiftedLeft(4) : bias
  }

  @inline(__always)
  func unscaled(_ row: Row) -> Row { hasFourBits ? row.shiftedRight(4) : row }

  /// bias + 128 Σ w.
  @inline(__always)
  func prepare(_ t: TileOperands) {
    var row = Row.zero
    var w = start(t)
    for _ in 0..<t.steps / 2 {
      row.add0(even(w), .minus128)
      row.add0(odd(w), .minus128)
      w += pairBytes
    }
    if t.steps & 1 != 0 { row.add0(even(w), .minus128) }
    bias(t).subtracting(row).store(t.prepared)
  }

  /// One pixel and the sum of the weights at once: what there is to load bounds the speed.
  @inline(__always)
  func sumSingle(_ t: TileOperands, _ sums: Sums) {
    let base = t.bases[0]
    var row = bias(t), correction = Row.zero
    var w = start(t)
    for pair in 0..<t.steps / 2 {
      let w0 = even(w), w1 = odd(w)
      let low = load_4_bytes_x4(base + Int(t.stepOffsets[2 &* pair]))
      let x = signed(load_lane_1_x4(low, base + Int(t.stepOffsets[2 &* pair &+ 1])))
      row.add0(w0, x)
      correction.add0(w0, .minus128)
      row.add1(w1, x)
      correction.add0(w1, .minus128)
      w += pairBytes
    }
    if t.steps & 1 != 0 {
      let w0 = even(w)
      row.add0(w0, signed(load_4_bytes_x4(base + Int(t.stepOffsets[t.steps &- 1]))))
      correction.add0(w0, .minus128)
    }
    unscaled(row.subtracting(correction)).store(sums)
  }
}

/// Whether four steps read 16 bytes that lie together. Offsets are not negative.
@inline(__always)
private func isRunOfFour(_ offsets: UnsafePointer<Int32>) -> Bool {
  let both01 = UnsafeRawPointer(offsets).loadUnaligned(as: UInt64.self)
  let both23 = UnsafeRawPointer(offsets + 2).loadUnaligned(as: UInt64.self)
  return both23 &- both01 == 0x8_0000_0008 && both01 &>> 32 == (both01 & 0xFFFF_FFFF) &+ 4
}

/// 128 less, as signed bytes.
@inline(__always)
private func signed(_ x: Lanes) -> Lanes { kept_x4(kept_x4(x) ^ .minus128) }

extension Lanes {
  /// All bytes -128.
  @inline(__always)
  fileprivate static var minus128: Lanes { Lanes(repeating: Int32(bitPattern: 0x8080_8080)) }
}
