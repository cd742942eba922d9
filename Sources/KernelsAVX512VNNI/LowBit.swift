import CInstructions
import KernelInterface

// Dense convolutions with weights of two bits, of palettes, and of single bits. One file, since tiles are generic: private,
// and called only by functions that are neither generic nor known elsewhere, they leave no weak symbols in the object.

/// Weights of two bits: in the upper two bits of its byte a weight counts 64 times, and sums are shifted back once.
package func convolutionDense2AVX512VNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let blocks = arguments.steps / 4, panelBytes = blocks &* 64
  forEachGroup(arguments) { channel, panels in
    let g = Group(arguments, channel, panelBytes: panelBytes, blocks: blocks, first, count)
    switch panels {
    case 1: convolve(Panels<1>(), g, wide: 12, dense2Of1x12, narrow: 4, dense2Of1x4, dense2Of1x1)
    case 2: convolve(Panels<2>(), g, wide: 8, dense2Of2x8, narrow: 4, dense2Of2x4, dense2Of2x1)
    case 3: convolve(Panels<3>(), g, wide: 8, dense2Of3x8, narrow: 2, dense2Of3x2, dense2Of3x1)
    default: convolve(Panels<4>(), g, wide: 5, dense2Of4x5, narrow: 2, dense2Of4x2, dense2Of4x1)
    }
  }
}

/// Weights from tables of 16: a shuffle of bytes replaces the code by the weight.
package func convolutionPaletteAVX512VNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let blocks = arguments.steps / 2, panelBytes = 64 &+ blocks &* 64
  forEachGroup(arguments) { channel, panels in
    let g = Group(arguments, channel, panelBytes: panelBytes, blocks: blocks, first, count)
    switch panels {
    case 1: convolve(Panels<1>(), g, wide: 12, paletteOf1x12, narrow: 4, paletteOf1x4, paletteOf1x1)
    case 2: convolve(Panels<2>(), g, wide: 8, paletteOf2x8, narrow: 4, paletteOf2x4, paletteOf2x1)
    case 3: convolve(Panels<3>(), g, wide: 7, paletteOf3x7, narrow: 2, paletteOf3x2, paletteOf3x1)
    default: convolve(Panels<4>(), g, wide: 5, paletteOf4x5, narrow: 2, paletteOf4x2, paletteOf4x1)
    }
  }
}

/// Weights of -1 and 1, on bits: needs the instruction that counts them.
package func convolutionBinaryAVX512Popcount(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let blocks = arguments.steps / arguments.planes, panelBytes = blocks &* 64
  forEachGroup(arguments) { channel, panels in
    let g = Group(arguments, channel, panelBytes: panelBytes, blocks: blocks, first, count)
    switch panels {
    case 1: convolve(Panels<1>(), g, wide: 12, binaryOf1x12, narrow: 4, binaryOf1x4, binaryOf1x1)
    case 2: convolve(Panels<2>(), g, wide: 8, binaryOf2x8, narrow: 4, binaryOf2x4, binaryOf2x1)
    case 3: convolve(Panels<3>(), g, wide: 7, binaryOf3x7, narrow: 2, binaryOf3x2, binaryOf3x1)
    default: convolve(Panels<4>(), g, wide: 5, binaryOf4x5, narrow: 2, binaryOf4x2, binaryOf4x1)
    }
  }
}

/// Weights of -1, 0 and 1, on bits.
package func convolutionTernaryAVX512Popcount(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let blocks = arguments.steps / arguments.planes, panelBytes = blocks &* 128
  forEachGroup(arguments) { channel, panels in
    let g = Group(arguments, channel, panelBytes: panelBytes, blocks: blocks, first, count)
    switch panels {
    case 1: convolve(Panels<1>(), g, wide: 12, ternaryOf1x12, narrow: 4, ternaryOf1x4, ternaryOf1x1)
    case 2: convolve(Panels<2>(), g, wide: 8, ternaryOf2x8, narrow: 4, ternaryOf2x4, ternaryOf2x1)
    case 3: convolve(Panels<3>(), g, wide: 6, ternaryOf3x6, narrow: 2, ternaryOf3x2, ternaryOf3x1)
    default: convolve(Panels<4>(), g, wide: 4, ternaryOf4x4, narrow: 2, ternaryOf4x2, ternaryOf4x1)
    }
  }
}

// MARK: - Tiles

// Panels times pixels, so that sums, weights and the input fit the 32 registers.

@inline(never) private func dense2Of1x12(_ t: TileOperands) { Tile<1, 12>().sum2(t) }
@inline(never) private func dense2Of1x4(_ t: TileOperands) { Tile<1, 4>().sum2(t) }
@inline(never) private func dense2Of1x1(_ t: TileOperands) { Tile<1, 1>().sum2(t) }
@inline(never) private func dense2Of2x8(_ t: TileOperands) { Tile<2, 8>().sum2(t) }
@inline(never) private func dense2Of2x4(_ t: TileOperands) { Tile<2, 4>().sum2(t) }
@inline(never) private func dense2Of2x1(_ t: TileOperands) { Tile<2, 1>().sum2(t) }
@inline(never) private func dense2Of3x8(_ t: TileOperands) { Tile<3, 8>().sum2(t) }
@inline(never) private func dense2Of3x2(_ t: TileOperands) { Tile<3, 2>().sum2(t) }
@inline(never) private func dense2Of3x1(_ t: TileOperands) { Tile<3, 1>().sum2(t) }
@inline(never) private func dense2Of4x5(_ t: TileOperands) { Tile<4, 5>().sum2(t) }
@inline(never) private func dense2Of4x2(_ t: TileOperands) { Tile<4, 2>().sum2(t) }
@inline(never) private func dense2Of4x1(_ t: TileOperands) { Tile<4, 1>().sum2(t) }

@inline(never) private func paletteOf1x12(_ t: TileOperands) { Tile<1, 12>().sumPalette(t) }
@inline(never) private func paletteOf1x4(_ t: TileOperands) { Tile<1, 4>().sumPalette(t) }
@inline(never) private func paletteOf1x1(_ t: TileOperands) { Tile<1, 1>().sumPalette(t) }
@inline(never) private func paletteOf2x8(_ t: TileOperands) { Tile<2, 8>().sumPalette(t) }
@inline(never) private func paletteOf2x4(_ t: TileOperands) { Tile<2, 4>().sumPalette(t) }
@inline(never) private func paletteOf2x1(_ t: TileOperands) { Tile<2, 1>().sumPalette(t) }
@inline(never) private func paletteOf3x7(_ t: TileOperands) { Tile<3, 7>().sumPalette(t) }
@inline(never) private func paletteOf3x2(_ t: TileOperands) { Tile<3, 2>().sumPalette(t) }
@inline(never) private func paletteOf3x1(_ t: TileOperands) { Tile<3, 1>().sumPalette(t) }
@inline(never) private func paletteOf4x5(_ t: TileOperands) { Tile<4, 5>().sumPalette(t) }
@inline(never) private func paletteOf4x2(_ t: TileOperands) { Tile<4, 2>().sumPalette(t) }
@inline(never) private func paletteOf4x1(_ t: TileOperands) { Tile<4, 1>().sumPalette(t) }

@inline(never) private func binaryOf1x12(_ t: TileOperands) { Tile<1, 12>().sumBinary(t) }
@inline(never) private func binaryOf1x4(_ t: TileOperands) { Tile<1, 4>().sumBinary(t) }
@inline(never) private func binaryOf1x1(_ t: TileOperands) { Tile<1, 1>().sumBinary(t) }
@inline(never) private func binaryOf2x8(_ t: TileOperands) { Tile<2, 8>().sumBinary(t) }
@inline(never) private func binaryOf2x4(_ t: TileOperands) { Tile<2, 4>().sumBinary(t) }
@inline(never) private func binaryOf2x1(_ t: TileOperands) { Tile<2, 1>().sumBinary(t) }
@inline(never) private func binaryOf3x7(_ t: TileOperands) { Tile<3, 7>().sumBinary(t) }
@inline(never) private func binaryOf3x2(_ t: TileOperands) { Tile<3, 2>().sumBinary(t) }
@inline(never) private func binaryOf3x1(_ t: TileOperands) { Tile<3, 1>().sumBinary(t) }
@inline(never) private func binaryOf4x5(_ t: TileOperands) { Tile<4, 5>().sumBinary(t) }
@inline(never) private func binaryOf4x2(_ t: TileOperands) { Tile<4, 2>().sumBinary(t) }
@inline(never) private func binaryOf4x1(_ t: TileOperands) { Tile<4, 1>().sumBinary(t) }

@inline(never) private func ternaryOf1x12(_ t: TileOperands) { Tile<1, 12>().sumTernary(t) }
@inline(never) private func ternaryOf1x4(_ t: TileOperands) { Tile<1, 4>().sumTernary(t) }
@inline(never) private func ternaryOf1x1(_ t: TileOperands) { Tile<1, 1>().sumTernary(t) }
@inline(never) private func ternaryOf2x8(_ t: TileOperands) { Tile<2, 8>().sumTernary(t) }
@inline(never) private func ternaryOf2x4(_ t: TileOperands) { Tile<2, 4>().sumTernary(t) }
@inline(never) private func ternaryOf2x1(_ t: TileOperands) { Tile<2, 1>().sumTernary(t) }
@inline(never) private func ternaryOf3x6(_ t: TileOperands) { Tile<3, 6>().sumTernary(t) }
@inline(never) private func ternaryOf3x2(_ t: TileOperands) { Tile<3, 2>().sumTernary(t) }
@inline(never) private func ternaryOf3x1(_ t: TileOperands) { Tile<3, 1>().sumTernary(t) }
@inline(never) private func ternaryOf4x4(_ t: TileOperands) { Tile<4, 4>().sumTernary(t) }
@inline(never) private func ternaryOf4x2(_ t: TileOperands) { Tile<4, 2>().sumTernary(t) }
@inline(never) private func ternaryOf4x1(_ t: TileOperands) { Tile<4, 1>().sumTernary(t) }

private typealias TileFunction = (_ tile: TileOperands) -> Void

/// What the sums of a tile are made of, and where they go: `sums[pixel][panel]`, with the bias.
private struct TileOperands {
  /// One for each pixel.
  let bases: UnsafePointer<UnsafeRawPointer>
  let stepOffsets: UnsafePointer<Int32>
  /// Of the first panel; the others follow.
  let weights: UnsafeRawPointer
  let panelBytes: Int
  /// Blocks of weights a panel.
  let blocks: Int
  let planes: Int
  let bias: UnsafePointer<Int32>
  let sums: UnsafeMutablePointer<Lanes>

  @inline(__always)
  func weights(_ panel: Int, _ offset: Int) -> Lanes { load(weights + (panel &* panelBytes &+ offset)) }

  @inline(__always)
  func bias(_ panel: Int) -> Lanes { load(UnsafeRawPointer(bias + 16 &* panel)) }
}

private struct Tile<let panels: Int, let pixels: Int> {
  private typealias Bases = InlineArray<pixels, UnsafeRawPointer>
  private typealias Row = InlineArray<panels, Lanes>
  private typealias Accumulators = InlineArray<pixels, InlineArray<panels, Lanes>>

  @inline(__always)
  func sum2(_ t: TileOperands) {
    let upper = Lanes(repeating: Int32(bitPattern: 0xC0C0_C0C0))
    let bases = Bases { t.bases[$0] }
    let bias = Row { t.bias($0) &<< 6 }
    var sums = Accumulators { _ in bias }
    for quad in 0..<t.blocks {
      let offsets = t.stepOffsets + 4 &* quad, place = 64 &* quad
      let w0 = Row { shift_left_6_words_x16(t.weights($0, place)) & upper }
      accumulate(bases, Int(offsets[0]), w0, &sums)
      let w1 = Row { shift_left_4_words_x16(t.weights($0, place)) & upper }
      accumulate(bases, Int(offsets[1]), w1, &sums)
      let w2 = Row { shift_left_2_words_x16(t.weights($0, place)) & upper }
      accumulate(bases, Int(offsets[2]), w2, &sums)
      let w3 = Row { t.weights($0, place) & upper }
      accumulate(bases, Int(offsets[3]), w3, &sums)
    }
    for pixel in 0..<pixels {
      for panel in 0..<panels { t.sums[pixel &* panels &+ panel] = shift_right_6_x16(sums[pixel][panel]) }
    }
  }

  @inline(__always)
  func sumPalette(_ t: TileOperands) {
    let lower = Lanes(repeating: 0x0F0F_0F0F)
    let bases = Bases { t.bases[$0] }
    let tables = Row { t.weights($0, 0) }
    let bias = Row { t.bias($0) }
    var sums = Accumulators { _ in bias }
    for pair in 0..<t.blocks {
      let offsets = t.stepOffsets + 2 &* pair, place = 64 &* pair &+ 64
      let even = Row { look_up_bytes_x16(tables[$0], t.weights($0, place) & lower) }
      accumulate(bases, Int(offsets[0]), even, &sums)
      let odd = Row { look_up_bytes_x16(tables[$0], upper_nibbles_x16(t.weights($0, place)) & lower) }
      accumulate(bases, Int(offsets[1]), odd, &sums)
    }
    store(sums, t.sums)
  }

  @inline(__always)
  private func accumulate(_ bases: Bases, _ offset: Int, _ weights: Row, _ sums: inout Accumulators) {
    var offset = offset
    forEachPixel { pixel in
      let x = Lanes(repeating: (bases[pixel] + offset).loadUnaligned(as: Int32.self))
      for panel in 0..<panels { sums[pixel][panel] = dot4_x16(sums[pixel][panel], x, weights[panel]) }
      offset = behind(sums[pixel], offset)
    }
  }

  @inline(__always)
  func sumBinary(_ t: TileOperands) {
    let bases = Bases { t.bases[$0] }
    var sums = Accumulators { _ in Row { _ in .zero } }
    for plane in 0..<t.planes {
      double(&sums)
      let offsets = t.stepOffsets + plane &* t.blocks
      for step in 0..<t.blocks {
        let signs = Row { t.weights($0, 64 &* step) }
        var offset = Int(offsets[step])
        forEachPixel { pixel in
          let x = Lanes(repeating: (bases[pixel] + offset).loadUnaligned(as: Int32.self))
          for panel in 0..<panels {
            sums[pixel][panel] = sums[pixel][panel] &+ count_bits_x16(x ^ signs[panel])
          }
          offset = behind(sums[pixel], offset)
        }
      }
    }
    addBias(t, &sums)
    store(sums, t.sums)
  }

  @inline(__always)
  func sumTernary(_ t: TileOperands) {
    let bases = Bases { t.bases[$0] }
    var sums = Accumulators { _ in Row { _ in .zero } }
    for plane in 0..<t.planes {
      double(&sums)
      let offsets = t.stepOffsets + plane &* t.blocks
      for step in 0..<t.blocks {
        let signs = Row { t.weights($0, 128 &* step) }, masks = Row { t.weights($0, 128 &* step &+ 64) }
        var offset = Int(offsets[step])
        forEachPixel { pixel in
          let x = Lanes(repeating: (bases[pixel] + offset).loadUnaligned(as: Int32.self))
          for panel in 0..<panels {
            let bits = (x ^ signs[panel]) & masks[panel]
            sums[pixel][panel] = sums[pixel][panel] &+ count_bits_x16(bits)
          }
          offset = behind(sums[pixel], offset)
        }
      }
    }
    addBias(t, &sums)
    store(sums, t.sums)
  }

  /// A loop, unrolled by hand: the compiler leaves large bodies rolled, and then the sums in memory.
  @inline(__always)
  private func forEachPixel(_ body: (_ pixel: Int) -> Void) {
    body(0)
    if pixels > 1 { body(1) }
    if pixels > 2 { body(2) }
    if pixels > 3 { body(3) }
    if pixels > 4 { body(4) }
    if pixels > 5 { body(5) }
    if pixels > 6 { body(6) }
    if pixels > 7 { body(7) }
    if pixels > 8 { body(8) }
    if pixels > 9 { body(9) }
    if pixels > 10 { body(10) }
    if pixels > 11 { body(11) }
  }

  /// `offset`, behind the computation of these sums: see `after_x16`.
  @inline(__always)
  private func behind(_ sums: Row, _ offset: Int) -> Int {
    Int(after_x16(Int64(offset), sums[0], sums[panels / 4], sums[panels / 2], sums[panels &- 1]))
  }

  @inline(__always)
  private func double(_ sums: inout Accumulators) {
    for pixel in 0..<pixels {
      for panel in 0..<panels { sums[pixel][panel] = sums[pixel][panel] &+ sums[pixel][panel] }
    }
  }

  @inline(__always)
  private func addBias(_ t: TileOperands, _ sums: inout Accumulators) {
    for pixel in 0..<pixels {
      for panel in 0..<panels { sums[pixel][panel] = sums[pixel][panel] &+ t.bias(panel) }
    }
  }

  @inline(__always)
  private func store(_ sums: Accumulators, _ memory: UnsafeMutablePointer<Lanes>) {
    for pixel in 0..<pixels {
      for panel in 0..<panels { memory[pixel &* panels &+ panel] = sums[pixel][panel] }
    }
  }
}

// MARK: - From tiles to the output

/// A number of panels that are computed together, as a type.
private struct Panels<let count: Int> {}

/// All pixels of up to four panels.
private struct Group {
  let arguments: ConvolutionArguments
  let channel: Int
  let panelBytes: Int
  let blocks: Int
  let first: Int
  let count: Int

  @inline(__always)
  init(
    _ arguments: ConvolutionArguments, _ channel: Int, panelBytes: Int, blocks: Int, _ first: Int,
    _ count: Int
  ) {
    self.arguments = arguments
    self.channel = channel
    self.panelBytes = panelBytes
    self.blocks = blocks
    self.first = first
    self.count = count
  }
}

/// The first channel and the panels of every group of up to four panels.
@inline(__always)
private func forEachGroup(_ arguments: ConvolutionArguments, _ body: (_ channel: Int, _ panels: Int) -> Void)
{
  var channel = 0
  while channel < arguments.storedChannels {
    body(channel, min(4, (arguments.storedChannels &- channel &+ 15) / 16))
    channel &+= 64
  }
}

/// By wide tiles, and what is left by a narrow tile or alone.
@inline(__always)
private func convolve<let panels: Int>(
  _: Panels<panels>, _ g: Group, wide: Int, _ wideTile: TileFunction, narrow: Int, _ narrowTile: TileFunction,
  _ pixel: TileFunction
) {
  let arguments = g.arguments, channel = g.channel
  // Pixel bases, sums (24, and 3 that are read but not used), and constants of 8 vectors.
  let bases = arguments.scratch.assumingMemoryBound(to: UnsafeRawPointer.self)
  let sums = (arguments.scratch + 128).assumingMemoryBound(to: Lanes.self)
  let constants = arguments.scratch + (128 + 28 * 64)
  let requantizations = constants.assumingMemoryBound(to: Requantization.self)
  let scales = constants.assumingMemoryBound(to: Lanes.self)
  // The constants of vector v of a tile are at v % panels, and so are the three that follow.
  for i in 0..<8 {
    let c = channel &+ 16 &* (i % panels)
    if let scale = arguments.scale {
      scales[i] = load(UnsafeRawPointer(scale + c))
    } else {
      requantizations[i] = requantization(
        multiplier: load(UnsafeRawPointer(arguments.multiplier + c)),
        shift: load(UnsafeRawPointer(arguments.shift + c)))
    }
  }
  let channels = min(arguments.storedChannels &- channel, 16 &* panels)
  let isContiguous = channels == 16 &* panels && channels == arguments.outputPixelStride
  let fused = fusedOutput(
    zeroPoint: arguments.outputZeroPoint, minimum: arguments.clampMinimum, maximum: arguments.clampMaximum)
  let exact = byteOutput(
    zeroPoint: arguments.outputZeroPoint, minimum: arguments.clampMinimum, maximum: arguments.clampMaximum,
    saturating: needsSaturation(
      arguments.shift + channel, channels: min(channels, arguments.outputChannels &- channel)))

  let tile = TileOperands(
    bases: bases, stepOffsets: arguments.stepOffsets,
    weights: arguments.weights + channel / 16 &* g.panelBytes,
    panelBytes: g.panelBytes, blocks: g.blocks, planes: arguments.planes, bias: arguments.bias + channel,
    sums: sums)
  var cursor = pixelCursor(arguments, first: g.first)
  var destination = UnsafeMutableRawPointer(
    arguments.output + (g.first &* arguments.outputPixelStride &+ channel))
  var left = g.count
  while left > 0 {
    let valid: Int
    if left > narrow {
      valid = min(left, wide)
      fill(bases, wide, valid: valid, &cursor)
      wideTile(tile)
    } else if left > 1 {
      valid = left
      fill(bases, narrow, valid: valid, &cursor)
      narrowTile(tile)
    } else {
      valid = 1
      fill(bases, 1, valid: 1, &cursor)
      pixel(tile)
    }
    left &-= valid
    // Vectors of the sums that make one store: those of a pixel, or four where the output is one run of bytes.
    let vectors = valid &* panels
    var vector = 0
    while vector < vectors {
      let row: Lanes
      if arguments.scale != nil {
        let s = sums + vector, f = scales + vector % panels
        row = bytesInOrder(
          fused, rounded(fused, s[0], f[0]), rounded(fused, s[1], f[1]), rounded(fused, s[2], f[2]),
          rounded(fused, s[3], f[3]))
      } else {
        row = bytes(
          exact, sums + vector, requantizations + vector % panels, vectors: isContiguous ? 4 : panels)
      }
      if isContiguous {
        store_bytes_x16(destination + 16 &* vector, byteMask(16 &* (vectors &- vector)), row)
        vector &+= 4
      } else {
        store_bytes_x16(destination + vector / panels &* arguments.outputPixelStride, byteMask(channels), row)
        vector &+= panels
      }
    }
    destination += valid &* arguments.outputPixelStride
  }
}
