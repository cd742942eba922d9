import CInstructions
import KernelInterface

// From the image to sums.

/// Something of 64 channels of a pixel, or of fewer of more pixels: quarter q of vector k has channels 4 k ... 4 k + 3
/// of unit q.
typealias DepthwiseVectors = (k0: Lanes, k1: Lanes, k2: Lanes, k3: Lanes)

@inline(__always)
func vectors(_ pointer: UnsafePointer<Lanes>) -> DepthwiseVectors {
  (pointer[0], pointer[1], pointer[2], pointer[3])
}

/// The bytes of two pixels, one beside the other for every channel.
private typealias PixelPair = (low: Lanes, high: Lanes)

@inline(__always)
private func pair(_ first: Lanes, _ second: Lanes) -> PixelPair {
  (interleave_low_bytes_x16(first, second), interleave_high_bytes_x16(first, second))
}

/// The bytes of four pixels, one beside the other for every channel.
@inline(__always)
private func vectors(_ first: PixelPair, _ second: PixelPair) -> DepthwiseVectors {
  (
    interleave_low_words_x16(first.low, second.low), interleave_high_words_x16(first.low, second.low),
    interleave_low_words_x16(first.high, second.high), interleave_high_words_x16(first.high, second.high)
  )
}

@inline(__always)
private func add(
  _ sums: inout DepthwiseVectors, _ inputs: DepthwiseVectors, _ weights: UnsafePointer<Lanes>
) {
  sums.k0 = dot4_x16(sums.k0, inputs.k0, weights[0])
  sums.k1 = dot4_x16(sums.k1, inputs.k1, weights[1])
  sums.k2 = dot4_x16(sums.k2, inputs.k2, weights[2])
  sums.k3 = dot4_x16(sums.k3, inputs.k3, weights[3])
}

/// Sums of four neighbouring outputs. The functions add the dot products of one quad; `slot` is 64 bytes of the columns
/// that `inputColumn` names.
typealias DepthwiseSums = (
  p0: DepthwiseVectors, p1: DepthwiseVectors, p2: DepthwiseVectors, p3: DepthwiseVectors
)

@inline(__always)
func addStepOne(
  _ sums: inout DepthwiseSums, _ weights: UnsafePointer<Lanes>, _ slot: (_ index: Int) -> Lanes
) {
  let a = pair(slot(0), slot(1)), b = pair(slot(2), slot(3))
  let x = vectors(a, b)
  add(&sums.p0, x, weights)
  add(&sums.p1, x, weights + 4)
  let y = vectors(b, pair(slot(4), slot(5)))
  add(&sums.p2, y, weights)
  add(&sums.p3, y, weights + 4)
}

@inline(__always)
func addStepTwo(
  _ sums: inout DepthwiseSums, _ weights: UnsafePointer<Lanes>, _ slot: (_ index: Int) -> Lanes
) {
  let a = pair(slot(0), slot(1)), b = pair(slot(2), slot(3))
  add(&sums.p0, vectors(a, b), weights)
  let c = pair(slot(4), slot(5))
  add(&sums.p1, vectors(b, c), weights)
  let d = pair(slot(6), slot(7))
  add(&sums.p2, vectors(c, d), weights)
  add(&sums.p3, vectors(d, pair(slot(8), slot(9))), weights)
}

@inline(__always)
func addSeparate(
  _ sums: inout DepthwiseSums, _ weights: UnsafePointer<Lanes>, _ slot: (_ index: Int) -> Lanes
) {
  add(&sums.p0, vectors(pair(slot(0), slot(1)), pair(slot(2), slot(3))), weights)
  add(&sums.p1, vectors(pair(slot(4), slot(5)), pair(slot(6), slot(7))), weights)
  add(&sums.p2, vectors(pair(slot(8), slot(9)), pair(slot(10), slot(11))), weights)
  add(&sums.p3, vectors(pair(slot(12), slot(13)), pair(slot(14), slot(15))), weights)
}

/// What sums are computed from, but for the place.
///
/// - `weightVectors`: of a quad. `quads`: of all rows.
/// - `offsets`: from the first input of the first window to the first slot of every quad, in bytes.
/// - `maskOffsets`, `rowMasks`: for every quad, the place of its masks among those of a tile, and that of its row.
/// - Steps in bytes: between columns of the window, from output to output, and between the pixels of a vector.
/// - `outside`: 64 zero points.
typealias DepthwiseWindow = (
  bias: UnsafePointer<Lanes>, weights: UnsafePointer<Lanes>, weightVectors: Int, quads: Int,
  offsets: UnsafePointer<Int>, maskOffsets: UnsafeMutablePointer<Int>, rowMasks: UnsafeMutablePointer<Int>,
  columnStep: Int, outputStep: Int, pixelStep: Int, outside: UnsafeRawPointer
)

/// - Parameter tables: memory that is filled, of `depthwiseWindowByteCount`.
@inline(__always)
func depthwiseWindow(
  _ layer: DepthwiseLayer, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ tables: UnsafeMutableRawPointer
) -> DepthwiseWindow {
  let quads = cut.quads &* layer.kernelHeight
  let columnStep = layer.dilationColumns &* layer.inputPixelStride
  let outputStep = layer.strideColumns &* layer.inputPixelStride
  tables.initializeMemory(as: UInt8.self, repeating: layer.inputZeroPoint, count: 64)
  let offsets = (tables + 64).assumingMemoryBound(to: Int.self), maskOffsets = offsets + quads
  for row in 0..<layer.kernelHeight {
    for quad in 0..<cut.quads {
      let index = row &* cut.quads &+ quad
      offsets[index] = row &* layer.dilationRows &* layer.inputRowStride &+ 4 &* quad &* columnStep
      maskOffsets[index] = quad &* cut.slots &* block.pixels
    }
  }
  return (
    UnsafePointer(bias(block)), UnsafePointer(weights(block)), 4 &* cut.positions, quads,
    UnsafePointer(offsets), maskOffsets, offsets + 2 &* quads, columnStep, outputStep, 4 &* outputStep,
    UnsafeRawPointer(tables)
  )
}

/// Finds which rows of the windows lie inside the image.
///
/// - Parameter row: where the windows begin, inside the image or not.
func fillRowMasks(_ window: DepthwiseWindow, _ layer: DepthwiseLayer, _ cut: DepthwiseCut, row: Int) {
  var mask = window.rowMasks
  for i in 0..<layer.kernelHeight {
    let y = row &+ i &* layer.dilationRows
    for _ in 0..<cut.quads {
      mask.pointee = UInt(bitPattern: y) < UInt(bitPattern: layer.inputHeight) ? -1 : 0
      mask += 1
    }
  }
}

func depthwiseWindowByteCount(_ layer: DepthwiseLayer, _ cut: DepthwiseCut) -> Int {
  64 &+ (24 &* cut.quads &* layer.kernelHeight &+ 63) & ~63
}

/// Bytes from the first slot of a quad to another, and to another pixel of its vector.
@inline(__always)
func sharedOffset(_ window: DepthwiseWindow, _ slot: Int, _ pixel: Int) -> Int {
  slot &* window.columnStep &+ pixel &* window.pixelStep
}
@inline(__always)
func separateOffset(_ window: DepthwiseWindow, _ slot: Int, _ pixel: Int) -> Int {
  slot / 4 &* window.outputStep &+ slot % 4 &* window.columnStep &+ pixel &* window.pixelStep
}

/// `place`, or zero points if it is outside the image.
///
/// - Parameters:
///   - masks: of a tile.
///   - index: the place's among those of a quad.
@inline(__always)
func inside(
  _ window: DepthwiseWindow, _ place: UnsafeRawPointer, _ masks: UnsafePointer<Int>, _ quad: Int, _ index: Int
) -> UnsafeRawPointer {
  let mask = masks[window.maskOffsets[quad] &+ index] & window.rowMasks[quad]
  return window.outside + ((Int(bitPattern: place) &- Int(bitPattern: window.outside)) & mask)
}

/// The sums of windows, quad by quad.
///
/// - Parameters:
///   - input: the first input of the first window, inside the image or not.
///   - add: what adds a quad, whose first slot begins at `source`.
@inline(__always)
func windowSums(
  _ window: DepthwiseWindow, _ input: UnsafeRawPointer,
  _ add: (
    inout DepthwiseSums, _ weights: UnsafePointer<Lanes>, _ source: UnsafeRawPointer, _ quad: Int
  ) -> Void
) -> DepthwiseSums {
  let bias = vectors(window.bias)
  var sums: DepthwiseSums = (bias, bias, bias, bias)
  var weights = window.weights
  for quad in 0..<window.quads {
    add(&sums, weights, input + window.offsets[quad], quad)
    weights += window.weightVectors
  }
  return sums
}

// A vector of 64 bytes of one pixel, 32 of two, 16 of four.

@inline(__always)
func onePixel(_ place: (_ pixel: Int) -> UnsafeRawPointer) -> Lanes { load(place(0)) }

@inline(__always)
func twoPixels(_ place: (_ pixel: Int) -> UnsafeRawPointer) -> Lanes {
  join_halves_x16(place(0), place(1))
}

@inline(__always)
func fourPixels(_ place: (_ pixel: Int) -> UnsafeRawPointer) -> Lanes {
  join_quarters_x16(place(0), place(1), place(2), place(3))
}
