import CInstructions
import KernelInterface

/// Where a tile reads, and what becomes of its sums.
struct DenseTile {
  /// The first pixel of the tile; the others follow at equal distances.
  var input: UnsafeRawPointer
  let pixelStride: Int
  let stepOffsets: UnsafePointer<Int32>
  /// Of the first panel; the others follow.
  let weights: UnsafeRawPointer
  /// Blocks of 64 bytes a panel: steps, or pairs of steps with 4-bit weights.
  let blocks: Int
  let bias: UnsafePointer<Int32>
  /// Nil: the sums are left in `sums`.
  let scale: UnsafePointer<Float>?
  let sums: UnsafeMutablePointer<Lanes>
  var output: UnsafeMutableRawPointer
  let outputPixelStride: Int
  /// Bytes that are stored of every pixel.
  let channels: Int
  let bytes: FusedOutput

  @inline(__always)
  func weights(_ panel: Int, _ block: Int) -> Lanes { load(weights + (panel &* blocks &+ block) &* 64) }

  @inline(__always)
  func bias(_ panel: Int) -> Lanes { load(UnsafeRawPointer(bias + 16 &* panel)) }
}

/// The products of `panels` panels of 16 channels with `pixels` pixels. 8 to 24 accumulators hide the latency of the
/// dot product, and with the weights they fit the 32 registers.
struct DenseProduct<let panels: Int, let pixels: Int> {
  private typealias Row = InlineArray<panels, Lanes>
  private typealias Accumulators = InlineArray<pixels, InlineArray<panels, Lanes>>

  /// Weights of 8 bits.
  @inline(__always)
  func run8(_ t: DenseTile) {
    let bias = Row { t.bias($0) }
    var accumulators = Accumulators(repeating: bias)
    for step in 0..<t.blocks {
      let weights = Row { t.weights($0, step) }
      accumulate(t.input, Int(t.stepOffsets[step]), t.pixelStride, weights, &accumulators)
    }
    finish(t, accumulators)
  }

  /// Weights of 4 bits. A nibble in the upper half of its byte is the weight times 16: that costs one shift of every
  /// accumulator at the end, and nothing in the loop.
  @inline(__always)
  func run4(_ t: DenseTile) {
    let upper = Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0))
    let bias = Row { t.bias($0) &<< 4 }
    var accumulators = Accumulators(repeating: bias)
    for pair in 0..<t.blocks {
      let even = Row { shift_left_4_words_x16(t.weights($0, pair)) & upper }
      accumulate(t.input, Int(t.stepOffsets[2 &* pair]), t.pixelStride, even, &accumulators)
      let odd = Row { t.weights($0, pair) & upper }
      accumulate(t.input, Int(t.stepOffsets[2 &* pair &+ 1]), t.pixelStride, odd, &accumulators)
    }
    for pixel in 0..<pixels {
      for panel in 0..<panels { accumulators[pixel][panel] = shift_right_4_x16(accumulators[pixel][panel]) }
    }
    finish(t, accumulators)
  }

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
  private func finish(_ t: DenseTile, _ accumulators: Accumulators) {
    guard let scale = t.scale else {
      for pixel in 0..<pixels {
        for panel in 0..<panels { t.sums[pixel &* panels &+ panel] = accumulators[pixel][panel] }
      }
      return
    }
    let scales = Row { load(UnsafeRawPointer(scale + 16 &* $0)) }
    var output = t.output
    let mask = byteMask(t.channels)
    if panels >= 3 {
      for pixel in 0..<pixels {
        let a = accumulators[pixel]
        let v0 = t.bytes.rounded(a[0], scales[0]), v1 = t.bytes.rounded(a[1 % panels], scales[1 % panels])
        let v2 = t.bytes.rounded(a[2 % panels], scales[2 % panels])
        let v3 = panels > 3 ? t.bytes.rounded(a[panels &- 1], scales[panels &- 1]) : v2
        store_bytes_x16(output, mask, t.bytes.inOrder(v0, v1, v2, v3))
        output += t.outputPixelStride
      }
      return
    }
    // Four vectors at a time, of several pixels.
    let perStore = 4 / panels
    for first in 0..<(pixels &+ perStore &- 1) / perStore {
      let pixel = first &* perStore
      let last = pixels &- 1
      let v0 = t.bytes.rounded(accumulators[pixel][0], scales[0])
      let v1 =
        pixels == 1 && panels == 1
        ? v0
        : t.bytes.rounded(accumulators[min(last, pixel &+ 1 / panels)][1 % panels], scales[1 % panels])
      let v2 =
        pixels &* panels <= 2
        ? v0 : t.bytes.rounded(accumulators[min(last, pixel &+ 2 / panels)][0], scales[0])
      let v3 =
        pixels &* panels <= 2
        ? v1
        : t.bytes.rounded(accumulators[min(last, pixel &+ 3 / panels)][1 % panels], scales[1 % panels])
      let bytes = t.bytes.inOrder(v0, v1, v2, v3)
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

/// The last step for any multipliers and shifts, from sums in memory.
struct ExactOutput {
  private let output: TileOutput
  /// Those of the panels, and again, so that four follow any of the first.
  private let requantizations: UnsafeMutablePointer<Requantization>

  /// Computes the constants into the scratch memory, behind the sums of a tile.
  init(_ arguments: ConvolutionArguments, channel: Int, panels: Int) {
    requantizations = (arguments.scratch + 4096).assumingMemoryBound(to: Requantization.self)
    for i in 0..<4 {
      let panel = channel &+ 16 &* min(i, panels &- 1)
      requantizations[i] = Requantization(
        multiplier: load(UnsafeRawPointer(arguments.multiplier + panel)),
        shift: load(UnsafeRawPointer(arguments.shift + panel)))
    }
    output = TileOutput(
      zeroPoint: arguments.outputZeroPoint, minimum: arguments.clampMinimum, maximum: arguments.clampMaximum,
      saturating: needsSaturation(
        arguments.shift + channel, channels: min(16 &* panels, arguments.outputChannels &- channel)))
  }

  func store(_ tile: DenseTile, panels: Int, pixels: Int) {
    for pixel in 0..<pixels {
      let bytes = output.bytes(tile.sums + pixel &* panels, requantizations, vectors: panels)
      store_bytes_x16(tile.output + pixel &* tile.outputPixelStride, byteMask(tile.channels), bytes)
    }
  }
}
