import KernelInterface
import Numerics

/// One depthwise convolution with all operands, and what the formula says its output is.
struct DepthwiseCase {
  var layer: DepthwiseLayer
  /// `[channel][tap]`
  var weights: [Int8]
  var bias: [Int32]
  var multiplier: [Int32]
  var shift: [Int32]
  var input: [UInt8]

  /// The formula of `DepthwiseLayer`, one scalar at a time and without the code under test.
  func expected() -> [UInt8] {
    var output = [UInt8](repeating: Self.poison, count: outputBytes)
    for y in 0..<layer.outputHeight {
      for x in 0..<layer.outputWidth {
        for channel in 0..<layer.storedChannels {
          var result: Int64 = 0
          if channel < layer.channels {
            let sum = sum(y, x, channel)
            result = requantizedByDivision(sum, multiplier[channel], shift[channel])
          }
          let shifted = min(max(result, -1 << 30), (1 << 30) - 1) + Int64(layer.outputZeroPoint)
          output[y * layer.outputRowStride + x * layer.outputPixelStride + channel] =
            UInt8(min(max(shifted, Int64(layer.clampMinimum)), Int64(layer.clampMaximum)))
        }
      }
    }
    return output
  }

  private func sum(_ y: Int, _ x: Int, _ channel: Int) -> Int64 {
    var sum = Int64(bias[channel])
    for i in 0..<layer.kernelHeight {
      for j in 0..<layer.kernelWidth {
        let row = y * layer.strideRows + i * layer.dilationRows - layer.padTop
        let column = x * layer.strideColumns + j * layer.dilationColumns - layer.padLeft
        let isInside =
          (0..<layer.inputHeight).contains(row) && (0..<layer.inputWidth).contains(column)
        let value =
          isInside
          ? input[row * layer.inputRowStride + column * layer.inputPixelStride + channel]
          : layer.inputZeroPoint
        sum += Int64(value) * Int64(weights[channel * layer.taps + i * layer.kernelWidth + j])
      }
    }
    return sum
  }

  /// Without the bytes behind the last pixel's stored channels.
  private var outputBytes: Int {
    (layer.outputHeight - 1) * layer.outputRowStride + (layer.outputWidth - 1) * layer.outputPixelStride
      + layer.storedChannels
  }

  /// Runs a kernel over consecutive slices of the rows, with guard pages behind every operand.
  func run(_ kernel: DepthwiseKernel, slices: [Int]) -> [UInt8] {
    let scales = fusedScales
    var layer = layer
    layer.isFused = scales != nil
    let tables = DepthwisePlan.Tables(layer, lanes: kernel.lanes)
    let planes = GuardedBuffer(tables.planes), terms = GuardedBuffer(tables.terms)
    let plan = DepthwisePlan(
      tables, planes: planes.pointer(to: DepthwisePlan.Plane.self),
      terms: terms.pointer(to: DepthwisePlan.Term.self))
    let weightBuffer = GuardedBuffer(weights)
    let biasBuffer = GuardedBuffer(bias), multiplierBuffer = GuardedBuffer(multiplier)
    let shiftBuffer = GuardedBuffer(shift), scaleBuffer = scales.map { GuardedBuffer($0) }
    let prepared = GuardedBuffer(
      bytes: roundedUp(kernel.preparedBytes(layer, plan), to: 64), fill: Self.poison)
    kernel.prepare(
      layer, plan,
      DepthwiseParameters(
        weights: weightBuffer.pointer(to: Int8.self), bias: biasBuffer.pointer(to: Int32.self),
        multiplier: multiplierBuffer.pointer(to: Int32.self), shift: shiftBuffer.pointer(to: Int32.self),
        scale: scaleBuffer?.pointer(to: Float.self)), prepared.base)

    let inputBuffer = GuardedBuffer(input + [UInt8](repeating: 0xEE, count: 64))
    let scratch = GuardedBuffer(bytes: roundedUp(kernel.scratchBytes(layer, plan), to: 64), fill: Self.poison)
    let outputBuffer = GuardedBuffer(bytes: 64 + outputBytes, fill: Self.poison)
    let arguments = DepthwiseArguments(
      layer: layer, plan: plan, prepared: UnsafeRawPointer(prepared.base),
      input: inputBuffer.pointer(to: UInt8.self),
      output: (outputBuffer.base + 64).assumingMemoryBound(to: UInt8.self), scratch: scratch.base)
    var first = 0
    for slice in slices + [layer.outputHeight] where first < layer.outputHeight {
      let count = min(slice, layer.outputHeight - first)
      kernel.function(arguments, first, count)
      first += count
    }
    withExtendedLifetime((planes, terms, weightBuffer, biasBuffer, multiplierBuffer)) {}
    withExtendedLifetime((shiftBuffer, scaleBuffer, prepared, inputBuffer, scratch)) {}
    let all = UnsafeRawBufferPointer(start: outputBuffer.base, count: outputBuffer.count)
    precondition(all[..<64].allSatisfy { $0 == Self.poison }, "the kernel wrote before its output")
    return [UInt8](all[64...])
  }

  /// What the runtime hands to kernels: the factors, where fused multiply-adds are exact for every channel.
  private var fusedScales: [Float]? {
    let scales = bias.indices.map { channel in
      FixedPointMultiplier(multiplier: multiplier[channel], shift: shift[channel])
        .fusedScale(largestAccumulator: Int64(bias[channel].magnitude) + Int64(layer.taps) * 128 * 255)
    }
    return scales.contains(nil) ? nil : scales.compactMap { $0 }
  }

  private static let poison: UInt8 = 0xA5
}

extension DepthwiseCase {
  /// Kernel, strides and dilations are rows and columns.
  struct Shape {
    var channels: Int
    var kernel: (Int, Int)
    var strides = (1, 1)
    var dilations = (1, 1)
    var output: (Int, Int)
  }

  /// A layer of a shape with random pads, strides of pixels and operands.
  init(_ shape: Shape, values: ConvolutionCase.Values, seed: UInt64) {
    var random = SeededGenerator(state: seed)
    let channels = shape.channels, taps = shape.kernel.0 * shape.kernel.1
    let stored = (channels + 3) / 4 * 4
    let inputPixelStride = stored + 4 * ([0, 0, 1, 3].randomElement(using: &random) ?? 0)
    let outputPixelStride = stored + 4 * ([0, 0, 1, 3].randomElement(using: &random) ?? 0)
    let spanRows = (shape.kernel.0 - 1) * shape.dilations.0 + 1
    let spanColumns = (shape.kernel.1 - 1) * shape.dilations.1 + 1
    let paddedHeight = (shape.output.0 - 1) * shape.strides.0 + spanRows
    let paddedWidth = (shape.output.1 - 1) * shape.strides.1 + spanColumns
    // The image is at least one pixel; what it lacks is padding on either side.
    let height = Int.random(in: max(1, paddedHeight - 2 * spanRows)...paddedHeight, using: &random)
    let width = Int.random(in: max(1, paddedWidth - 2 * spanColumns)...paddedWidth, using: &random)
    let zeroPoint = UInt8.random(in: 0...255, using: &random)
    var clamp = (Int32.random(in: 0...100, using: &random), Int32.random(in: 100...255, using: &random))
    if Bool.random(using: &random) { clamp = (0, 255) }
    layer = DepthwiseLayer(
      channels: channels, storedChannels: stored, inputHeight: height, inputWidth: width,
      inputPixelStride: inputPixelStride, inputRowStride: width * inputPixelStride, inputZeroPoint: zeroPoint,
      kernelHeight: shape.kernel.0, kernelWidth: shape.kernel.1, strideRows: shape.strides.0,
      strideColumns: shape.strides.1, dilationRows: shape.dilations.0, dilationColumns: shape.dilations.1,
      padTop: Int.random(in: 0...paddedHeight - height, using: &random),
      padLeft: Int.random(in: 0...paddedWidth - width, using: &random), outputHeight: shape.output.0,
      outputWidth: shape.output.1, outputPixelStride: outputPixelStride,
      outputRowStride: shape.output.1 * outputPixelStride,
      outputZeroPoint: Int32.random(in: 0...255, using: &random), clampMinimum: clamp.0,
      clampMaximum: clamp.1,
      isFused: false)
    let isExtreme = values == .extreme || values == .extremeFused
    let sign: Int8 = Bool.random(using: &random) ? 127 : -128
    // The last pixel ends with its stored channels.
    input = (0..<(height * width - 1) * inputPixelStride + stored).map { _ in
      isExtreme ? 255 : UInt8.random(in: 0...255, using: &random)
    }
    weights = (0..<channels * taps).map { _ in isExtreme ? sign : Int8.random(in: -128...127, using: &random)
    }
    bias = []
    multiplier = []
    shift = []
    for _ in 0..<channels {
      let parameters = values.parameters(shifts: 36...42, using: &random)
      bias.append(parameters.bias)
      multiplier.append(parameters.multiplier)
      shift.append(parameters.shift)
    }
  }
}

extension DepthwiseCase {
  /// Numbers of channels with ragged and whole vectors.
  static let channelCounts = [1, 3, 8, 15, 16, 17, 24, 32, 33, 48, 60, 64, 65, 80, 96, 100, 144, 192]

  /// Layers of all values and of the usual windows and strides, with slices to run.
  static func forEachSmall(channels: Int, _ body: (DepthwiseCase, _ slices: [Int]) -> Void) {
    var random = SeededGenerator(state: UInt64(channels))
    for kernelSize in [(1, 1), (3, 3), (5, 5), (2, 2), (1, 3), (7, 1), (4, 6)] {
      for strides in [(1, 1), (2, 2)] {
        let shape = Shape(
          channels: channels, kernel: kernelSize, strides: strides,
          output: (Int.random(in: 1...6, using: &random), Int.random(in: 1...11, using: &random)))
        let seed = random.next(), slices = [Int.random(in: 1...3, using: &random)]
        for values in ConvolutionCase.Values.allCases {
          body(DepthwiseCase(shape, values: values, seed: seed), slices)
        }
      }
    }
  }

  /// Strides and dilations that differ, and windows larger than the image.
  static func forEachWindow(seed: UInt64, _ body: (DepthwiseCase, _ slices: [Int]) -> Void) {
    var random = SeededGenerator(state: seed)
    func pair(_ range: ClosedRange<Int>) -> (Int, Int) {
      (Int.random(in: range, using: &random), Int.random(in: range, using: &random))
    }
    let shape = Shape(
      channels: Int.random(in: 1...70, using: &random), kernel: pair(1...7), strides: pair(1...3),
      dilations: pair(1...3), output: pair(1...9))
    let slices = [Int.random(in: 1...4, using: &random), 1]
    for values in ConvolutionCase.Values.allCases {
      body(DepthwiseCase(shape, values: values, seed: random.next()), slices)
    }
  }

  /// Rows that do not fit the caches at once.
  static func forEachWide(channels: Int, _ body: (DepthwiseCase, _ slices: [Int]) -> Void) {
    for (stride, width) in [(1, 131), (1, 250), (2, 100)] {
      let shape = Shape(channels: channels, kernel: (3, 3), strides: (stride, stride), output: (3, width))
      body(DepthwiseCase(shape, values: .fused, seed: UInt64(width)), [])
    }
  }
}

private func roundedUp(_ value: Int, to multiple: Int) -> Int { (value + multiple - 1) / multiple * multiple }
