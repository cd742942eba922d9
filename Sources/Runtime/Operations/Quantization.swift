import Numerics
import Program

/// Real numbers to stored integers, into any layout.
struct QuantizeStep {
  let input: RealPlace
  let output: Plane
  let parameters: AffineParameters
  let maximum: Int32
  /// The real number of channel c at row y and column x is at `c * channelStride + (y * width + x) * pixelStride`.
  let channelStride: Int
  let pixelStride: Int

  init(_ quantize: Instruction.Quantize, _ program: Program) {
    let y = program.tensors[quantize.output]
    input = RealPlace(program.tensors[quantize.input])
    output = Plane(y)
    parameters = AffineParameters(scale: y.scale, zeroPoint: Int32(y.zeroPoint))
    maximum = (1 << Int32(y.bits)) - 1
    channelStride = quantize.inputIsChannelsLast || y.layout == .rowMajor ? 1 : output.pixels
    pixelStride = quantize.inputIsChannelsLast ? output.channels : 1
  }

  /// Rows of an image, or blocks of 1024 channels of a single pixel.
  var units: Int { output.pixels > 1 ? output.height : (output.channels + 1023) / 1024 }

  func run(_ memory: WorkingMemory, _ range: Range<Int>) {
    guard let source = memory.reals(input) else { return }
    if output.pixels > 1 {
      for row in range { quantizeRow(row, source, memory.arena + (output.offset + row * output.rowStride)) }
    } else {
      let first = range.lowerBound * 1024, end = min(range.upperBound * 1024, output.channels)
      quantize(source + first * channelStride, channelStride, memory.arena + (output.offset + first), 1, end - first)
    }
  }

  private func quantizeRow(_ row: Int, _ source: UnsafeMutablePointer<Float>, _ target: UnsafeMutablePointer<UInt8>) {
    let pixels = source + row * output.width * pixelStride
    if pixelStride == 1 {
      for channel in 0..<output.channels {
        quantize(pixels + channel * channelStride, 1, target + channel, output.pixelStride, output.width)
      }
    } else {
      for column in 0..<output.width {
        quantize(
          pixels + column * pixelStride, channelStride, target + column * output.pixelStride, 1, output.channels)
      }
    }
  }

  /// `AffineParameters.quantize` of `count` numbers, in a form that vectorises: beyond +-512 only the sign matters, so
  /// numbers are cut off before they are rounded, and rounding to an integer is an addition.
  @inline(__always)
  private func quantize(
    _ source: UnsafePointer<Float>, _ sourceStride: Int, _ target: UnsafeMutablePointer<UInt8>, _ targetStride: Int,
    _ count: Int
  ) {
    let scale = parameters.scale, zeroPoint = parameters.zeroPoint, maximum = maximum
    let magic: Float = 12_582_912  // 1.5 * 2^23; the low bits of x + magic are x rounded half to even
    for i in 0..<count {
      let x = source[i &* sourceStride] / scale
      let low: Float = x > -512 ? x : (x <= -512 ? -512 : 0)  // NaN: 0
      let bounded: Float = low < 512 ? low : 512
      let rounded = Int32(bitPattern: (bounded + magic).bitPattern) &- 0x4B40_0000
      target[i &* targetStride] = UInt8(truncatingIfNeeded: min(max(rounded &+ zeroPoint, 0), maximum))
    }
  }
}

/// Stored integers to real numbers in row-major order.
struct DequantizeStep {
  let input: Plane
  let output: RealPlace
  let parameters: AffineParameters

  init(_ dequantize: Instruction.Dequantize, _ program: Program) {
    let x = program.tensors[dequantize.input]
    input = Plane(x)
    output = RealPlace(program.tensors[dequantize.output])
    parameters = AffineParameters(scale: x.scale, zeroPoint: Int32(x.zeroPoint))
  }

  var units: Int { input.pixels > 1 ? input.channels : (input.channels + 1023) / 1024 }

  func run(_ memory: WorkingMemory, _ range: Range<Int>) {
    guard let target = memory.reals(output) else { return }
    let source = memory.arena + input.offset
    if input.pixels > 1 {
      for channel in range {
        for pixel in 0..<input.pixels {
          target[channel &* input.pixels &+ pixel] =
            parameters.dequantize(Int32(source[pixel &* input.pixelStride &+ channel]))
        }
      }
    } else {
      for channel in range.lowerBound * 1024..<min(range.upperBound * 1024, input.channels) {
        target[channel] = parameters.dequantize(Int32(source[channel]))
      }
    }
  }
}
