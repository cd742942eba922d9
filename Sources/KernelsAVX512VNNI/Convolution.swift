import CInstructions
import KernelInterface

// Kernels call only functions that are private and, unless inlined, not generic: so no object holds a weak symbol, and
// the inner loops of debug builds are as fast as those of release builds.

/// Walks the bases of consecutive output pixels.
private struct PixelCursor {
  private var base: UnsafeRawPointer
  private var column: Int
  private let outputWidth: Int
  private let pixelStride: Int
  /// From the last pixel of a row to the first of the next.
  private let wrapStride: Int

  @inline(__always)
  init(_ arguments: ConvolutionArguments, first: Int) {
    let row = first / arguments.outputWidth
    column = first &- row &* arguments.outputWidth
    outputWidth = arguments.outputWidth
    pixelStride = arguments.inputPixelStride
    wrapStride = arguments.inputRowStride &- (arguments.outputWidth &- 1) &* arguments.inputPixelStride
    base = UnsafeRawPointer(arguments.input) + (row &* arguments.inputRowStride &+ column &* pixelStride)
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

// MARK: - Depthwise

/// Depthwise convolution, 64 channels at a time. In four vectors of channels by taps, quarter q of vector k
/// holds channels 16 q + 4 k ... 16 q + 4 k + 3: so taps are interleaved within quarters only, and packing
/// the results restores the order.
package func convolutionDepthwiseAVX512VNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let groups = arguments.steps / 4
  // Pixel bases, sums, bias, constants and weights in the order of the vectors.
  withUnsafeTemporaryAllocation(byteCount: 64 &+ (16 &+ 4 &+ 16 &+ 4 &* groups) &* 64, alignment: 64) {
    memory in
    guard let memory = memory.baseAddress else { return }
    let bases = memory.assumingMemoryBound(to: UnsafeRawPointer.self)
    let sums = (memory + 64).assumingMemoryBound(to: Lanes.self)
    let bias = sums + 16
    let requantizations = UnsafeMutableRawPointer(bias + 4).assumingMemoryBound(to: Requantization.self)
    let weights = UnsafeMutableRawPointer(requantizations + 4).assumingMemoryBound(to: Lanes.self)

    var channel = 0
    while channel < arguments.storedChannels {
      let channels = min(arguments.storedChannels &- channel, 64)
      // Missing panels repeat the last one, to read what exists.
      let lastPanel = (channels &- 1) / 16
      for group in 0..<groups {
        transpose(
          arguments.weights + (channel &* 4 &* groups &+ 64 &* group), panelStride: 64 &* groups, lastPanel,
          into: weights + 4 &* group)
      }
      transpose(UnsafeRawPointer(arguments.bias + channel), panelStride: 64, lastPanel, into: bias)
      transpose(UnsafeRawPointer(arguments.multiplier + channel), panelStride: 64, lastPanel, into: sums)
      transpose(UnsafeRawPointer(arguments.shift + channel), panelStride: 64, lastPanel, into: sums + 4)
      for k in 0..<4 { requantizations[k] = requantization(multiplier: sums[k], shift: sums[k &+ 4]) }

      let output = byteOutput(
        zeroPoint: arguments.outputZeroPoint, minimum: arguments.clampMinimum,
        maximum: arguments.clampMaximum,
        saturating: needsSaturation(
          arguments.shift + channel, channels: min(channels, arguments.outputChannels &- channel)))
      var destination = UnsafeMutableRawPointer(
        arguments.output + (first &* arguments.outputPixelStride &+ channel))
      var cursor = PixelCursor(arguments, first: first)
      var left = count
      while left > 0 {
        let valid = min(left, 4)
        cursor.fill(bases, 4, valid: valid)
        depthwiseTile(bases, channel, arguments.stepOffsets, groups, weights, bias, sums)
        for pixel in 0..<valid {
          store_bytes_x16(
            destination, byteMask(channels), bytesOfQuarters(output, sums + 4 &* pixel, requantizations))
          destination += arguments.outputPixelStride
        }
        left &-= valid
      }
      channel &+= 64
    }
  }
}

/// The sums of 64 channels of four pixels.
@inline(never) private func depthwiseTile(
  _ bases: UnsafePointer<UnsafeRawPointer>, _ channel: Int, _ offsets: UnsafePointer<Int32>, _ groups: Int,
  _ weights: UnsafePointer<Lanes>, _ bias: UnsafePointer<Lanes>, _ sums: UnsafeMutablePointer<Lanes>
) {
  var row0 = DepthwiseRow(bias)
  var row1 = row0, row2 = row0, row3 = row0
  let base0 = bases[0] + channel, base1 = bases[1] + channel
  let base2 = bases[2] + channel, base3 = bases[3] + channel
  for group in 0..<groups {
    let w = DepthwiseRow(weights + 4 &* group)
    let taps = offsets + 4 &* group
    let first = row0.accumulate(base0, Int(taps[0]), taps, w)
    let second = row1.accumulate(base1, first, taps, w)
    let third = row2.accumulate(base2, second, taps, w)
    _ = row3.accumulate(base3, third, taps, w)
  }
  row0.store(sums)
  row1.store(sums + 4)
  row2.store(sums + 8)
  row3.store(sums + 12)
}

/// The four vectors of one pixel's 64 channels.
private struct DepthwiseRow {
  private var v0: Lanes
  private var v1: Lanes
  private var v2: Lanes
  private var v3: Lanes

  @inline(__always)
  init(_ vectors: UnsafePointer<Lanes>) {
    (v0, v1, v2, v3) = (vectors[0], vectors[1], vectors[2], vectors[3])
  }

  @inline(__always)
  func store(_ vectors: UnsafeMutablePointer<Lanes>) {
    vectors[0] = v0
    vectors[1] = v1
    vectors[2] = v2
    vectors[3] = v3
  }

  /// Adds four taps, the first of which is at `offset`; returns it for the next pixel, see `after_x16`.
  @inline(__always)
  mutating func accumulate(
    _ base: UnsafeRawPointer, _ offset: Int, _ taps: UnsafePointer<Int32>, _ weights: DepthwiseRow
  ) -> Int {
    let x0 = load(base + offset), x1 = load(base + Int(taps[1]))
    let x2 = load(base + Int(taps[2])), x3 = load(base + Int(taps[3]))
    let low01 = interleave_low_bytes_x16(x0, x1), low23 = interleave_low_bytes_x16(x2, x3)
    let high01 = interleave_high_bytes_x16(x0, x1), high23 = interleave_high_bytes_x16(x2, x3)
    v0 = dot4_x16(v0, interleave_low_words_x16(low01, low23), weights.v0)
    v1 = dot4_x16(v1, interleave_high_words_x16(low01, low23), weights.v1)
    v2 = dot4_x16(v2, interleave_low_words_x16(high01, high23), weights.v2)
    v3 = dot4_x16(v3, interleave_high_words_x16(high01, high23), weights.v3)
    return Int(after_x16(Int64(offset), v0, v1, v2, v3))
  }
}

/// Four panels of 64 bytes, whose quarters k become vector k.
@inline(__always)
private func transpose(
  _ panels: UnsafeRawPointer, panelStride: Int, _ lastPanel: Int, into vectors: UnsafeMutablePointer<Lanes>
) {
  let p0 = load(panels), p1 = load(panels + panelStride &* min(1, lastPanel))
  let p2 = load(panels + panelStride &* min(2, lastPanel)), p3 = load(panels + panelStride &* lastPanel)
  let lower01 = lower_halves_x16(p0, p1), lower23 = lower_halves_x16(p2, p3)
  let upper01 = upper_halves_x16(p0, p1), upper23 = upper_halves_x16(p2, p3)
  vectors[0] = even_quarters_x16(lower01, lower23)
  vectors[1] = odd_quarters_x16(lower01, lower23)
  vectors[2] = even_quarters_x16(upper01, upper23)
  vectors[3] = odd_quarters_x16(upper01, upper23)
}

// MARK: - Ceiling

/// Executes `20 * iterations` independent dot-product instructions on registers, 128 operations each (a
/// multiplication and an addition for each of 64 bytes): the ceiling that benchmarks compare kernels with.
package func peakDotProductsAVX512VNNI(iterations: Int) -> Int32 {
  let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
  var accumulators = InlineArray<20, Lanes> { _ in .zero }
  for _ in 0..<iterations {
    for i in 0..<20 { accumulators[i] = dot4_x16(accumulators[i], x, x) }
  }
  var sum = Lanes.zero
  for i in 0..<20 { sum = sum &+ accumulators[i] }
  return sum[0]
}
