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
