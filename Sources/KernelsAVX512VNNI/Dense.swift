import CInstructions
import KernelInterface

/// Dense convolution with 8-bit weights.
package func convolutionDense8AVX512VNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, blocks: arguments.steps, first, count, product8)
}

/// Dense convolution with 4-bit weights.
package func convolutionDense4AVX512VNNI(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  convolve(arguments, blocks: arguments.steps / 2, first, count, product4)
}

/// Bytes of input and output that stay in the first-level cache while the groups of panels take turns.
private let cachedBytes = 32 << 10

/// Walks blocks of pixels, groups of panels and runs of pixels within a row.
@inline(__always)
private func convolve(
  _ arguments: ConvolutionArguments, blocks: Int, _ first: Int, _ count: Int,
  _ product: (_ panels: Int, _ pixels: Int, _ tile: DenseTile) -> Void
) {
  let panels = (arguments.storedChannels &+ 15) / 16
  let groups = (panels &+ 3) / 4
  let bytes = FusedOutput(
    zeroPoint: arguments.outputZeroPoint, minimum: arguments.clampMinimum, maximum: arguments.clampMaximum)
  let sums = arguments.scratch.assumingMemoryBound(to: Lanes.self)
  let bytesPerPixel = max(1, arguments.inputPixelStride &+ arguments.outputPixelStride)
  let block = groups == 1 ? count : max(48, cachedBytes / bytesPerPixel)
  var blockStart = first
  let end = first &+ count
  while blockStart < end {
    let blockEnd = min(end, blockStart &+ block)
    var panel = 0
    for group in 0..<groups {
      // Groups of equal size, the larger ones first.
      let width = (panels &- panel &+ groups &- group &- 1) / (groups &- group)
      let channel = 16 &* panel
      var tile = DenseTile(
        input: UnsafeRawPointer(arguments.input), pixelStride: arguments.inputPixelStride,
        stepOffsets: arguments.stepOffsets, weights: arguments.weights + panel &* 64 &* blocks,
        blocks: blocks,
        bias: arguments.bias + channel, scale: arguments.scale.map { $0 + channel }, sums: sums,
        output: UnsafeMutableRawPointer(arguments.output),
        outputPixelStride: arguments.outputPixelStride,
        channels: min(arguments.storedChannels &- channel, 16 &* width), bytes: bytes)
      let exact = arguments.scale == nil ? ExactOutput(arguments, channel: channel, panels: width) : nil
      var pixel = blockStart
      while pixel < blockEnd {
        let row = pixel / arguments.outputWidth
        let column = pixel &- row &* arguments.outputWidth
        var left = min(arguments.outputWidth &- column, blockEnd &- pixel)
        tile.input =
          UnsafeRawPointer(arguments.input)
          + (row &* arguments.inputRowStride &+ column &* arguments.inputPixelStride)
        tile.output =
          UnsafeMutableRawPointer(arguments.output) + (pixel &* arguments.outputPixelStride &+ channel)
        pixel &+= left
        while left > 0 {
          let pixels = tilePixels(panels: width, left: left)
          product(width, pixels, tile)
          if let exact { exact.store(tile, panels: width, pixels: pixels) }
          tile.input += pixels &* arguments.inputPixelStride
          tile.output += pixels &* arguments.outputPixelStride
          left &-= pixels
        }
      }
      panel &+= width
    }
    blockStart = blockEnd
  }
}

/// Pixels of the next tile of a row that has `left` more: as many as fit, but two nearly equal tiles rather than a full
/// one and a single pixel, whose few accumulators would wait for one another.
@inline(__always)
private func tilePixels(panels: Int, left: Int) -> Int {
  switch panels {
  case 1: return left >= 16 ? 16 : left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1
  case 2: return left >= 8 && left != 9 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1
  case 3: return left >= 8 && left != 9 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1
  default: return left >= 6 && left != 7 && left != 8 ? 6 : left >= 4 ? 4 : left
  }
}

private func product8(_ panels: Int, _ pixels: Int, _ tile: DenseTile) {
  switch panels {
  case 1:
    switch pixels {
    case 16: product8Of1x16(tile)
    case 8: product8Of1x8(tile)
    case 4: product8Of1x4(tile)
    case 2: product8Of1x2(tile)
    default: product8Of1x1(tile)
    }
  case 2:
    switch pixels {
    case 8: product8Of2x8(tile)
    case 4: product8Of2x4(tile)
    case 2: product8Of2x2(tile)
    default: product8Of2x1(tile)
    }
  case 3:
    switch pixels {
    case 8: product8Of3x8(tile)
    case 4: product8Of3x4(tile)
    case 2: product8Of3x2(tile)
    default: product8Of3x1(tile)
    }
  default:
    switch pixels {
    case 6: product8Of4x6(tile)
    case 4: product8Of4x4(tile)
    case 3: product8Of4x3(tile)
    case 2: product8Of4x2(tile)
    default: product8Of4x1(tile)
    }
  }
}

private func product4(_ panels: Int, _ pixels: Int, _ tile: DenseTile) {
  switch panels {
  case 1:
    switch pixels {
    case 16: product4Of1x16(tile)
    case 8: product4Of1x8(tile)
    case 4: product4Of1x4(tile)
    case 2: product4Of1x2(tile)
    default: product4Of1x1(tile)
    }
  case 2:
    switch pixels {
    case 8: product4Of2x8(tile)
    case 4: product4Of2x4(tile)
    case 2: product4Of2x2(tile)
    default: product4Of2x1(tile)
    }
  case 3:
    switch pixels {
    case 8: product4Of3x8(tile)
    case 4: product4Of3x4(tile)
    case 2: product4Of3x2(tile)
    default: product4Of3x1(tile)
    }
  default:
    switch pixels {
    case 6: product4Of4x6(tile)
    case 4: product4Of4x4(tile)
    case 3: product4Of4x3(tile)
    case 2: product4Of4x2(tile)
    default: product4Of4x1(tile)
    }
  }
}

// Panels times pixels; functions of their own, so that each has all registers.

@inline(never) private func product8Of1x16(_ t: DenseTile) { DenseProduct<1, 16>().run8(t) }
@inline(never) private func product8Of1x8(_ t: DenseTile) { DenseProduct<1, 8>().run8(t) }
@inline(never) private func product8Of1x4(_ t: DenseTile) { DenseProduct<1, 4>().run8(t) }
@inline(never) private func product8Of1x2(_ t: DenseTile) { DenseProduct<1, 2>().run8(t) }
@inline(never) private func product8Of1x1(_ t: DenseTile) { DenseProduct<1, 1>().run8(t) }
@inline(never) private func product8Of2x8(_ t: DenseTile) { DenseProduct<2, 8>().run8(t) }
@inline(never) private func product8Of2x4(_ t: DenseTile) { DenseProduct<2, 4>().run8(t) }
@inline(never) private func product8Of2x2(_ t: DenseTile) { DenseProduct<2, 2>().run8(t) }
@inline(never) private func product8Of2x1(_ t: DenseTile) { DenseProduct<2, 1>().run8(t) }
@inline(never) private func product8Of3x8(_ t: DenseTile) { DenseProduct<3, 8>().run8(t) }
@inline(never) private func product8Of3x4(_ t: DenseTile) { DenseProduct<3, 4>().run8(t) }
@inline(never) private func product8Of3x2(_ t: DenseTile) { DenseProduct<3, 2>().run8(t) }
@inline(never) private func product8Of3x1(_ t: DenseTile) { DenseProduct<3, 1>().run8(t) }
@inline(never) private func product8Of4x6(_ t: DenseTile) { DenseProduct<4, 6>().run8(t) }
@inline(never) private func product8Of4x4(_ t: DenseTile) { DenseProduct<4, 4>().run8(t) }
@inline(never) private func product8Of4x3(_ t: DenseTile) { DenseProduct<4, 3>().run8(t) }
@inline(never) private func product8Of4x2(_ t: DenseTile) { DenseProduct<4, 2>().run8(t) }
@inline(never) private func product8Of4x1(_ t: DenseTile) { DenseProduct<4, 1>().run8(t) }

@inline(never) private func product4Of1x16(_ t: DenseTile) { DenseProduct<1, 16>().run4(t) }
@inline(never) private func product4Of1x8(_ t: DenseTile) { DenseProduct<1, 8>().run4(t) }
@inline(never) private func product4Of1x4(_ t: DenseTile) { DenseProduct<1, 4>().run4(t) }
@inline(never) private func product4Of1x2(_ t: DenseTile) { DenseProduct<1, 2>().run4(t) }
@inline(never) private func product4Of1x1(_ t: DenseTile) { DenseProduct<1, 1>().run4(t) }
@inline(never) private func product4Of2x8(_ t: DenseTile) { DenseProduct<2, 8>().run4(t) }
@inline(never) private func product4Of2x4(_ t: DenseTile) { DenseProduct<2, 4>().run4(t) }
@inline(never) private func product4Of2x2(_ t: DenseTile) { DenseProduct<2, 2>().run4(t) }
@inline(never) private func product4Of2x1(_ t: DenseTile) { DenseProduct<2, 1>().run4(t) }
@inline(never) private func product4Of3x8(_ t: DenseTile) { DenseProduct<3, 8>().run4(t) }
@inline(never) private func product4Of3x4(_ t: DenseTile) { DenseProduct<3, 4>().run4(t) }
@inline(never) private func product4Of3x2(_ t: DenseTile) { DenseProduct<3, 2>().run4(t) }
@inline(never) private func product4Of3x1(_ t: DenseTile) { DenseProduct<3, 1>().run4(t) }
@inline(never) private func product4Of4x6(_ t: DenseTile) { DenseProduct<4, 6>().run4(t) }
@inline(never) private func product4Of4x4(_ t: DenseTile) { DenseProduct<4, 4>().run4(t) }
@inline(never) private func product4Of4x3(_ t: DenseTile) { DenseProduct<4, 3>().run4(t) }
@inline(never) private func product4Of4x2(_ t: DenseTile) { DenseProduct<4, 2>().run4(t) }
@inline(never) private func product4Of4x1(_ t: DenseTile) { DenseProduct<4, 1>().run4(t) }
