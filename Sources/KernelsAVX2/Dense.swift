import CInstructions
import KernelInterface

// Compiled twice: for AVX2, and with AVX_VNNI for processors that also have dot products of bytes.

#if AVX_VNNI
  /// Dense convolution with 8-bit weights.
  package func convolutionDense8AVXVNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
    convolve(arguments, blockBytes: 64, arguments.steps, first, count, product8)
  }

  /// Dense convolution with 4-bit weights.
  package func convolutionDense4AVXVNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
    convolve(arguments, blockBytes: 64, arguments.steps / 2, first, count, product4)
  }

#else
  /// Dense convolution with 8-bit weights, as words: sums of products of bytes would leave 16 bits.
  package func convolutionDense8AVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
    convolve(arguments, blockBytes: 128, arguments.steps, first, count, product8)
  }

  /// Dense convolution with 4-bit weights: products of bytes are added in 16 bits, eight steps at a time.
  package func convolutionDense4AVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
    convolve(arguments, blockBytes: 64, arguments.steps / 2, first, count, product4)
  }
#endif

@inline(__always)
private func product8(_ pixels: Int, _ panel: UnsafePointer<DensePanel>, _ run: TileRun) {
  switch pixels {
  case 4: product8Of4(panel, run)
  case 2: product8Of2(panel, run)
  default: product8Of1(panel, run)
  }
}

@inline(__always)
private func product4(_ pixels: Int, _ panel: UnsafePointer<DensePanel>, _ run: TileRun) {
  switch pixels {
  case 4: product4Of4(panel, run)
  case 2: product4Of2(panel, run)
  default: product4Of1(panel, run)
  }
}

@inline(never) private func product8Of4(_ p: UnsafePointer<DensePanel>, _ r: TileRun) { Tile<4>().run8(p, r) }
@inline(never) private func product8Of2(_ p: UnsafePointer<DensePanel>, _ r: TileRun) { Tile<2>().run8(p, r) }
@inline(never) private func product8Of1(_ p: UnsafePointer<DensePanel>, _ r: TileRun) { Tile<1>().run8(p, r) }
@inline(never) private func product4Of4(_ p: UnsafePointer<DensePanel>, _ r: TileRun) { Tile<4>().run4(p, r) }
@inline(never) private func product4Of2(_ p: UnsafePointer<DensePanel>, _ r: TileRun) { Tile<2>().run4(p, r) }
@inline(never) private func product4Of1(_ p: UnsafePointer<DensePanel>, _ r: TileRun) { Tile<1>().run4(p, r) }

/// Walks blocks of pixels, panels and rows.
@inline(__always)
private func convolve(
  _ arguments: ConvolutionArguments, blockBytes: Int, _ blocks: Int, _ first: Int, _ count: Int,
  _ product: (_ pixels: Int, UnsafePointer<DensePanel>, TileRun) -> Void
) {
  let panels = (arguments.storedChannels &+ 15) / 16
  let memory = (arguments.scratch + DensePanel.scratchOffset).assumingMemoryBound(to: DensePanel.self)
  let end = first &+ count
  var blockStart = first
  while blockStart < end {
    let block =
      panels == 1
      ? count
      : pixelBlock(
        left: end &- blockStart, outputWidth: arguments.outputWidth,
        bytesPerPixel: arguments.inputPixelStride &+ arguments.outputPixelStride,
        cachedBytes: DensePanel.cachedBytes)
    let blockEnd = blockStart &+ block
    for panel in 0..<panels {
      memory.initialize(to: DensePanel(arguments, panel: panel, blockBytes: blockBytes, blocks: blocks))
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
          let pixels = left >= 4 ? 4 : left >= 2 ? 2 : 1
          if arguments.scale == nil {
            product(pixels, memory, run)
            storeTileExactly(arguments, memory, run, channel: 16 &* panel, pixels: pixels)
          } else {
            run.tiles = left / pixels
            product(pixels, memory, run)
          }
          let done = run.tiles &* pixels
          run.input += done &* arguments.inputPixelStride
          run.output += done &* arguments.outputPixelStride
          left &-= done
        }
      }
    }
    blockStart = blockEnd
  }
}

/// The last step for any multipliers and shifts, from the sums of one tile.
@inline(never)
private func storeTileExactly(
  _ arguments: ConvolutionArguments, _ panel: UnsafePointer<DensePanel>, _ run: TileRun, channel: Int,
  pixels: Int
) {
  let output = panelOutput(arguments, channel: channel)
  for pixel in 0..<pixels {
    let sums = panel.pointee.sums + 2 &* pixel
    storeExactly(
      output, sums[0], sums[1], run.output + pixel &* arguments.outputPixelStride, panel.pointee.channels)
  }
}

// MARK: - Tiles

/// A run of tiles within a row.
private struct TileRun {
  /// The first pixel; the others follow at equal distances.
  var input: UnsafeRawPointer
  var output: UnsafeMutableRawPointer
  var tiles: Int
}

/// What the tiles of a panel share. In memory, so that calls hand over one address.
private struct DensePanel {
  let pixelStride: Int
  let stepOffsets: UnsafePointer<Int32>
  let weights: UnsafeRawPointer
  /// Blocks of weights: steps, or pairs of steps with 4-bit weights.
  let blocks: Int
  let bias: UnsafePointer<Int32>
  /// Nil: the sums are left in `sums`.
  let scale: UnsafePointer<Float>?
  let sums: UnsafeMutablePointer<Lanes>
  let outputPixelStride: Int
  /// Bytes that are stored of every pixel.
  let channels: Int
  let magic: Lanes
  let minimum: Lanes
  let maximum: Lanes
  /// Puts the bytes of two pixels in order.
  let order: Lanes

  /// In the scratch memory, behind the sums of a tile.
  static var scratchOffset: Int { 1024 }
  /// Bytes of input and output that stay in the first-level cache while the panels take turns.
  static var cachedBytes: Int { 24 << 10 }

  @inline(__always)
  init(_ arguments: ConvolutionArguments, panel: Int, blockBytes: Int, blocks: Int) {
    let channel = 16 &* panel
    pixelStride = arguments.inputPixelStride
    stepOffsets = arguments.stepOffsets
    weights = arguments.weights + panel &* blockBytes &* blocks
    self.blocks = blocks
    bias = arguments.bias + channel
    scale = arguments.scale.map { $0 + channel }
    sums = arguments.scratch.assumingMemoryBound(to: Lanes.self)
    outputPixelStride = arguments.outputPixelStride
    channels = min(arguments.storedChannels &- channel, 16)
    magic = Lanes(repeating: 0x4B40_0000 &+ arguments.outputZeroPoint)
    minimum = Lanes(repeating: arguments.clampMinimum &* 0x0101_0101)
    maximum = Lanes(repeating: arguments.clampMaximum &* 0x0101_0101)
    order = Lanes(0, 4, 1, 5, 2, 6, 3, 7)
  }
}

/// The products of a panel with `pixels` pixels: eight accumulators, and with the weights they fit the 16 registers.
private struct Tile<let pixels: Int> {
  private typealias Accumulators = InlineArray<pixels, Pair>

  #if AVX_VNNI
    @inline(__always)
    func run8(_ panel: UnsafePointer<DensePanel>, _ run: TileRun) {
      var run = run
      while run.tiles > 0 {
        let p = panel.pointee
        var accumulators = Accumulators(repeating: Pair(UnsafeRawPointer(p.bias)))
        for step in 0..<p.blocks {
          let weights = Pair(p.weights + 64 &* step)
          accumulate(run.input, Int(p.stepOffsets[step]), p.pixelStride, weights, &accumulators)
        }
        finish(p, &run, accumulators)
      }
    }

    @inline(__always)
    func run4(_ panel: UnsafePointer<DensePanel>, _ run: TileRun) {
      var run = run
      while run.tiles > 0 {
        let p = panel.pointee
        // A nibble in the upper half of its byte is the weight times 16.
        let upper = Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0))
        let bias = Pair(UnsafeRawPointer(p.bias))
        var accumulators = Accumulators(repeating: Pair(bias.lower &<< 4, bias.upper &<< 4))
        for pair in 0..<p.blocks {
          let both = Pair(p.weights + 64 &* pair)
          let even = Pair((both.lower &<< 4) & upper, (both.upper &<< 4) & upper)
          accumulate(run.input, Int(p.stepOffsets[2 &* pair]), p.pixelStride, even, &accumulators)
          let odd = Pair(both.lower & upper, both.upper & upper)
          accumulate(run.input, Int(p.stepOffsets[2 &* pair &+ 1]), p.pixelStride, odd, &accumulators)
        }
        for pixel in 0..<pixels {
          accumulators[pixel] = Pair(accumulators[pixel].lower &>> 4, accumulators[pixel].upper &>> 4)
        }
        finish(p, &run, accumulators)
      }
    }

    @inline(__always)
    private func accumulate(
      _ input: UnsafeRawPointer, _ offset: Int, _ stride: Int, _ weights: Pair,
      _ accumulators: inout Accumulators
    ) {
      var x = input + offset
      for pixel in 0..<pixels {
        let bytes = Lanes(repeating: x.loadUnaligned(as: Int32.self))
        let lower = dot4_x8(accumulators[pixel].lower, bytes, weights.lower)
        let upper = dot4_x8(accumulators[pixel].upper, bytes, weights.upper)
        accumulators[pixel] = Pair(lower, upper)
        x += Int(after_x8(Int64(stride), lower, upper))
      }
    }
  #else
    @inline(__always)
    func run8(_ panel: UnsafePointer<DensePanel>, _ run: TileRun) {
      var run = run
      // Half of the next panel's weights arrive during a tile, from a third-level cache where there are many.
      var next = panel.pointee.weights + 128 &* panel.pointee.blocks
      while run.tiles > 0 {
        let p = panel.pointee
        var accumulators = Accumulators(repeating: Pair(UnsafeRawPointer(p.bias)))
        for step in 0..<p.blocks {
          prefetch_far(next + 128 &* step)
          let first = Pair(p.weights + 128 &* step), second = Pair(p.weights + (128 &* step &+ 64))
          var x = run.input + Int(p.stepOffsets[step])
          for pixel in 0..<pixels {
            let x01 = Lanes(repeating: x.loadUnaligned(as: Int32.self))
            let x23 = Lanes(repeating: (x + 4).loadUnaligned(as: Int32.self))
            var sum = accumulators[pixel]
            sum.lower = sum.lower &+ dot2_words_x8(x01, first.lower)
            sum.upper = sum.upper &+ dot2_words_x8(x01, first.upper)
            sum.lower = sum.lower &+ dot2_words_x8(x23, second.lower)
            sum.upper = sum.upper &+ dot2_words_x8(x23, second.upper)
            accumulators[pixel] = sum
            x += Int(after_x8(Int64(p.pixelStride), sum.lower, sum.upper))
          }
        }
        next += run.tiles % 2 == 0 ? 64 : -64
        finish(p, &run, accumulators)
      }
    }

    /// A 16-bit lane gains at most 2 * 255 * 8 = 4080 a step, so that eight steps stay below 2^15.
    @inline(__always)
    func run4(_ panel: UnsafePointer<DensePanel>, _ run: TileRun) {
      var run = run
      while run.tiles > 0 {
        let p = panel.pointee
        let ones = Lanes(repeating: 0x0001_0001)
        for pixel in 0..<pixels {
          let bias = Pair(UnsafeRawPointer(p.bias))
          p.sums[2 &* pixel] = bias.lower
          p.sums[2 &* pixel &+ 1] = bias.upper
        }
        var start = 0
        while start < p.blocks {
          var words = Accumulators(repeating: Pair(.zero, .zero))
          for pair in start..<min(start &+ 4, p.blocks) {
            let even = nibbles(p.weights + 64 &* pair, isUpper: false)
            accumulateWords(run.input, Int(p.stepOffsets[2 &* pair]), p.pixelStride, even, &words)
            let odd = nibbles(p.weights + 64 &* pair, isUpper: true)
            accumulateWords(run.input, Int(p.stepOffsets[2 &* pair &+ 1]), p.pixelStride, odd, &words)
          }
          for pixel in 0..<pixels {
            p.sums[2 &* pixel] = p.sums[2 &* pixel] &+ dot2_words_x8(words[pixel].lower, ones)
            p.sums[2 &* pixel &+ 1] = p.sums[2 &* pixel &+ 1] &+ dot2_words_x8(words[pixel].upper, ones)
          }
          start &+= 4
        }
        finish(p, &run, Accumulators { Pair(p.sums[2 &* $0], p.sums[2 &* $0 &+ 1]) })
      }
    }

    @inline(__always)
    private func accumulateWords(
      _ input: UnsafeRawPointer, _ offset: Int, _ stride: Int, _ weights: Pair, _ words: inout Accumulators
    ) {
      var x = input + offset
      for pixel in 0..<pixels {
        let bytes = Lanes(repeating: x.loadUnaligned(as: Int32.self))
        let lower = add_words_x8(words[pixel].lower, dot2_bytes_x8(bytes, weights.lower))
        let upper = add_words_x8(words[pixel].upper, dot2_bytes_x8(bytes, weights.upper))
        words[pixel] = Pair(lower, upper)
        x += Int(after_x8(Int64(stride), lower, upper))
      }
    }

    /// The lower or upper nibbles of 64 bytes, as signed bytes.
    @inline(__always)
    private func nibbles(_ pointer: UnsafeRawPointer, isUpper: Bool) -> Pair {
      // The bytes 0...7, -8 ... -1: the value of each nibble.
      let values = Lanes(
        0x0302_0100, 0x0706_0504, Int32(bitPattern: 0xFBFA_F9F8), Int32(bitPattern: 0xFFFE_FDFC),
        0x0302_0100, 0x0706_0504, Int32(bitPattern: 0xFBFA_F9F8), Int32(bitPattern: 0xFFFE_FDFC))
      let mask = Lanes(repeating: 0x0F0F_0F0F)
      var both = Pair(pointer)
      if isUpper { both = Pair(upper_nibbles_x8(both.lower), upper_nibbles_x8(both.upper)) }
      return Pair(look_up_bytes_x8(values, both.lower & mask), look_up_bytes_x8(values, both.upper & mask))
    }
  #endif

  @inline(__always)
  private func finish(_ p: DensePanel, _ run: inout TileRun, _ accumulators: Accumulators) {
    run.tiles &-= 1
    run.input += pixels &* p.pixelStride
    guard let scale = p.scale else {
      for pixel in 0..<pixels {
        p.sums[2 &* pixel] = accumulators[pixel].lower
        p.sums[2 &* pixel &+ 1] = accumulators[pixel].upper
      }
      return
    }
    let scales = (lower: load(scale), upper: load(scale + 8))
    let output = run.output
    run.output += pixels &* p.outputPixelStride
    // Every index is a constant, so that accumulators stay in registers.
    let words0 = roundedWords(accumulators[0].lower, accumulators[0].upper, scales, p.magic)
    if pixels == 1 {
      return storeBytes(bytes(words0, words0, p).lowHalf, output, p.channels)
    }
    let words1 = roundedWords(accumulators[1].lower, accumulators[1].upper, scales, p.magic)
    storeTwo(bytes(words0, words1, p), output, p)
    if pixels == 4 {
      let words2 = roundedWords(accumulators[2].lower, accumulators[2].upper, scales, p.magic)
      let words3 = roundedWords(accumulators[3].lower, accumulators[3].upper, scales, p.magic)
      storeTwo(bytes(words2, words3, p), output + 2 &* p.outputPixelStride, p)
    }
  }

  /// The bytes of two pixels.
  @inline(__always)
  private func bytes(_ words0: Lanes, _ words1: Lanes, _ p: DensePanel) -> Lanes {
    permute_x8(
      minimum_bytes_x8(maximum_bytes_x8(pack_bytes_x8(words0, words1), p.minimum), p.maximum), p.order)
  }

  @inline(__always)
  private func storeTwo(_ bytes: Lanes, _ output: UnsafeMutableRawPointer, _ p: DensePanel) {
    storeBytes(bytes.lowHalf, output, p.channels)
    storeBytes(bytes.highHalf, output + p.outputPixelStride, p.channels)
  }
}

/// The two vectors of 16 channels.
private struct Pair {
  var lower: Lanes
  var upper: Lanes

  @inline(__always)
  init(_ lower: Lanes, _ upper: Lanes) {
    self.lower = lower
    self.upper = upper
  }

  @inline(__always)
  init(_ pointer: UnsafeRawPointer) { self.init(load(pointer), load(pointer + 32)) }
}

#if AVX_VNNI
  /// Executes `10 * iterations` dot products of bytes, 64 operations each: the ceiling of these kernels.
  package func peakDotProductsAVXVNNI(iterations: Int) -> Int32 {
    let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
    var accumulators = InlineArray<10, Lanes> { _ in .zero }
    for _ in 0..<iterations {
      for i in 0..<10 { accumulators[i] = dot4_x8(accumulators[i], x, x) }
    }
    var sum = Lanes.zero
    for i in 0..<10 { sum = sum &+ accumulators[i] }
    return sum[0]
  }
#endif
