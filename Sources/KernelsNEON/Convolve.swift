import CInstructions
import KernelInterface

// What the kernels of all instruction sets of 64-bit Arm share: everything but the sums of tiles. It is
// compiled for NEON, which every such processor has.

package typealias Lanes = SIMD4<Int32>

/// What the sums of a tile, 16 channels of some pixels, are made of.
package struct TileOperands {
  /// One for each pixel.
  package let bases: UnsafePointer<UnsafeRawPointer>
  package let stepOffsets: UnsafePointer<Int32>
  package let steps: Int
  /// Planes of bits, see `ConvolutionArguments`.
  let planes: Int
  /// Of one panel.
  package private(set) var weights: UnsafeRawPointer
  package let bias: UnsafePointer<Int32>
  /// Four vectors that `TileFunctions.prepare` makes of bias and weights.
  package let prepared: UnsafeMutablePointer<Lanes>
  /// Room for what `prepare` makes of the weights, as many bytes as `TileFunctions` ask for.
  package let rearranged: UnsafeMutableRawPointer

  /// With the weights that `prepare` rearranged.
  @inline(__always)
  package var withRearrangedWeights: TileOperands {
    var tile = self
    tile.weights = UnsafeRawPointer(rearranged)
    return tile
  }
}

/// The sums of a tile, with the bias: `sums[pixel][four channels]`.
package typealias TileFunction = (_ tile: TileOperands, _ sums: UnsafeMutablePointer<Lanes>) -> Void

/// How an instruction set computes sums.
package struct TileFunctions {
  /// Of `rearranged`.
  let rearrangedBytes: Int
  /// Writes what `wide` and `narrow` read of `prepared` and `rearranged`.
  let prepare: (_ tile: TileOperands) -> Void
  let wide: TileFunction
  let widePixels: Int
  let narrow: TileFunction
  let narrowPixels: Int
  /// One pixel, without `prepare`.
  let single: TileFunction

  /// - Requires: narrowPixels <= widePixels <= 8.
  package init(
    rearrangedBytes: Int = 0, prepare: @escaping (TileOperands) -> Void = { _ in }, widePixels: Int,
    wide: @escaping TileFunction,
    narrowPixels: Int, narrow: @escaping TileFunction, single: @escaping TileFunction
  ) {
    self.rearrangedBytes = rearrangedBytes
    self.prepare = prepare
    self.wide = wide
    self.widePixels = widePixels
    self.narrow = narrow
    self.narrowPixels = narrowPixels
    self.single = single
  }
}

/// All pixels of all panels, one panel after the other.
/// - Parameters:
///   - panelBytes: packed weights of 16 channels.
///   - rearranging: functions that are faster where pixels are many enough to repay what they make of the weights, and
///     there is room for that.
@export(interface) package func convolve(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int, panelBytes: Int, _ functions: TileFunctions,
  rearranging: TileFunctions?
) {
  // Pixel bases, four prepared vectors, the sums of eight pixels, and the rest for rearranged weights.
  let bases = arguments.scratch.assumingMemoryBound(to: UnsafeRawPointer.self)
  let prepared = (arguments.scratch + 64).assumingMemoryBound(to: Lanes.self)
  let sums = prepared + 4
  let rearranged = UnsafeMutableRawPointer(sums + 8 * 4)
  let room = ConvolutionArguments.scratchBytes - (64 + 64 + 8 * 64)
  var functions = functions
  if let rearranging, rearranging.rearrangedBytes <= room, count >= 32 { functions = rearranging }
  var channel = 0
  while channel < arguments.storedChannels {
    let channels = min(arguments.storedChannels &- channel, 16)
    let tile = TileOperands(
      bases: bases, stepOffsets: arguments.stepOffsets, steps: arguments.steps, planes: arguments.planes,
      weights: arguments.weights + channel / 16 &* panelBytes, bias: arguments.bias + channel,
      prepared: prepared, rearranged: rearranged)
    if count > 1 { functions.prepare(tile) }
    let factors = arguments.scale.map { UnsafeRawPointer($0 + channel) }
    let output = PanelOutput(
      isFused: factors != nil, factors: factors ?? UnsafeRawPointer(arguments.multiplier + channel),
      shifts: UnsafeRawPointer(arguments.shift + channel), zeroPoint: arguments.outputZeroPoint,
      minimum: arguments.clampMinimum, maximum: arguments.clampMaximum)
    var destination = UnsafeMutableRawPointer(
      arguments.output + (first &* arguments.outputPixelStride &+ channel))
    var cursor = pixelCursor(arguments, first: first)
    var left = count
    while left > 0 {
      let pixels: Int
      if left > functions.narrowPixels {
        pixels = min(left, functions.widePixels)
        fill(bases, functions.widePixels, valid: pixels, &cursor)
        functions.wide(tile, sums)
      } else if left > 1 {
        pixels = left
        fill(bases, functions.narrowPixels, valid: pixels, &cursor)
        functions.narrow(tile, sums)
      } else {
        pixels = 1
        fill(bases, 1, valid: 1, &cursor)
        functions.single(tile, sums)
      }
      left &-= pixels
      output.store(
        sums, pixels: pixels, destination, pixelStride: arguments.outputPixelStride, channels: channels)
      destination += pixels &* arguments.outputPixelStride
    }
    channel &+= 16
  }
}
