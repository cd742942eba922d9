import KernelInterface
import Numerics
import Program

/// Real numbers to stored integers, into any layout.
struct QuantizeStep: StepWork {
  private enum Order {
    /// Elements follow one another on both sides.
    case run(count: Int)
    /// Channels lie in planes of the input and in pixels of the output.
    case planes
    /// Pixels on both sides, which the output rounds up.
    case pixels
  }
  private let kernels: QuantizeKernels
  private let input: RealPlace
  private let output: Plane
  private let order: Order
  private let scale: Float
  private let zeroPoint: Int32
  private let maximum: Int32

  init(_ quantize: Instruction.Quantize, _ program: Program, features: CPUFeatures) {
    let y = program.tensors[quantize.output]
    kernels = KernelTable.selectQuantize(features)
    input = RealPlace(program.tensors[quantize.input])
    output = Plane(y)
    scale = y.scale
    zeroPoint = Int32(y.zeroPoint)
    maximum = (1 << Int32(y.bits)) - 1
    if output.pixels == 1 || (quantize.inputIsChannelsLast && output.pixelStride == output.channels) {
      order = .run(count: output.pixels * output.channels)
    } else {
      order = quantize.inputIsChannelsLast ? .pixels : .planes
    }
  }

  /// Elements or pixels of a unit of work.
  private var blockElements: Int {
    switch order {
    case .run: 1024
    case .planes: 256
    // A block of floats becomes bytes in a thread's scratch memory first.
    case .pixels: min(256, max(1, (ConvolutionArguments.scratchBytes - 4) / output.channels))
    }
  }

  private var elements: Int {
    switch order {
    case .run(let count): count
    case .planes, .pixels: output.pixels
    }
  }

  var units: Int { (elements + blockElements - 1) / blockElements }

  func run(_ memory: WorkingMemory, part: Int, _ range: Range<Int>) {
    guard let source = memory.reals(input) else { return }
    let first = range.lowerBound * blockElements, end = min(range.upperBound * blockElements, elements)
    let target = memory.arena + output.offset
    switch order {
    case .run: kernels.run(arguments(source + first, target + first, channels: 1), end - first)
    case .planes:
      for channel in stride(from: 0, to: output.channels, by: 4) {
        let plane = source + (channel * output.pixels + first)
        let pixels = target + (first * output.pixelStride + channel)
        kernels.pixels(
          arguments(plane, pixels, channels: min(4, output.channels - channel)), end - first)
      }
    case .pixels:
      let bytes = memory.kernelScratch(part).assumingMemoryBound(to: UInt8.self)
      for block in stride(from: first, to: end, by: blockElements) {
        let count = min(blockElements, end - block)
        if count * output.channels > ConvolutionArguments.scratchBytes - 4 {
          // One pixel that is larger than the scratch memory.
          let pixel = target + block * output.pixelStride
          kernels.run(arguments(source + block * output.channels, pixel, channels: 1), output.channels)
        } else {
          kernels.run(
            arguments(source + block * output.channels, bytes, channels: 1), count * output.channels)
          spread(bytes, target + block * output.pixelStride, count)
        }
      }
    }
  }

  /// Pixels that follow one another to pixels that are rounded up.
  @inline(__always)
  private func spread(
    _ bytes: UnsafeMutablePointer<UInt8>, _ pixels: UnsafeMutablePointer<UInt8>, _ count: Int
  ) {
    if output.channels <= 4 {
      let source = UnsafeRawPointer(bytes), target = UnsafeMutableRawPointer(pixels)
      for i in 0..<count {
        let pixel = source.loadUnaligned(fromByteOffset: i &* output.channels, as: UInt32.self)
        target.storeBytes(of: pixel, toByteOffset: i &* output.pixelStride, as: UInt32.self)
      }
    } else {
      for i in 0..<count {
        (pixels + i &* output.pixelStride).update(from: bytes + i &* output.channels, count: output.channels)
      }
    }
  }

  @inline(__always)
  private func arguments(
    _ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<UInt8>, channels: Int
  ) -> QuantizeArguments {
    QuantizeArguments(
      input: source, planeStride: output.pixels, channels: channels, output: target,
      pixelStride: output.pixelStride, scale: scale, zeroPoint: zeroPoint, maximum: maximum)
  }
}

/// Stored integers to real numbers in row-major order.
struct DequantizeStep: StepWork {
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

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
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
