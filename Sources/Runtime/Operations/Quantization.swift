import KernelInterface
import Numerics
import Program

/// Real numbers to stored integers, into any layout.
struct QuantizeStep {
  let kernel: @Sendable (QuantizeArguments, Int) -> Void
  let input: RealPlace
  let output: Plane
  let parameters: AffineParameters
  let maximum: Int32
  /// Elements of the input follow one another as those of the output do.
  let isSameOrder: Bool
  /// Elements of a unit of work where all are contiguous.
  private static let blockElements = 1024
  /// Elements of a row that are quantized at once.
  private static let rowElements = 256

  init(_ quantize: Instruction.Quantize, _ program: Program, _ kernels: ElementwiseKernels) {
    let y = program.tensors[quantize.output]
    kernel = kernels.quantize
    input = RealPlace(program.tensors[quantize.input])
    output = Plane(y)
    parameters = AffineParameters(scale: y.scale, zeroPoint: Int32(y.zeroPoint))
    maximum = (1 << Int32(y.bits)) - 1
    isSameOrder = quantize.inputIsChannelsLast || output.pixels == 1
  }

  /// Pixels, of which a single one is cut into blocks; or rows of an image.
  var units: Int {
    if output.pixels == 1 { return (output.channels + Self.blockElements - 1) / Self.blockElements }
    return isSameOrder ? output.pixels : output.height
  }

  func run(_ memory: WorkingMemory, _ range: Range<Int>) {
    guard let source = memory.reals(input) else { return }
    let target = memory.arena + output.offset
    if output.pixels == 1 {
      let first = range.lowerBound * Self.blockElements
      let end = min(range.upperBound * Self.blockElements, output.channels)
      quantize(source + first, target + first, end - first)
    } else if isSameOrder {
      for pixel in range {
        quantize(source + pixel * output.channels, target + pixel * output.pixelStride, output.channels)
      }
    } else {
      for row in range { quantizeRow(source + row * output.width, target + row * output.rowStride) }
    }
  }

  /// One row of an image whose channels lie one after another: quantized channel by channel, four at a time,
  /// then interleaved.
  private func quantizeRow(_ source: UnsafeMutablePointer<Float>, _ target: UnsafeMutablePointer<UInt8>) {
    // 1 KiB, the most that is sure to lie on the stack.
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 4 * Self.rowElements) { buffer in
      guard let bytes = buffer.baseAddress else { return }
      for first in stride(from: 0, to: output.width, by: Self.rowElements) {
        for channel in stride(from: 0, to: output.channels, by: 4) {
          let count = min(Self.rowElements, output.width - first)
          for c in 0..<4 {
            // Channels that round up repeat the last one.
            let plane = min(channel + c, output.channels - 1) * output.pixels
            quantize(source + (plane + first), bytes + c * Self.rowElements, count)
          }
          interleave(bytes, count, UnsafeMutableRawPointer(target + (first * output.pixelStride + channel)))
        }
      }
    }
  }

  /// Four runs of `count` bytes to four bytes a pixel.
  @inline(__always)
  private func interleave(_ runs: UnsafePointer<UInt8>, _ count: Int, _ pixels: UnsafeMutableRawPointer) {
    let run = Self.rowElements
    for i in 0..<count {
      let low = UInt32(runs[i]) | UInt32(runs[run &+ i]) &<< 8
      let high = UInt32(runs[2 &* run &+ i]) | UInt32(runs[3 &* run &+ i]) &<< 8
      pixels.storeBytes(
        of: (low | high &<< 16).littleEndian, toByteOffset: i &* output.pixelStride, as: UInt32.self)
    }
  }

  @inline(__always)
  private func quantize(_ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<UInt8>, _ count: Int) {
    let arguments = QuantizeArguments(
      input: source, output: target, scale: parameters.scale, zeroPoint: parameters.zeroPoint,
      maximum: maximum)
    kernel(arguments, count)
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
