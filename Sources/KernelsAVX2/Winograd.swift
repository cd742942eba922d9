import CInstructions
import KernelInterface

/// Convolution with 3 x 3 windows in fewer products, see `WinogradKernel`. A block of tiles at a time: their inputs are
/// transformed for all channels, then every panel of outputs is multiplied at each of the 16 positions of a tile, as a
/// product of matrices in words, and transformed back.
package func convolutionWinogradAVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let words = winogradWords(arguments.stepsPerTap), panels = (arguments.storedChannels &+ 15) / 16
  let tilesAcross = (arguments.outputWidth &+ 1) / 2
  let tiles = (count &+ 1) / 2 &* tilesAcross
  let blocks = (tiles &+ mostTiles(words) &- 1) / mostTiles(words)
  // Balanced, and whole tiles of products.
  let perBlock = ((tiles &+ blocks &- 1) / blocks &+ 3) & ~3
  let grid = Grid(
    tilesAcross: tilesAcross, firstRow: first, rows: count, columns: arguments.outputWidth,
    words: words, positionBytes: perBlock &* words &* 2 &+ linePadding,
    sumBytes: perBlock &* 64 &+ linePadding)
  let inputs = arguments.scratch, sums = inputs + 16 &* grid.positionBytes
  let isFar = panels &* 16 &* words &* 32 > farBytes
  var tile = 0
  while tile < tiles {
    let block = tile..<min(tile &+ perBlock, tiles)
    transformInputs(arguments, grid, block, inputs)
    for panel in 0..<panels {
      let weights = arguments.weights + panel &* 16 &* words &* 32
      for position in 0..<16 {
        let w = weights + position &* words &* 32, x = inputs + position &* grid.positionBytes
        let y = sums + position &* grid.sumBytes, quadruples = (block.count &+ 3) / 4
        if isFar {
          multiplyFar(w, x, words, y, quadruples)
        } else {
          multiplyNear(w, x, words, y, quadruples)
        }
      }
      if arguments.scale == nil {
        transformOutputsExactly(arguments, grid, block, sums, panel)
      } else {
        transformOutputs(arguments, grid, block, sums, panel)
      }
    }
    tile = block.upperBound
  }
}

/// Transformed inputs and sums of a panel, of the most tiles.
package func winogradScratchBytesAVX2(stepsPerTap: Int) -> Int {
  let words = winogradWords(stepsPerTap)
  return 16 &* (mostTiles(words) &* (words &* 2 &+ 64) &+ 2 &* linePadding)
}

/// A multiple of 4: transformed inputs of about 256 KiB, a part of a second-level cache, but enough tiles for the weights that
/// are read once for them.
@inline(__always)
private func mostTiles(_ words: Int) -> Int { max(16, min(64, 8192 / words & ~3)) }

/// Weights beyond this lie in a third-level cache or in memory.
private var farBytes: Int { 512 << 10 }

/// Between positions, so that they do not meet in the same sets of a cache.
private var linePadding: Int { 64 }

/// How the tiles of a call lie.
private struct Grid {
  let tilesAcross: Int
  let firstRow: Int
  let rows: Int
  let columns: Int
  let words: Int
  /// Bytes between the positions of transformed inputs, and of sums.
  let positionBytes: Int
  let sumBytes: Int

  @inline(__always)
  func row(_ tile: Int) -> Int { 2 &* (tile / tilesAcross) }
  @inline(__always)
  func column(_ tile: Int) -> Int { 2 &* (tile % tilesAcross) }
}

// MARK: - Inputs

/// Bᵀ d B: for every position, the words of each tile's channels.
private func transformInputs(
  _ arguments: ConvolutionArguments, _ grid: Grid, _ block: Range<Int>, _ target: UnsafeMutableRawPointer
) {
  for tile in block {
    let row = grid.row(tile), column = grid.column(tile)
    // What only outputs beyond the last need is any byte of the image.
    var sources = InlineArray<16, UnsafeRawPointer>(repeating: UnsafeRawPointer(arguments.input))
    for i in 0..<4 {
      let line = (grid.firstRow &+ min(row &+ i, grid.rows &+ 1)) &* arguments.inputRowStride
      for j in 0..<4 {
        sources[4 &* i &+ j] += line &+ min(column &+ j, grid.columns &+ 1) &* arguments.inputPixelStride
      }
    }
    var words = target + (tile &- block.lowerBound) &* grid.words &* 2
    for channel in stride(from: 0, to: grid.words, by: 16) {
      transformInput(sources, channel, words, grid.positionBytes)
      words += 32
    }
  }
}

@inline(__always)
private func transformInput(
  _ sources: InlineArray<16, UnsafeRawPointer>, _ channel: Int, _ target: UnsafeMutableRawPointer,
  _ stride: Int
) {
  var rows = InlineArray<16, Lanes>(repeating: .zero)
  for j in 0..<4 {
    let d0 = inputWords(sources[j], channel), d1 = inputWords(sources[4 &+ j], channel)
    let d2 = inputWords(sources[8 &+ j], channel), d3 = inputWords(sources[12 &+ j], channel)
    rows[j] = subtract_words_x8(d0, d2)
    rows[4 &+ j] = add_words_x8(d1, d2)
    rows[8 &+ j] = subtract_words_x8(d2, d1)
    rows[12 &+ j] = subtract_words_x8(d1, d3)
  }
  var place = target
  for i in 0..<4 {
    let d0 = rows[4 &* i], d1 = rows[4 &* i &+ 1], d2 = rows[4 &* i &+ 2], d3 = rows[4 &* i &+ 3]
    place.storeBytes(of: subtract_words_x8(d0, d2), as: Lanes.self)
    (place + stride).storeBytes(of: add_words_x8(d1, d2), as: Lanes.self)
    (place + 2 &* stride).storeBytes(of: subtract_words_x8(d2, d1), as: Lanes.self)
    (place + 3 &* stride).storeBytes(of: subtract_words_x8(d1, d3), as: Lanes.self)
    place += 4 &* stride
  }
}

@inline(__always)
private func inputWords(_ source: UnsafeRawPointer, _ channel: Int) -> Lanes {
  widen_bytes_x8((source + channel).loadUnaligned(as: SIMD4<Int32>.self))
}

// MARK: - Products

@inline(never)
private func multiplyNear(
  _ weights: UnsafeRawPointer, _ inputs: UnsafeRawPointer, _ words: Int, _ sums: UnsafeMutableRawPointer,
  _ quadruples: Int
) {
  multiply(weights, inputs, words, sums, quadruples, prefetches: false)
}

@inline(never)
private func multiplyFar(
  _ weights: UnsafeRawPointer, _ inputs: UnsafeRawPointer, _ words: Int, _ sums: UnsafeMutableRawPointer,
  _ quadruples: Int
) {
  multiply(weights, inputs, words, sums, quadruples, prefetches: true)
}

/// Sums of 16 outputs over all channels at one position, for quadruples of tiles: eight accumulators, and with the weights
/// they fit the 16 registers.
/// - Parameter prefetches: fetches the next position's weights meanwhile.
@inline(__always)
private func multiply(
  _ weights: UnsafeRawPointer, _ inputs: UnsafeRawPointer, _ words: Int, _ sums: UnsafeMutableRawPointer,
  _ quadruples: Int, prefetches: Bool
) {
  let stride = 2 &* words
  var next = weights + 32 &* words
  let nextStep = 64 / max(quadruples, 1)
  for quadruple in 0..<quadruples {
    var lower = InlineArray<4, Lanes>(repeating: .zero), upper = InlineArray<4, Lanes>(repeating: .zero)
    let tiles = inputs + 4 &* quadruple &* stride
    for pair in 0..<words / 2 {
      let first = load(weights + 64 &* pair), second = load(weights + (64 &* pair &+ 32))
      if prefetches {
        prefetch(next)
        next += nextStep
      }
      let x = tiles + 4 &* pair
      for tile in 0..<4 {
        let both = Lanes(repeating: (x + tile &* stride).loadUnaligned(as: Int32.self))
        lower[tile] = lower[tile] &+ dot2_words_x8(both, first)
        upper[tile] = upper[tile] &+ dot2_words_x8(both, second)
      }
    }
    let target = sums + 256 &* quadruple
    for tile in 0..<4 {
      (target + 64 &* tile).storeBytes(of: lower[tile], as: Lanes.self)
      (target + (64 &* tile &+ 32)).storeBytes(of: upper[tile], as: Lanes.self)
    }
  }
}

// MARK: - Outputs

/// Aᵀ M A / 4 of eight outputs: the sums of the direct formula without the bias, row by row.
@inline(__always)
private func directSums(_ source: UnsafeRawPointer, _ stride: Int) -> InlineArray<4, Lanes> {
  var top = InlineArray<4, Lanes>(repeating: .zero), bottom = InlineArray<4, Lanes>(repeating: .zero)
  for j in 0..<4 {
    let m0 = load(source + j &* stride), m1 = load(source + (4 &+ j) &* stride)
    let m2 = load(source + (8 &+ j) &* stride), m3 = load(source + (12 &+ j) &* stride)
    top[j] = m0 &+ m1 &+ m2
    bottom[j] = m1 &- m2 &- m3
  }
  return [
    (top[0] &+ top[1] &+ top[2]) &>> 2, (top[1] &- top[2] &- top[3]) &>> 2,
    (bottom[0] &+ bottom[1] &+ bottom[2]) &>> 2, (bottom[1] &- bottom[2] &- bottom[3]) &>> 2,
  ]
}

/// The outputs of a panel, requantized by fused multiply-adds.
private func transformOutputs(
  _ arguments: ConvolutionArguments, _ grid: Grid, _ block: Range<Int>, _ sums: UnsafeRawPointer, _ panel: Int
) {
  let channel = 16 &* panel
  guard let scale = arguments.scale.map({ UnsafeRawPointer($0 + channel) }) else { return }
  let bias = UnsafeRawPointer(arguments.bias + channel)
  let scales = (lower: load(scale), upper: load(scale + 32))
  let lowerBias = load(bias), upperBias = load(bias + 32)
  let magic = Lanes(repeating: 0x4B40_0000 &+ arguments.outputZeroPoint)
  let minimum = Lanes(repeating: arguments.clampMinimum &* 0x0101_0101)
  let maximum = Lanes(repeating: arguments.clampMaximum &* 0x0101_0101)
  let channels = min(arguments.storedChannels &- channel, 16)
  for tile in block {
    let source = sums + (tile &- block.lowerBound) &* 64
    let lower = directSums(source, grid.sumBytes), upper = directSums(source + 32, grid.sumBytes)
    let row = grid.row(tile), column = grid.column(tile)
    var output = UnsafeMutableRawPointer(arguments.output + channel)
    output += (grid.firstRow &+ row) &* arguments.outputRowStride &+ column &* arguments.outputPixelStride
    for i in 0..<min(2, grid.rows &- row) {
      let words0 = roundedWords(
        lower[2 &* i] &+ lowerBias, upper[2 &* i] &+ upperBias, scales, magic)
      let words1 = roundedWords(
        lower[2 &* i &+ 1] &+ lowerBias, upper[2 &* i &+ 1] &+ upperBias, scales, magic)
      let bytes = permute_x8(
        minimum_bytes_x8(maximum_bytes_x8(pack_bytes_x8(words0, words1), minimum), maximum),
        Lanes(0, 4, 1, 5, 2, 6, 3, 7))
      storeBytes(bytes.lowHalf, output, channels)
      if column &+ 1 < grid.columns {
        storeBytes(bytes.highHalf, output + arguments.outputPixelStride, channels)
      }
      output += arguments.outputRowStride
    }
  }
}

/// The same for any multipliers and shifts.
private func transformOutputsExactly(
  _ arguments: ConvolutionArguments, _ grid: Grid, _ block: Range<Int>, _ sums: UnsafeRawPointer, _ panel: Int
) {
  let channel = 16 &* panel, parameters = panelOutput(arguments, channel: channel)
  let bias = UnsafeRawPointer(arguments.bias + channel)
  let channels = min(arguments.storedChannels &- channel, 16)
  for tile in block {
    let source = sums + (tile &- block.lowerBound) &* 64
    let lower = directSums(source, grid.sumBytes), upper = directSums(source + 32, grid.sumBytes)
    let row = grid.row(tile), column = grid.column(tile)
    for i in 0..<4 where row &+ i / 2 < grid.rows && column &+ i % 2 < grid.columns {
      let output =
        arguments.output
        + ((grid.firstRow &+ row &+ i / 2) &* arguments.outputRowStride
          &+ (column &+ i % 2) &* arguments.outputPixelStride &+ channel)
      storeExactly(
        parameters, lower[i] &+ load(bias), upper[i] &+ load(bias + 32), UnsafeMutableRawPointer(output),
        channels)
    }
  }
}
