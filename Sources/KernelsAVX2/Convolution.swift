import CInstructions
import KernelInterface

// All kernels of this instruction set are one file whose functions are private and, unless inlined, not
// generic: so no object holds a weak symbol, and debug builds are as fast as release builds.

/// Computes the sums of 16 channels of some pixels, with the bias: `sums[pixel][half of the panel]`.
private typealias TileFunction = (_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) -> Void

/// Depthwise convolution: taps are interleaved and widened to 16 bits.
package func convolutionDepthwiseAVX2(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(
    arguments, blocks: arguments.steps / 4, isDepthwise: true, first, count, depthwiseTile4, depthwiseTile1)
}

// MARK: - Tiles

// 16 channels times four pixels, or one: eight accumulators hide the latency of a multiplication and an
// addition, and with the weights they fit the 16 registers.

@inline(never) private func depthwiseTile4(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<4>().sumDepthwise(tile, sums)
}

@inline(never) private func depthwiseTile1(_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
  Tile<1>().sumDepthwise(tile, sums)
}

/// What the sums of a tile are made of.
private struct TileOperands {
  /// One for each pixel.
  let bases: UnsafePointer<UnsafeRawPointer>
  let stepOffsets: UnsafePointer<Int32>
  let weights: UnsafeRawPointer
  /// Blocks of 64 bytes: steps, pairs of steps with 4-bit weights, or groups of four taps.
  let blocks: Int
  let bias: UnsafePointer<Int32>
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

/// Signed weights of 16 channels, as 16-bit lanes: bytes 0 and 2 of each step or group, and bytes 1 and 3.
private struct WideWeights {
  let even: Pair
  let odd: Pair

  @inline(__always)
  init(_ pointer: UnsafeRawPointer) {
    let bytes = Pair(pointer)
    even = Pair(
      shift_right_8_words_x8(shift_left_8_words_x8(bytes.lower)),
      shift_right_8_words_x8(shift_left_8_words_x8(bytes.upper)))
    odd = Pair(shift_right_8_words_x8(bytes.lower), shift_right_8_words_x8(bytes.upper))
  }
}

private struct Tile<let pixels: Int> {
  @inline(__always)
  func sumDepthwise(_ t: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) {
    let bases = InlineArray<pixels, UnsafeRawPointer> { t.bases[$0] }
    var accumulators = InlineArray<pixels, Pair> { _ in Pair(UnsafeRawPointer(t.bias)) }
    for group in 0..<t.blocks {
      let weights = WideWeights(t.weights + 64 &* group)
      let taps = t.stepOffsets + 4 &* group
      let tap1 = Int(taps[1]), tap2 = Int(taps[2]), tap3 = Int(taps[3])
      var tap0 = Int(taps[0])
      for pixel in 0..<pixels {
        let base = bases[pixel]
        let x0 = loadHalf(base + tap0), x1 = loadHalf(base + tap1)
        let x2 = loadHalf(base + tap2), x3 = loadHalf(base + tap3)
        var sum = accumulators[pixel]
        sum.lower =
          sum.lower &+ dot2_words_x8(widen_bytes_x8(interleave_low_bytes_x4(x0, x2)), weights.even.lower)
        sum.upper =
          sum.upper &+ dot2_words_x8(widen_bytes_x8(interleave_high_bytes_x4(x0, x2)), weights.even.upper)
        sum.lower =
          sum.lower &+ dot2_words_x8(widen_bytes_x8(interleave_low_bytes_x4(x1, x3)), weights.odd.lower)
        sum.upper =
          sum.upper &+ dot2_words_x8(widen_bytes_x8(interleave_high_bytes_x4(x1, x3)), weights.odd.upper)
        accumulators[pixel] = sum
        tap0 = Int(after_x8(Int64(tap0), sum.lower, sum.upper))
      }
    }
    store(accumulators, sums)
  }

  @inline(__always)
  private func store(_ accumulators: InlineArray<pixels, Pair>, _ sums: UnsafeMutablePointer<Lanes>) {
    for pixel in 0..<pixels {
      sums[2 &* pixel] = accumulators[pixel].lower
      sums[2 &* pixel &+ 1] = accumulators[pixel].upper
    }
  }
}

// MARK: - From tiles to the output

/// All pixels of all panels, one panel after the other.
@inline(__always)
private func convolve(
  _ arguments: ConvolutionArguments, blocks: Int, isDepthwise: Bool, _ first: Int, _ count: Int,
  _ tile4: TileFunction, _ tile1: TileFunction
) {
  withUnsafeTemporaryAllocation(byteCount: 32 &+ (4 * 2) &* 32, alignment: 32) { memory in
    guard let memory = memory.baseAddress else { return }
    let bases = memory.assumingMemoryBound(to: UnsafeRawPointer.self)
    let sums = (memory + 32).assumingMemoryBound(to: Lanes.self)
    var channel = 0
    while channel < arguments.storedChannels {
      let channels = min(arguments.storedChannels &- channel, 16)
      let tile = TileOperands(
        bases: bases, stepOffsets: arguments.stepOffsets, weights: arguments.weights + channel &* 4 &* blocks,
        blocks: blocks, bias: arguments.bias + channel)
      let output = PanelOutput(arguments, channel: channel)
      var destination = UnsafeMutableRawPointer(
        arguments.output + (first &* arguments.outputPixelStride &+ channel))
      var cursor = PixelCursor(arguments, first: first, channel: isDepthwise ? channel : 0)
      var left = count
      while left > 0 {
        let valid = min(left, 4)
        cursor.fill(bases, 4, valid: valid)
        if valid > 1 { tile4(tile, sums) } else { tile1(tile, sums) }
        for pixel in 0..<valid {
          output.store(sums + 2 &* pixel, destination, channels)
          destination += arguments.outputPixelStride
        }
        left &-= valid
      }
      channel &+= 16
    }
  }
}

/// Walks the bases of consecutive output pixels.
private struct PixelCursor {
  private var base: UnsafeRawPointer
  private var column: Int
  private let outputWidth: Int
  private let pixelStride: Int
  /// From the last pixel of a row to the first of the next.
  private let wrapStride: Int

  @inline(__always)
  init(_ arguments: ConvolutionArguments, first: Int, channel: Int) {
    let row = first / arguments.outputWidth
    column = first &- row &* arguments.outputWidth
    outputWidth = arguments.outputWidth
    pixelStride = arguments.inputPixelStride
    wrapStride = arguments.inputRowStride &- (arguments.outputWidth &- 1) &* arguments.inputPixelStride
    base =
      UnsafeRawPointer(arguments.input)
      + (row &* arguments.inputRowStride &+ column &* pixelStride &+ channel)
  }

  /// The bases of the next `valid` pixels of a tile; the last is repeated, so that a tile at the end reads
  /// what exists.
  @inline(__always)
  mutating func fill(_ bases: UnsafeMutablePointer<UnsafeRawPointer>, _ pixels: Int, valid: Int) {
    for pixel in 0..<valid {
      bases[pixel] = base
      column &+= 1
      let wraps = column == outputWidth
      column = wraps ? 0 : column
      base += wraps ? wrapStride : pixelStride
    }
    for pixel in valid..<pixels { bases[pixel] = bases[valid &- 1] }
  }
}

@inline(__always)
private func loadHalf(_ pointer: UnsafeRawPointer) -> SIMD4<Int32> {
  pointer.loadUnaligned(as: SIMD4<Int32>.self)
}

// MARK: - Ceilings

/// Executes `10 * iterations` multiplications of 16-bit pairs, each with its addition: 32 operations, the
/// inner loop of 8-bit weights without loads and widening.
package func peakDotWordsAVX2(iterations: Int) -> Int32 {
  let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
  var accumulators = InlineArray<10, Lanes> { _ in .zero }
  for _ in 0..<iterations {
    for i in 0..<10 { accumulators[i] = accumulators[i] &+ dot2_words_x8(accumulators[i], x) }
  }
  return sum(accumulators)
}

/// Executes `10 * iterations` multiplications of byte pairs, each with its 16-bit addition: 64 operations,
/// the inner loop of 4-bit weights.
package func peakDotBytesAVX2(iterations: Int) -> Int32 {
  let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
  var accumulators = InlineArray<10, Lanes> { _ in .zero }
  for _ in 0..<iterations {
    for i in 0..<10 { accumulators[i] = add_words_x8(accumulators[i], dot2_bytes_x8(accumulators[i], x)) }
  }
  return sum(accumulators)
}

@inline(__always)
private func sum(_ accumulators: InlineArray<10, Lanes>) -> Int32 {
  var sum = Lanes.zero
  for i in 0..<10 { sum = sum &+ accumulators[i] }
  return sum[0]
}
