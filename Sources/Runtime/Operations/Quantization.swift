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
    if !output.hasBorder
      && (output.pixels == 1 || (quantize.inputIsChannelsLast && output.pixelStride == output.channels))
    {
      order = .run(count: output.pixels * output.channels)
    } else {
      order = quantize.inputIsChannelsLast ? .pixels : .planes
    }
  }

  /// Elements or pixels of a unit of work; a row, where a border is between rows.
  private var unitElements: Int { output.hasBorder ? output.width : blockElements }

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

  var units: Int { (elements + unitElements - 1) / unitElements }

  func run(_ memory: WorkingMemory, part: Int, _ range: Range<Int>) {
    guard let source = memory.reals(input) else { return }
    let image = memory.arena + output.offset, scratch = memory.kernelScratch(part)
    guard output.hasBorder else {
      let first = range.lowerBound * unitElements, end = min(range.upperBound * unitElements, elements)
      return run(source, image + first * (isRun ? 1 : output.pixelStride), scratch, first..<end)
    }
    for row in range {
      run(source, image + row * output.rowStride, scratch, row * output.width..<(row + 1) * output.width)
    }
    output.fillBorder(memory.arena, rows: range)
  }

  private var isRun: Bool { if case .run = order { true } else { false } }

  /// Elements or pixels of a range, to where the first of them lies.
  private func run(
    _ source: UnsafePointer<Float>, _ target: UnsafeMutablePointer<UInt8>, _ scratch: UnsafeMutableRawPointer,
    _ range: Range<Int>
  ) {
    switch order {
    case .run: kernels.run(arguments(source + range.lowerBound, target, channels: 1), range.count)
    case .planes:
      for channel in stride(from: 0, to: output.channels, by: 4) {
        let plane = source + (channel * output.pixels + range.lowerBound)
        kernels.pixels(
          arguments(plane, target + channel, channels: min(4, output.channels - channel)), range.count)
      }
    case .pixels:
      let bytes = scratch.assumingMemoryBound(to: UInt8.self)
      for block in stride(from: range.lowerBound, to: range.upperBound, by: blockElements) {
        let count = min(blockElements, range.upperBound - block)
        let pixels = target + (block - range.lowerBound) * output.pixelStride
        if count * output.channels > ConvolutionArguments.scratchBytes - 4 {
          // One pixel that is larger than the scratch memory.
          kernels.run(arguments(source + block * output.channels, pixels, channels: 1), output.channels)
        } else {
          kernels.run(
            arguments(source + block * output.channels, bytes, channels: 1), count * output.channels)
          spread(bytes, pixels, count)
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
  /// Pixels of a unit of work where rows follow one another.
  private static let blockPixels = 256

  let input: Plane
  let output: RealPlace
  let parameters: AffineParameters

  init(_ dequantize: Instruction.Dequantize, _ program: Program) {
    let x = program.tensors[dequantize.input]
    input = Plane(x)
    output = RealPlace(program.tensors[dequantize.output])
    parameters = AffineParameters(scale: x.scale, zeroPoint: Int32(x.zeroPoint))
  }

  /// Pixels of a unit of work.
  private var unitPixels: Int { input.isOneRow ? Self.blockPixels : input.width }

  var units: Int {
    input.pixels > 1 ? (input.pixels + unitPixels - 1) / unitPixels : (input.channels + 1023) / 1024
  }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    guard let target = memory.reals(output) else { return }
    let source = memory.arena + input.offset
    if input.pixels > 1 {
      for unit in range {
        let first = unit &* unitPixels, count = min(unitPixels, input.pixels &- first)
        let bytes = input.isOneRow ? first &* input.pixelStride : unit &* input.rowStride
        for channel in stride(from: 0, to: input.channels, by: 4) {
          planes(source + (bytes &+ channel), target + (channel &* input.pixels &+ first), channel, count)
        }
      }
    } else {
      for channel in range.lowerBound * 1024..<min(range.upperBound * 1024, input.channels) {
        target[channel] = parameters.dequantize(Int32(source[channel]))
      }
    }
  }

  /// Up to four channels, from `channel` on, of some pixels: 16 of them at a time.
  @inline(__always)
  private func planes(
    _ source: UnsafePointer<UInt8>, _ target: UnsafeMutablePointer<Float>, _ channel: Int, _ count: Int
  ) {
    let channels = min(4, input.channels &- channel), stride = input.pixelStride
    let whole = input.storedChannels % 4 == 0 ? count & ~15 : 0
    for first in Swift.stride(from: 0, to: whole, by: 16) {
      let pixels = UnsafeRawPointer(source + first &* stride)
      var fours = SIMD16<UInt32>()
      for i in 0..<16 {
        fours[i] = pixels.loadUnaligned(fromByteOffset: i &* stride, as: UInt32.self).littleEndian
      }
      for c in 0..<channels {
        let stored = SIMD16<Int32>(truncatingIfNeeded: (fours &>> UInt32(8 &* c)) & 255)
        let reals = SIMD16<Float>(stored &- parameters.zeroPoint) * parameters.scale
        UnsafeMutableRawPointer(target + (c &* input.pixels &+ first)).storeBytes(
          of: reals, as: SIMD16<Float>.self)
      }
    }
    for i in whole..<count {
      for c in 0..<channels {
        target[c &* input.pixels &+ i] = parameters.dequantize(Int32(source[i &* stride &+ c]))
      }
    }
  }
}
