import CInstructions
import KernelInterface

/// Convolution with weights of -1 and 1, on bits.
@export(interface) package func convolutionBinaryNEON(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int
) {
  convolve(
    arguments, first, count, panelBytes: 64 &* (arguments.steps / arguments.planes),
    TileFunctions(
      widePixels: 4, wide: binaryTile4, narrowPixels: 2, narrow: binaryTile2, single: binaryTile1),
    rearranging: nil)
}

/// Convolution with weights of -1, 0 and 1, on bits.
@export(interface) package func convolutionTernaryNEON(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int
) {
  convolve(
    arguments, first, count, panelBytes: 128 &* (arguments.steps / arguments.planes),
    TileFunctions(
      widePixels: 4, wide: ternaryTile4, narrowPixels: 2, narrow: ternaryTile2, single: ternaryTile1),
    rearranging: nil)
}

private typealias Sums = UnsafeMutablePointer<Lanes>

private func binaryTile4(_ t: TileOperands, _ s: Sums) { Tile<4>(isTernary: false).sum(t, s) }
private func binaryTile2(_ t: TileOperands, _ s: Sums) { Tile<2>(isTernary: false).sum(t, s) }
private func binaryTile1(_ t: TileOperands, _ s: Sums) { Tile<1>(isTernary: false).sum(t, s) }
private func ternaryTile4(_ t: TileOperands, _ s: Sums) { Tile<4>(isTernary: true).sum(t, s) }
private func ternaryTile2(_ t: TileOperands, _ s: Sums) { Tile<2>(isTernary: true).sum(t, s) }
private func ternaryTile1(_ t: TileOperands, _ s: Sums) { Tile<1>(isTernary: true).sum(t, s) }

/// 16 channels of some pixels. Ones are counted in bytes, which hold 31 steps of at most 8 each; with four pixels, 16
/// vectors of counts, eight of weights and one of inputs fit the 32 registers.
private struct Tile<let pixels: Int> {
  let isTernary: Bool

  @inline(__always)
  func sum(_ t: TileOperands, _ sums: Sums) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    let steps = t.steps / t.planes
    for pixel in 0..<pixels { Row.zero.store(sums + 4 &* pixel) }
    for plane in 0..<t.planes {
      for vector in 0..<4 &* pixels { sums[vector] = sums[vector] &+ sums[vector] }
      let offsets = t.stepOffsets + plane &* steps
      var w = t.weights
      var start = 0
      while start < steps {
        var counts = InlineArray<pixels, Row>(repeating: .zero)
        for step in start..<min(start &+ 31, steps) {
          let signs = Row(w), masks = isTernary ? Row(w + 64) : signs
          w += isTernary ? 128 : 64
          let offset = Int(offsets[step])
          for pixel in 0..<pixels {
            let x = Lanes(repeating: (bases[pixel] + offset).loadUnaligned(as: Int32.self))
            let bits = isTernary ? signs.combined(masks) { (x ^ $0) & $1 } : signs.map { x ^ $0 }
            counts[pixel] = counts[pixel].combined(bits) { add_bytes_x4($0, count_bits_x4($1)) }
          }
        }
        for pixel in 0..<pixels { (Row(sums + 4 &* pixel) + ones(counts[pixel])).store(sums + 4 &* pixel) }
        start &+= 31
      }
    }
    let bias = Row(UnsafeRawPointer(t.bias))
    for pixel in 0..<pixels { (Row(sums + 4 &* pixel) + bias).store(sums + 4 &* pixel) }
  }

  /// The sums of the four unsigned bytes of every lane.
  @inline(__always)
  private func ones(_ counts: Row) -> Row {
    counts.map { add_unsigned_word_pairs_x4(.zero, add_neighbouring_unsigned_bytes_x4($0)) }
  }
}
