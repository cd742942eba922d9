import CInstructions
import KernelInterface

// From the image to sums.

/// Something of 64 channels of a pixel, or of fewer of more pixels: quarter q of vector k has channels 4 k ... 4 k + 3
/// of unit q.
struct DepthwiseVectors {
  var k0, k1, k2, k3: Lanes

  @inline(__always)
  init(_ pointer: UnsafePointer<Lanes>) {
    k0 = pointer[0]
    k1 = pointer[1]
    k2 = pointer[2]
    k3 = pointer[3]
  }

  /// The bytes of four pixels, one beside the other for every channel.
  @inline(__always)
  init(_ first: PixelPair, _ second: PixelPair) {
    k0 = interleave_low_words_x16(first.low, second.low)
    k1 = interleave_high_words_x16(first.low, second.low)
    k2 = interleave_low_words_x16(first.high, second.high)
    k3 = interleave_high_words_x16(first.high, second.high)
  }

  @inline(__always)
  mutating func add(_ inputs: DepthwiseVectors, _ weights: UnsafePointer<Lanes>) {
    k0 = dot4_x16(k0, inputs.k0, weights[0])
    k1 = dot4_x16(k1, inputs.k1, weights[1])
    k2 = dot4_x16(k2, inputs.k2, weights[2])
    k3 = dot4_x16(k3, inputs.k3, weights[3])
  }
}

/// The bytes of two pixels, one beside the other for every channel.
struct PixelPair {
  let low, high: Lanes

  @inline(__always)
  init(_ first: Lanes, _ second: Lanes) {
    low = interleave_low_bytes_x16(first, second)
    high = interleave_high_bytes_x16(first, second)
  }
}

/// Sums of four neighbouring outputs. The functions add the dot products of one quad; `slot` is 64 bytes of the columns
/// that `DepthwiseCut.column` names.
struct DepthwiseSums {
  var p0, p1, p2, p3: DepthwiseVectors

  @inline(__always)
  mutating func addStepOne(_ weights: UnsafePointer<Lanes>, _ slot: (_ index: Int) -> Lanes) {
    let a = PixelPair(slot(0), slot(1)), b = PixelPair(slot(2), slot(3))
    let x = DepthwiseVectors(a, b)
    p0.add(x, weights)
    p1.add(x, weights + 4)
    let y = DepthwiseVectors(b, PixelPair(slot(4), slot(5)))
    p2.add(y, weights)
    p3.add(y, weights + 4)
  }

  @inline(__always)
  mutating func addStepTwo(_ weights: UnsafePointer<Lanes>, _ slot: (_ index: Int) -> Lanes) {
    let a = PixelPair(slot(0), slot(1)), b = PixelPair(slot(2), slot(3))
    p0.add(DepthwiseVectors(a, b), weights)
    let c = PixelPair(slot(4), slot(5))
    p1.add(DepthwiseVectors(b, c), weights)
    let d = PixelPair(slot(6), slot(7))
    p2.add(DepthwiseVectors(c, d), weights)
    p3.add(DepthwiseVectors(d, PixelPair(slot(8), slot(9))), weights)
  }

  @inline(__always)
  mutating func addSeparate(_ weights: UnsafePointer<Lanes>, _ slot: (_ index: Int) -> Lanes) {
    p0.add(DepthwiseVectors(PixelPair(slot(0), slot(1)), PixelPair(slot(2), slot(3))), weights)
    p1.add(DepthwiseVectors(PixelPair(slot(4), slot(5)), PixelPair(slot(6), slot(7))), weights)
    p2.add(DepthwiseVectors(PixelPair(slot(8), slot(9)), PixelPair(slot(10), slot(11))), weights)
    p3.add(DepthwiseVectors(PixelPair(slot(12), slot(13)), PixelPair(slot(14), slot(15))), weights)
  }
}

/// What sums are computed from, but for the place.
struct DepthwiseWindow {
  private let bias: UnsafePointer<Lanes>
  private let weights: UnsafePointer<Lanes>
  /// Of a quad.
  private let weightVectors: Int
  /// Of all rows.
  private let quads: Int
  /// From the first input of the first window to the first slot of every quad, in bytes.
  private let offsets: UnsafePointer<Int>
  /// For every quad, the place of its masks among those of a tile, and that of its row.
  private let maskOffsets: UnsafeMutablePointer<Int>
  private let rowMasks: UnsafeMutablePointer<Int>
  /// Steps in bytes: between columns of the window, from output to output, and between the pixels of a vector.
  private let columnStep: Int
  private let outputStep: Int
  private let pixelStep: Int
  /// 64 zero points.
  private let outside: UnsafeRawPointer

  /// - Parameter tables: memory that is filled, of `byteCount`.
  @inline(__always)
  init(
    _ layer: DepthwiseLayer, _ cut: DepthwiseCut, _ block: DepthwiseBlock,
    _ tables: UnsafeMutableRawPointer
  ) {
    bias = UnsafePointer(block.bias)
    weights = UnsafePointer(block.weights)
    weightVectors = 4 &* cut.positions
    quads = cut.quads &* layer.kernelHeight
    columnStep = layer.dilationColumns &* layer.inputPixelStride
    outputStep = layer.strideColumns &* layer.inputPixelStride
    pixelStep = 4 &* outputStep
    tables.initializeMemory(as: UInt8.self, repeating: layer.inputZeroPoint, count: 64)
    outside = UnsafeRawPointer(tables)
    let offsets = (tables + 64).assumingMemoryBound(to: Int.self)
    self.offsets = UnsafePointer(offsets)
    maskOffsets = offsets + quads
    rowMasks = offsets + 2 &* quads
    for row in 0..<layer.kernelHeight {
      for quad in 0..<cut.quads {
        let index = row &* cut.quads &+ quad
        offsets[index] = row &* layer.dilationRows &* layer.inputRowStride &+ 4 &* quad &* columnStep
        maskOffsets[index] = quad &* cut.slots &* block.pixels
      }
    }
  }

  /// Finds which rows of the windows lie inside the image.
  ///
  /// - Parameter row: where the windows begin, inside the image or not.
  func fillRowMasks(_ layer: DepthwiseLayer, _ cut: DepthwiseCut, row: Int) {
    var mask = rowMasks
    for i in 0..<layer.kernelHeight {
      let y = row &+ i &* layer.dilationRows
      for _ in 0..<cut.quads {
        mask.pointee = UInt(bitPattern: y) < UInt(bitPattern: layer.inputHeight) ? -1 : 0
        mask += 1
      }
    }
  }

  static func byteCount(_ layer: DepthwiseLayer, _ cut: DepthwiseCut) -> Int {
    64 &+ (24 &* cut.quads &* layer.kernelHeight &+ 63) & ~63
  }

  /// Bytes from the first slot of a quad to another, and to another pixel of its vector.
  @inline(__always)
  func sharedOffset(_ slot: Int, _ pixel: Int) -> Int { slot &* columnStep &+ pixel &* pixelStep }
  @inline(__always)
  func separateOffset(_ slot: Int, _ pixel: Int) -> Int {
    slot / 4 &* outputStep &+ slot % 4 &* columnStep &+ pixel &* pixelStep
  }

  /// `place`, or zero points if it is outside the image.
  ///
  /// - Parameters:
  ///   - masks: of a tile.
  ///   - index: the place's among those of a quad.
  @inline(__always)
  func inside(
    _ place: UnsafeRawPointer, _ masks: UnsafePointer<Int>, _ quad: Int, _ index: Int
  )
    -> UnsafeRawPointer
  {
    let mask = masks[maskOffsets[quad] &+ index] & rowMasks[quad]
    return outside + ((Int(bitPattern: place) &- Int(bitPattern: outside)) & mask)
  }

  /// The sums of windows, quad by quad.
  ///
  /// - Parameters:
  ///   - input: the first input of the first window, inside the image or not.
  ///   - add: what adds a quad, whose first slot begins at `source`.
  @inline(__always)
  func sums(
    _ input: UnsafeRawPointer,
    _ add: (
      inout DepthwiseSums, _ weights: UnsafePointer<Lanes>, _ source: UnsafeRawPointer, _ quad: Int
    ) -> Void
  ) -> DepthwiseSums {
    let bias = DepthwiseVectors(bias)
    var sums = DepthwiseSums(p0: bias, p1: bias, p2: bias, p3: bias)
    var weights = weights
    for quad in 0..<quads {
      add(&sums, weights, input + offsets[quad], quad)
      weights += weightVectors
    }
    return sums
  }
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
