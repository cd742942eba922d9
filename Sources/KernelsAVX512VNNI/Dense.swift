import CInstructions
import KernelInterface

/// Dense convolution with 8-bit weights, four panels at a time.
package func convolutionDense8AVX512VNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, widest: 4, blocks: arguments.steps, first, count, product8)
}

/// Dense convolution with 4-bit weights, four panels at a time.
package func convolutionDense4AVX512VNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, widest: 4, blocks: arguments.steps / 2, first, count, product4)
}

// Groups of fewer panels take tiles of eight pixels instead of six: faster for some layers, as tuning finds out.

package func convolutionDense8AVX512VNNIOf3(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, widest: 3, blocks: arguments.steps, first, count, product8)
}
package func convolutionDense8AVX512VNNIOf2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, widest: 2, blocks: arguments.steps, first, count, product8)
}
package func convolutionDense4AVX512VNNIOf3(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, widest: 3, blocks: arguments.steps / 2, first, count, product4)
}
package func convolutionDense4AVX512VNNIOf2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, widest: 2, blocks: arguments.steps / 2, first, count, product4)
}

/// Bytes of input and output that stay in the first-level cache while the groups of panels take turns.
private let cachedBytes = 32 << 10

/// Walks blocks of pixels, groups of at most `widest` panels, and rows.
@inline(__always)
private func convolve(
  _ arguments: ConvolutionArguments, widest: Int, blocks: Int, _ first: Int, _ count: Int,
  _ product: (_ panels: Int, _ pixels: Int, _ tile: UnsafePointer<DenseTile>, _ run: TileRun) -> Void
) {
  let panels = (arguments.storedChannels &+ 15) / 16
  let groups = (panels &+ widest &- 1) / widest
  let tile = (arguments.scratch + DenseTile.scratchOffset).assumingMemoryBound(to: DenseTile.self)
  var blockStart = first
  let end = first &+ count
  while blockStart < end {
    let block =
      groups == 1
      ? count
      : pixelBlock(
        left: end &- blockStart, outputWidth: arguments.outputWidth,
        bytesPerPixel: arguments.inputPixelStride &+ arguments.outputPixelStride, cachedBytes: cachedBytes)
    let blockEnd = blockStart &+ block
    var panel = 0
    for group in 0..<groups {
      // Groups of equal size, the larger ones first.
      let width = (panels &- panel &+ groups &- group &- 1) / (groups &- group)
      tile.initialize(to: DenseTile(arguments, panel: panel, panels: width, blocks: blocks))
      var pixel = blockStart
      while pixel < blockEnd {
        let row = pixel / arguments.outputWidth
        let column = pixel &- row &* arguments.outputWidth
        var left = min(arguments.outputWidth &- column, blockEnd &- pixel)
        var run = TileRun(
          input: UnsafeRawPointer(arguments.input)
            + (row &* arguments.inputRowStride &+ column &* arguments.inputPixelStride),
          output: UnsafeMutableRawPointer(arguments.output)
            + (row &* arguments.outputRowStride &+ column &* arguments.outputPixelStride &+ 16 &* panel),
          tiles: 1)
        pixel &+= left
        while left > 0 {
          let pixels = tilePixels(panels: width, left: left)
          if arguments.scale != nil {
            // Seven pixels remain rather than one, see `tilePixels`.
            run.tiles = left / pixels &- (width == 4 && pixels == 6 && left % 6 == 1 ? 1 : 0)
            product(width, pixels, tile, run)
          } else {
            product(width, pixels, tile, run)
            storeExactly(tile, run, arguments, panel: panel, panels: width, pixels: pixels)
          }
          let done = run.tiles &* pixels
          run.input += done &* arguments.inputPixelStride
          run.output += done &* arguments.outputPixelStride
          left &-= done
        }
      }
      panel &+= width
    }
    blockStart = blockEnd
  }
}

/// Pixels of the next tile of a row that has `left` more: as many as fit. Of four panels seven are four and three,
/// since the few accumulators of a single pixel would wait for one another.
@inline(__always)
private func tilePixels(panels: Int, left: Int) -> Int {
  switch panels {
  case 1: return left >= 16 ? 16 : left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1
  case 2, 3: return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1
  default: return left >= 6 && left != 7 ? 6 : left >= 4 ? 4 : left
  }
}

@inline(__always)
private func product8(_ panels: Int, _ pixels: Int, _ tile: UnsafePointer<DenseTile>, _ run: TileRun) {
  switch panels {
  case 1:
    switch pixels {
    case 16: product8Of1x16(tile, run)
    case 8: product8Of1x8(tile, run)
    case 4: product8Of1x4(tile, run)
    case 2: product8Of1x2(tile, run)
    default: product8Of1x1(tile, run)
    }
  case 2:
    switch pixels {
    case 8: product8Of2x8(tile, run)
    case 4: product8Of2x4(tile, run)
    case 2: product8Of2x2(tile, run)
    default: product8Of2x1(tile, run)
    }
  case 3:
    switch pixels {
    case 8: product8Of3x8(tile, run)
    case 4: product8Of3x4(tile, run)
    case 2: product8Of3x2(tile, run)
    default: product8Of3x1(tile, run)
    }
  default:
    switch pixels {
    case 6: product8Of4x6(tile, run)
    case 4: product8Of4x4(tile, run)
    case 3: product8Of4x3(tile, run)
    case 2: product8Of4x2(tile, run)
    default: product8Of4x1(tile, run)
    }
  }
}

@inline(__always)
private func product4(_ panels: Int, _ pixels: Int, _ tile: UnsafePointer<DenseTile>, _ run: TileRun) {
  switch panels {
  case 1:
    switch pixels {
    case 16: product4Of1x16(tile, run)
    case 8: product4Of1x8(tile, run)
    case 4: product4Of1x4(tile, run)
    case 2: product4Of1x2(tile, run)
    default: product4Of1x1(tile, run)
    }
  case 2:
    switch pixels {
    case 8: product4Of2x8(tile, run)
    case 4: product4Of2x4(tile, run)
    case 2: product4Of2x2(tile, run)
    default: product4Of2x1(tile, run)
    }
  case 3:
    switch pixels {
    case 8: product4Of3x8(tile, run)
    case 4: product4Of3x4(tile, run)
    case 2: product4Of3x2(tile, run)
    default: product4Of3x1(tile, run)
    }
  default:
    switch pixels {
    case 6: product4Of4x6(tile, run)
    case 4: product4Of4x4(tile, run)
    case 3: product4Of4x3(tile, run)
    case 2: product4Of4x2(tile, run)
    default: product4Of4x1(tile, run)
    }
  }
}

// Panels times pixels; functions of their own, so that each has all registers.

@inline(never) private func product8Of1x16(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 16>().run8(t, r)
}
@inline(never) private func product8Of1x8(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 8>().run8(t, r)
}
@inline(never) private func product8Of1x4(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 4>().run8(t, r)
}
@inline(never) private func product8Of1x2(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 2>().run8(t, r)
}
@inline(never) private func product8Of1x1(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 1>().run8(t, r)
}
@inline(never) private func product8Of2x8(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<2, 8>().run8(t, r)
}
@inline(never) private func product8Of2x4(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<2, 4>().run8(t, r)
}
@inline(never) private func product8Of2x2(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<2, 2>().run8(t, r)
}
@inline(never) private func product8Of2x1(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<2, 1>().run8(t, r)
}
@inline(never) private func product8Of3x8(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<3, 8>().run8(t, r)
}
@inline(never) private func product8Of3x4(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<3, 4>().run8(t, r)
}
@inline(never) private func product8Of3x2(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<3, 2>().run8(t, r)
}
@inline(never) private func product8Of3x1(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<3, 1>().run8(t, r)
}
@inline(never) private func product8Of4x6(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 6>().run8(t, r)
}
@inline(never) private func product8Of4x4(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 4>().run8(t, r)
}
@inline(never) private func product8Of4x3(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 3>().run8(t, r)
}
@inline(never) private func product8Of4x2(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 2>().run8(t, r)
}
@inline(never) private func product8Of4x1(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 1>().run8(t, r)
}

@inline(never) private func product4Of1x16(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 16>().run4(t, r)
}
@inline(never) private func product4Of1x8(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 8>().run4(t, r)
}
@inline(never) private func product4Of1x4(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 4>().run4(t, r)
}
@inline(never) private func product4Of1x2(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 2>().run4(t, r)
}
@inline(never) private func product4Of1x1(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<1, 1>().run4(t, r)
}
@inline(never) private func product4Of2x8(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<2, 8>().run4(t, r)
}
@inline(never) private func product4Of2x4(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<2, 4>().run4(t, r)
}
@inline(never) private func product4Of2x2(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<2, 2>().run4(t, r)
}
@inline(never) private func product4Of2x1(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<2, 1>().run4(t, r)
}
@inline(never) private func product4Of3x8(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<3, 8>().run4(t, r)
}
@inline(never) private func product4Of3x4(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<3, 4>().run4(t, r)
}
@inline(never) private func product4Of3x2(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<3, 2>().run4(t, r)
}
@inline(never) private func product4Of3x1(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<3, 1>().run4(t, r)
}
@inline(never) private func product4Of4x6(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 6>().run4(t, r)
}
@inline(never) private func product4Of4x4(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 4>().run4(t, r)
}
@inline(never) private func product4Of4x3(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 3>().run4(t, r)
}
@inline(never) private func product4Of4x2(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 2>().run4(t, r)
}
@inline(never) private func product4Of4x1(_ t: UnsafePointer<DenseTile>, _ r: TileRun) {
  DenseProduct<4, 1>().run4(t, r)
}

// MARK: - Tiles

/// A run of tiles within a row.
private struct TileRun {
  /// The first pixel; the others follow at equal distances.
  var input: UnsafeRawPointer
  var output: UnsafeMutableRawPointer
  var tiles: Int
}

/// What the tiles of a group of panels share. In memory, so that calls hand over one address.
private struct DenseTile {
  let pixelStride: Int
  let stepOffsets: UnsafePointer<Int32>
  /// Of the first panel; the others follow.
  let weights: UnsafeRawPointer
  /// Blocks of 64 bytes a panel: steps, or pairs of steps with 4-bit weights.
  let blocks: Int
  let stepsPerTap: Int
  let bias: UnsafePointer<Int32>
  /// Nil: the sums are left in `sums`.
  let scale: UnsafePointer<Float>?
  let sums: UnsafeMutablePointer<Lanes>
  let outputPixelStride: Int
  /// Bytes that are stored of every pixel.
  let channels: Int
  let bytes: FusedOutput

  /// In the scratch memory, behind the sums of a tile.
  static var scratchOffset: Int { 4096 }

  @inline(__always)
  init(_ arguments: ConvolutionArguments, panel: Int, panels: Int, blocks: Int) {
    let channel = 16 &* panel
    pixelStride = arguments.inputPixelStride
    stepOffsets = arguments.stepOffsets
    weights = arguments.weights + panel &* 64 &* blocks
    self.blocks = blocks
    stepsPerTap = arguments.stepsPerTap
    bias = arguments.bias + channel
    scale = arguments.scale.map { $0 + channel }
    sums = arguments.scratch.assumingMemoryBound(to: Lanes.self)
    outputPixelStride = arguments.outputPixelStride
    channels = min(arguments.storedChannels &- channel, 16 &* panels)
    bytes = fusedOutput(
      zeroPoint: arguments.outputZeroPoint, minimum: arguments.clampMinimum, maximum: arguments.clampMaximum)
  }

  @inline(__always)
  func weights(_ panel: Int, _ block: Int) -> Lanes { load(weights + (panel &* blocks &+ block) &* 64) }

  @inline(__always)
  func bias(_ panel: Int) -> Lanes { load(UnsafeRawPointer(bias + 16 &* panel)) }
}

/// The products of `panels` panels of 16 channels with `pixels` pixels. 8 to 24 accumulators hide the latency of the
/// dot product, and with the weights they fit the 32 registers.
private struct DenseProduct<let panels: Int, let pixels: Int> {
  private typealias Row = InlineArray<panels, Lanes>
  private typealias Accumulators = InlineArray<pixels, InlineArray<panels, Lanes>>

  /// Weights of 8 bits.
  @inline(__always)
  func run8(_ tile: UnsafePointer<DenseTile>, _ run: TileRun) {
    var run = run
    while run.tiles > 0 {
      let t = tile.pointee
      let bias = Row { t.bias($0) }
      var accumulators = Accumulators(repeating: bias)
      if slides(t) {
        let n = t.stepsPerTap
        for first in stride(from: 0, to: t.blocks, by: 3 &* n) {
          for step in first..<first &+ n {
            slide(
              run.input + Int(t.stepOffsets[step]), t.pixelStride, t.weights(0, step),
              t.weights(0, step &+ n),
              t.weights(0, step &+ 2 &* n), &accumulators)
          }
        }
      } else {
        for step in 0..<t.blocks {
          let weights = Row { t.weights($0, step) }
          accumulate(run.input, Int(t.stepOffsets[step]), t.pixelStride, weights, &accumulators)
        }
      }
      finish(t, &run, accumulators)
    }
  }

  /// Weights of 4 bits. A nibble in the upper half of its byte is the weight times 16: that costs one shift of every
  /// accumulator at the end, and nothing in the loop.
  @inline(__always)
  func run4(_ tile: UnsafePointer<DenseTile>, _ run: TileRun) {
    let upper = Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0))
    var run = run
    while run.tiles > 0 {
      let t = tile.pointee
      let bias = Row { t.bias($0) &<< 4 }
      var accumulators = Accumulators(repeating: bias)
      if slides(t) {
        let n = t.stepsPerTap / 2
        for first in stride(from: 0, to: t.blocks, by: 3 &* n) {
          for pair in first..<first &+ n {
            let w0 = t.weights(0, pair), w1 = t.weights(0, pair &+ n), w2 = t.weights(0, pair &+ 2 &* n)
            slide(
              run.input + Int(t.stepOffsets[2 &* pair]), t.pixelStride, shift_left_4_words_x16(w0) & upper,
              shift_left_4_words_x16(w1) & upper, shift_left_4_words_x16(w2) & upper, &accumulators)
            slide(
              run.input + Int(t.stepOffsets[2 &* pair &+ 1]), t.pixelStride, w0 & upper, w1 & upper,
              w2 & upper,
              &accumulators)
          }
        }
      } else {
        for pair in 0..<t.blocks {
          let even = Row { shift_left_4_words_x16(t.weights($0, pair)) & upper }
          accumulate(run.input, Int(t.stepOffsets[2 &* pair]), t.pixelStride, even, &accumulators)
          let odd = Row { t.weights($0, pair) & upper }
          accumulate(run.input, Int(t.stepOffsets[2 &* pair &+ 1]), t.pixelStride, odd, &accumulators)
        }
      }
      for pixel in 0..<pixels {
        for panel in 0..<panels { accumulators[pixel][panel] = shift_right_4_x16(accumulators[pixel][panel]) }
      }
      finish(t, &run, accumulators)
    }
  }

  /// Whether inputs serve three outputs each: a single panel would otherwise load as many inputs as it multiplies.
  @inline(__always)
  private func slides(_ t: DenseTile) -> Bool {
    panels == 1 && (pixels == 16 || pixels == 8) && t.stepsPerTap > 0
  }

  /// One step of three taps beside one another, from `pixels + 2` inputs.
  @inline(__always)
  private func slide(
    _ input: UnsafeRawPointer, _ stride: Int, _ w0: Lanes, _ w1: Lanes, _ w2: Lanes,
    _ accumulators: inout Accumulators
  ) {
    var x = input
    let x0 = broadcast(x), x1 = broadcast(x + stride)
    accumulators[0][0] = dot4_x16(dot4_x16(accumulators[0][0], x0, w0), x1, w1)
    accumulators[1][0] = dot4_x16(accumulators[1][0], x1, w0)
    x += 2 &* stride
    // Written out, since the compiler does not unroll it, and an array indexed by a variable lies in memory.
    slideTwo(0, &x, stride, w0, w1, w2, &accumulators)
    slideTwo(2, &x, stride, w0, w1, w2, &accumulators)
    slideTwo(4, &x, stride, w0, w1, w2, &accumulators)
    if pixels == 16 {
      slideTwo(6, &x, stride, w0, w1, w2, &accumulators)
      slideTwo(8, &x, stride, w0, w1, w2, &accumulators)
      slideTwo(10, &x, stride, w0, w1, w2, &accumulators)
      slideTwo(12, &x, stride, w0, w1, w2, &accumulators)
    }
    let y0 = broadcast(x), y1 = broadcast(x + stride), last = pixels &- 1
    accumulators[last][0] = dot4_x16(dot4_x16(accumulators[last][0], y0, w1), y1, w2)
    accumulators[last &- 1][0] = dot4_x16(accumulators[last &- 1][0], y0, w2)
  }

  /// The inputs of taps 2 of outputs `pixel` and `pixel + 1`.
  @inline(__always)
  private func slideTwo(
    _ pixel: Int, _ x: inout UnsafeRawPointer, _ stride: Int, _ w0: Lanes, _ w1: Lanes, _ w2: Lanes,
    _ accumulators: inout Accumulators
  ) {
    let x2 = broadcast(x), x3 = broadcast(x + stride)
    let a = dot4_x16(accumulators[pixel][0], x2, w2)
    let b = dot4_x16(dot4_x16(accumulators[pixel &+ 1][0], x2, w1), x3, w2)
    let c = dot4_x16(dot4_x16(accumulators[pixel &+ 2][0], x2, w0), x3, w1)
    let d = dot4_x16(accumulators[pixel &+ 3][0], x3, w0)
    accumulators[pixel][0] = a
    accumulators[pixel &+ 1][0] = b
    accumulators[pixel &+ 2][0] = c
    accumulators[pixel &+ 3][0] = d
    x += Int(after_x16(Int64(2 &* stride), a, b, c, d))
  }

  @inline(__always)
  private func broadcast(_ x: UnsafeRawPointer) -> Lanes { Lanes(repeating: x.loadUnaligned(as: Int32.self)) }

  @inline(__always)
  private func accumulate(
    _ input: UnsafeRawPointer, _ offset: Int, _ stride: Int, _ weights: Row,
    _ accumulators: inout Accumulators
  ) {
    // Runs of pixels with about four accumulators are kept in order, see `after_x16`.
    let run = min(pixels, panels == 1 ? 4 : panels < 4 ? 2 : 1)
    var offset = offset
    for first in 0..<pixels / run {
      for pixel in 0..<run {
        let x = Lanes(repeating: (input + (offset &+ pixel &* stride)).loadUnaligned(as: Int32.self))
        for panel in 0..<panels {
          accumulators[first &* run &+ pixel][panel] =
            dot4_x16(accumulators[first &* run &+ pixel][panel], x, weights[panel])
        }
      }
      let a = accumulators[first &* run], b = accumulators[first &* run &+ run / 2]
      let c = accumulators[first &* run &+ max(0, run &- 2)], d = accumulators[first &* run &+ run &- 1]
      offset = Int(
        after_x16(Int64(offset &+ run &* stride), a[0], b[panels / 4], c[panels / 2], d[panels &- 1]))
    }
  }

  @inline(__always)
  private func finish(_ t: DenseTile, _ run: inout TileRun, _ accumulators: Accumulators) {
    run.tiles &-= 1
    run.input += pixels &* t.pixelStride
    guard let scale = t.scale else {
      for pixel in 0..<pixels {
        for panel in 0..<panels { t.sums[pixel &* panels &+ panel] = accumulators[pixel][panel] }
      }
      return
    }
    let scales = Row { load(UnsafeRawPointer(scale + 16 &* $0)) }
    var output = run.output
    run.output += pixels &* t.outputPixelStride
    let mask = byteMask(t.channels)
    if panels >= 3 {
      for pixel in 0..<pixels {
        let a = accumulators[pixel]
        let v0 = rounded(t.bytes, a[0], scales[0]), v1 = rounded(t.bytes, a[1 % panels], scales[1 % panels])
        let v2 = rounded(t.bytes, a[2 % panels], scales[2 % panels])
        let v3 = panels > 3 ? rounded(t.bytes, a[panels &- 1], scales[panels &- 1]) : v2
        store_bytes_x16(output, mask, bytesInOrder(t.bytes, v0, v1, v2, v3))
        output += t.outputPixelStride
      }
      return
    }
    // Four vectors at a time, of several pixels.
    let perStore = 4 / panels
    for first in 0..<(pixels &+ perStore &- 1) / perStore {
      let pixel = first &* perStore
      let last = pixels &- 1
      let v0 = rounded(t.bytes, accumulators[pixel][0], scales[0])
      let v1 =
        pixels == 1 && panels == 1
        ? v0
        : rounded(t.bytes, accumulators[min(last, pixel &+ 1 / panels)][1 % panels], scales[1 % panels])
      let v2 =
        pixels &* panels <= 2
        ? v0 : rounded(t.bytes, accumulators[min(last, pixel &+ 2 / panels)][0], scales[0])
      let v3 =
        pixels &* panels <= 2
        ? v1
        : rounded(t.bytes, accumulators[min(last, pixel &+ 3 / panels)][1 % panels], scales[1 % panels])
      let bytes = bytesInOrder(t.bytes, v0, v1, v2, v3)
      let count = min(perStore, pixels &- pixel)
      if t.channels == t.outputPixelStride && t.channels == 16 &* panels {
        store(bytes, output, 16 &* panels &* count)
      } else {
        for i in 0..<count {
          // Each pixel's bytes stay where they are in the vector: the address moves instead.
          store_bytes_x16(
            output + (i &* t.outputPixelStride &- 16 &* panels &* i),
            byteMask(t.channels) &<< UInt64(16 &* panels &* i), bytes)
        }
      }
      output += count &* t.outputPixelStride
    }
  }

  @inline(__always)
  private func store(_ bytes: Lanes, _ output: UnsafeMutableRawPointer, _ count: Int) {
    if count == 64 {
      output.storeBytes(of: bytes, as: Lanes.self)
    } else {
      store_bytes_x16(output, byteMask(count), bytes)
    }
  }
}

/// The last step for any multipliers and shifts, from the sums of one tile.
@inline(never)
private func storeExactly(
  _ tile: UnsafePointer<DenseTile>, _ run: TileRun, _ arguments: ConvolutionArguments, panel: Int,
  panels: Int,
  pixels: Int
) {
  let first = 16 &* panel
  let requantizations = (arguments.scratch + (DenseTile.scratchOffset &+ 1024)).assumingMemoryBound(
    to: Requantization.self)
  for i in 0..<4 {
    let channel = first &+ 16 &* min(i, panels &- 1)
    requantizations[i] = requantization(
      multiplier: load(UnsafeRawPointer(arguments.multiplier + channel)),
      shift: load(UnsafeRawPointer(arguments.shift + channel)))
  }
  let output = byteOutput(
    zeroPoint: arguments.outputZeroPoint, minimum: arguments.clampMinimum, maximum: arguments.clampMaximum,
    saturating: needsSaturation(
      arguments.shift + first, channels: min(16 &* panels, arguments.outputChannels &- first)))
  for pixel in 0..<pixels {
    let bytes = bytes(output, tile.pointee.sums + pixel &* panels, requantizations, vectors: panels)
    store_bytes_x16(
      run.output + pixel &* tile.pointee.outputPixelStride, byteMask(tile.pointee.channels), bytes)
  }
}
