import KernelInterface
import Numerics

// The specification as loops, for any processor: 16 channels at a time in lanes that the optimizer maps to
// whatever vectors there are, and some pixels at a time so that weights are unpacked once for all of them.

/// Pixels that share unpacked weights.
private let pixelsAtOnce = 8

/// Dense convolution with 8-bit weights.
package func convolutionDense8Portable(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let panelBytes = arguments.steps &* 64
  forEachTile(arguments, first, count) { bases, pixels, channel, sums in
    let weights = arguments.weights + channel / 16 &* panelBytes
    for step in 0..<arguments.steps {
      let w = UnpackedWeights(bytes: load(weights + 64 &* step))
      accumulate(sums, bases, pixels, Int(arguments.stepOffsets[step]), w)
    }
  }
}

/// Dense convolution with 4-bit weights, two steps in the nibbles of 64 bytes.
package func convolutionDense4Portable(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let panelBytes = arguments.steps / 2 &* 64
  forEachTile(arguments, first, count) { bases, pixels, channel, sums in
    let weights = arguments.weights + channel / 16 &* panelBytes
    for pair in 0..<arguments.steps / 2 {
      let both = load(weights + 64 &* pair)
      let even = UnpackedWeights(lowerNibbles: both), odd = UnpackedWeights(upperNibbles: both)
      accumulate(sums, bases, pixels, Int(arguments.stepOffsets[2 &* pair]), even)
      accumulate(sums, bases, pixels, Int(arguments.stepOffsets[2 &* pair &+ 1]), odd)
    }
  }
}

/// Dense convolution with 2-bit weights, four steps in the bits of 64 bytes.
package func convolutionDense2Portable(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let panelBytes = arguments.steps / 4 &* 64
  forEachTile(arguments, first, count) { bases, pixels, channel, sums in
    let weights = arguments.weights + channel / 16 &* panelBytes
    for quad in 0..<arguments.steps / 4 {
      let all = load(weights + 64 &* quad)
      for step in 0..<4 {
        let w = UnpackedWeights(bitsOf: all, step: Int32(truncatingIfNeeded: step))
        accumulate(sums, bases, pixels, Int(arguments.stepOffsets[4 &* quad &+ step]), w)
      }
    }
  }
}

/// Dense convolution with weights from a table of 16 for every panel.
package func convolutionPalettePortable(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let panelBytes = 64 &+ arguments.steps / 2 &* 64
  withUnsafeTemporaryAllocation(of: Int8.self, capacity: 64) { buffer in
    guard let w = buffer.baseAddress else { return }
    forEachTile(arguments, first, count) { bases, pixels, channel, sums in
      let table = (arguments.weights + channel / 16 &* panelBytes).assumingMemoryBound(to: Int8.self)
      for step in 0..<arguments.steps {
        let codes = UnsafeRawPointer(table + (64 &+ 64 &* (step / 2))).assumingMemoryBound(to: UInt8.self)
        let shift = UInt8(truncatingIfNeeded: step % 2 &* 4)
        for i in 0..<64 { w[i] = table[Int((codes[i] &>> shift) & 15)] }
        let unpacked = UnpackedWeights(bytes: load(UnsafeRawPointer(w)))
        accumulate(sums, bases, pixels, Int(arguments.stepOffsets[step]), unpacked)
      }
    }
  }
}

/// Convolution with weights of -1 and 1 on bits.
package func convolutionBinaryPortable(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let panelBytes = arguments.steps / arguments.planes &* 64
  forEachTile(arguments, first, count) { bases, pixels, channel, sums in
    let weights = arguments.weights + channel / 16 &* panelBytes
    forEachBitStep(arguments) { offset, step, plane in
      let signs = load(weights + 64 &* step)
      for pixel in 0..<pixels {
        addCounts(sums + pixel, bases[pixel] + offset, plane, signs, Lanes(repeating: -1))
      }
    }
  }
}

/// Convolution with weights of -1, 0 and 1 on bits.
package func convolutionTernaryPortable(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let panelBytes = arguments.steps / arguments.planes &* 128
  forEachTile(arguments, first, count) { bases, pixels, channel, sums in
    let weights = arguments.weights + channel / 16 &* panelBytes
    forEachBitStep(arguments) { offset, step, plane in
      let signs = load(weights + 128 &* step), masks = load(weights + (128 &* step &+ 64))
      for pixel in 0..<pixels { addCounts(sums + pixel, bases[pixel] + offset, plane, signs, masks) }
    }
  }
}

/// Where each step reads, its number within its plane, and that plane.
@inline(__always)
private func forEachBitStep(
  _ arguments: ConvolutionArguments, _ body: (_ offset: Int, _ step: Int, _ plane: Int32) -> Void
) {
  let steps = arguments.steps / arguments.planes
  for step in 0..<arguments.steps {
    let plane = Int32(truncatingIfNeeded: arguments.planes &- 1 &- step / steps)
    body(Int(arguments.stepOffsets[step]), step % steps, plane)
  }
}

/// Adds the counts of one word of a plane, 16 channels at once.
@inline(__always)
private func addCounts(
  _ sums: UnsafeMutablePointer<Lanes>, _ x: UnsafePointer<UInt8>, _ plane: Int32, _ signs: Lanes,
  _ masks: Lanes
) {
  let word = UnsafeRawPointer(x).loadUnaligned(as: Int32.self)
  let bits = (Lanes(repeating: word) ^ signs) & masks
  // Ones of two bits, of four, of eight, and the sum of the four bytes in the upper one.
  let pairs = bits &- ((bits &>> 1) & Lanes(repeating: 0x5555_5555))
  let fours = (pairs & Lanes(repeating: 0x3333_3333)) &+ ((pairs &>> 2) & Lanes(repeating: 0x3333_3333))
  let bytes = (fours &+ (fours &>> 4)) & Lanes(repeating: 0x0F0F_0F0F)
  let words = bytes &+ (bytes &>> 8)
  let counts = (words &+ (words &>> 16)) & Lanes(repeating: 0x3F)
  sums[0] = sums[0] &+ counts &<< Lanes(repeating: plane)
}

/// Adds one step: four input bytes a pixel, times the four weights of each channel.
@inline(__always)
private func accumulate(
  _ sums: UnsafeMutablePointer<Lanes>, _ bases: UnsafePointer<UnsafePointer<UInt8>>, _ pixels: Int,
  _ offset: Int,
  _ w: UnpackedWeights
) {
  for pixel in 0..<pixels {
    let x = bases[pixel] + offset
    sums[pixel] =
      sums[pixel] &+ Lanes(repeating: Int32(x[0])) &* w.w0 &+ Lanes(repeating: Int32(x[1])) &* w.w1
      &+ Lanes(repeating: Int32(x[2])) &* w.w2 &+ Lanes(repeating: Int32(x[3])) &* w.w3
  }
}

/// Calls `accumulate` for every tile of up to `pixelsAtOnce` pixels and 16 channels, with the bases of the
/// pixels and sums that hold the bias; then requantizes and stores the sums.
@inline(__always)
private func forEachTile(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int,
  _ accumulate: (
    _ bases: UnsafePointer<UnsafePointer<UInt8>>, _ pixels: Int, _ channel: Int,
    _ sums: UnsafeMutablePointer<Lanes>
  ) -> Void
) {
  withUnsafeTemporaryAllocation(of: Lanes.self, capacity: pixelsAtOnce) { sums in
    withUnsafeTemporaryAllocation(of: UnsafePointer<UInt8>.self, capacity: pixelsAtOnce) { bases in
      guard let sums = sums.baseAddress, let bases = bases.baseAddress else { return }
      for start in stride(from: first, to: first &+ count, by: pixelsAtOnce) {
        let pixels = min(pixelsAtOnce, first &+ count &- start)
        for pixel in 0..<pixels { bases[pixel] = base(arguments, start &+ pixel) }
        for channel in stride(from: 0, to: arguments.storedChannels, by: 16) {
          for pixel in 0..<pixels { sums[pixel] = load(UnsafeRawPointer(arguments.bias + channel)) }
          accumulate(bases, pixels, channel, sums)
          for pixel in 0..<pixels { store(arguments, start &+ pixel, channel, sums + pixel) }
        }
      }
    }
  }
}

/// The input position of an output pixel.
@inline(__always)
private func base(_ arguments: ConvolutionArguments, _ pixel: Int) -> UnsafePointer<UInt8> {
  let row = pixel / arguments.outputWidth
  let column = pixel &- row &* arguments.outputWidth
  return arguments.input + (row &* arguments.inputRowStride &+ column &* arguments.inputPixelStride)
}

/// Requantizes and stores up to 16 channels of a pixel. In two loops, since clamping alone can use vectors:
/// its branches would be unpredictable.
@inline(__always)
private func store(
  _ arguments: ConvolutionArguments, _ pixel: Int, _ channel: Int, _ sums: UnsafeMutablePointer<Lanes>
) {
  let results = UnsafeMutableRawPointer(sums).assumingMemoryBound(to: Int32.self)
  let row = pixel / arguments.outputWidth, column = pixel &- row &* arguments.outputWidth
  let output =
    arguments.output
    + (row &* arguments.outputRowStride &+ column &* arguments.outputPixelStride &+ channel)
  let channels = min(16, arguments.storedChannels &- channel)
  for c in 0..<channels {
    let rounded = requantize(results[c], arguments.multiplier[channel &+ c], arguments.shift[channel &+ c])
    results[c] = rounded &+ arguments.outputZeroPoint
  }
  for c in 0..<channels {
    let clamped = min(max(results[c], arguments.clampMinimum), arguments.clampMaximum)
    output[c] = UInt8(truncatingIfNeeded: clamped)
  }
}
