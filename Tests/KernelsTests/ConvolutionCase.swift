import KernelInterface
import Numerics

/// SplitMix64: small, seeded, the same on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// floor(a * m / 2^s + 1/2) of the wrapped sum, by exact division, not by shifts.
func requantizedByDivision(_ sum: Int64, _ multiplier: Int32, _ shift: Int32) -> Int64 {
  let product = Int64(Int32(truncatingIfNeeded: sum)) * Int64(multiplier)
  let divisor = Int64(1) << Int64(shift)
  let doubled = product.addingReportingOverflow(divisor / 2).partialValue
  return doubled / divisor - (doubled % divisor < 0 ? 1 : 0)
}

/// One convolution with all operands, and what the formula says its output is.
struct ConvolutionCase {
  var kind: KernelKind
  var outputChannels: Int
  var storedChannels: Int
  var outputWidth: Int
  var pixels: Int
  var inputRowStride: Int
  var inputPixelStride: Int
  var outputPixelStride: Int
  /// Bytes of a border between the output's rows, for kernels that walk rows.
  var outputRowGap: Int
  var stepOffsets: [Int32]
  /// Bits of an input number where they are multiplied one by one, the highest plane first in `stepOffsets`; or 1.
  var planes = 1
  var stepsPerTap = 0
  /// `[outputChannels][rowLength]`.
  var weights: [Int8]
  var rowLength: Int
  var bias: [Int32]
  var multiplier: [Int32]
  var shift: [Int32]
  var input: [UInt8]
  var outputZeroPoint: Int32
  var clampMinimum: Int32
  var clampMaximum: Int32

  /// The formula of `ConvolutionArguments`, one scalar at a time and without the code under test.
  func expected() -> [UInt8] {
    var output = [UInt8](repeating: Self.poison, count: pixels * outputPixelStride)
    for pixel in 0..<pixels {
      let base = pixel / outputWidth * inputRowStride + pixel % outputWidth * inputPixelStride
      for channel in 0..<storedChannels {
        var accumulator: Int64 = 0
        var result: Int64 = 0
        if channel < outputChannels {
          accumulator = Int64(bias[channel])
          for k in 0..<rowLength {
            accumulator += number(base, k) * Int64(weights[channel * rowLength + k])
          }
          result = requantizedByDivision(accumulator, multiplier[channel], shift[channel])
        }
        let shifted = min(max(result, -1 << 30), (1 << 30) - 1) + Int64(outputZeroPoint)
        output[pixel * outputPixelStride + channel] =
          UInt8(min(max(shifted, Int64(clampMinimum)), Int64(clampMaximum)))
      }
    }
    return output
  }

  /// The input number that meets weight `k` of a channel.
  private func number(_ base: Int, _ k: Int) -> Int64 {
    guard isBitSerial else { return Int64(input[base + Int(stepOffsets[k / 4]) + k % 4]) }
    var number: Int64 = 0
    for plane in 0..<planes {
      let offset = Int(stepOffsets[plane * rowLength / 32 + k / 32])
      number = 2 * number + Int64(input[base + offset + k % 32 / 8] >> UInt8(k % 8) & 1)
    }
    return number
  }

  /// Runs a kernel over consecutive slices of the pixels, with guard pages behind every operand.
  func run(_ kernel: Kernel, slices: [Int]) -> [UInt8] {
    var packed: [UInt8]
    var offsets = stepOffsets
    switch kind {
    case .dense8: packed = WeightPacking.pack8(weights, channels: outputChannels, rowLength: rowLength)
    case .dense4:
      packed = WeightPacking.pack4(weights, channels: outputChannels, rowLength: rowLength)
      while offsets.count < WeightPacking.evenSteps(rowLength) { offsets.append(offsets[offsets.count - 1]) }
    case .dense2:
      packed = WeightPacking.pack2(weights, channels: outputChannels, rowLength: rowLength)
      while offsets.count < WeightPacking.quadSteps(rowLength) { offsets.append(offsets[offsets.count - 1]) }
    case .palette:
      packed = WeightPacking.packPalette(weights, channels: outputChannels, rowLength: rowLength) ?? []
      while offsets.count < WeightPacking.evenSteps(rowLength) { offsets.append(offsets[offsets.count - 1]) }
    case .binary: packed = WeightPacking.packBinary(weights, channels: outputChannels, rowLength: rowLength)
    case .ternary: packed = WeightPacking.packTernary(weights, channels: outputChannels, rowLength: rowLength)
    }
    var bias = bias
    if isBitSerial {
      for channel in bias.indices {
        let row = weights[channel * rowLength..<(channel + 1) * rowLength]
        let negative = row.reduce(Int32(0)) { $1 < 0 ? $0 + 1 : $0 }
        bias[channel] &-= negative * (1 << Int32(planes) - 1)
      }
    }
    let padding = WeightPacking.panels(outputChannels) * 16 - outputChannels
    let scale = kernel.readsWords ? 2 : 1
    let inputBytes = input + [UInt8](repeating: 0xEE, count: 64 / scale)
    let inputBuffer =
      kernel.readsWords ? GuardedBuffer(inputBytes.map { UInt16($0) }) : GuardedBuffer(inputBytes)
    let weightBuffer =
      kernel.readsWords ? GuardedBuffer(WeightPacking.widened(packed)) : GuardedBuffer(packed)
    let offsetBuffer = GuardedBuffer(offsets.map { Int32(scale) * $0 })
    let biasBuffer = GuardedBuffer(bias + [Int32](repeating: 0, count: padding))
    let multiplierBuffer = GuardedBuffer(multiplier + [Int32](repeating: 0, count: padding))
    let shiftBuffer = GuardedBuffer(shift + [Int32](repeating: 31, count: padding))
    let scaleBuffer = fusedScales.map { GuardedBuffer($0 + [Float](repeating: 0, count: padding)) }
    let scratchBuffer = GuardedBuffer(bytes: ConvolutionArguments.scratchBytes, fill: Self.poison)
    let outputRowStride = outputWidth * outputPixelStride + (kernel.walksRows ? outputRowGap : 0)
    // The last pixel's bytes beyond its stored channels lie behind the guard page.
    let outputBytes =
      (pixels - 1) / outputWidth * outputRowStride + (pixels - 1) % outputWidth * outputPixelStride
      + storedChannels
    let outputBuffer = GuardedBuffer(bytes: 64 + outputBytes, fill: Self.poison)

    let arguments = ConvolutionArguments(
      input: inputBuffer.pointer(to: UInt8.self), inputRowStride: scale * inputRowStride,
      inputPixelStride: scale * inputPixelStride,
      stepOffsets: offsetBuffer.pointer(to: Int32.self), steps: offsets.count,
      stepsPerTap: stepsPerTap, planes: planes,
      weights: UnsafeRawPointer(weightBuffer.base),
      bias: biasBuffer.pointer(to: Int32.self),
      multiplier: multiplierBuffer.pointer(to: Int32.self),
      shift: shiftBuffer.pointer(to: Int32.self), scale: scaleBuffer?.pointer(to: Float.self),
      scratch: scratchBuffer.base, outputChannels: outputChannels,
      storedChannels: storedChannels,
      output: (outputBuffer.base + 64).assumingMemoryBound(to: UInt8.self),
      outputPixelStride: outputPixelStride, outputRowStride: outputRowStride,
      outputWidth: outputWidth, outputZeroPoint: outputZeroPoint, clampMinimum: clampMinimum,
      clampMaximum: clampMaximum)
    var first = 0
    for slice in slices where first < pixels {
      let count = min(slice, pixels - first)
      kernel.function(arguments, first, count)
      first += count
    }
    if first < pixels { kernel.function(arguments, first, pixels - first) }

    withExtendedLifetime((inputBuffer, weightBuffer, offsetBuffer, biasBuffer, multiplierBuffer)) {}
    withExtendedLifetime((shiftBuffer, scaleBuffer, scratchBuffer)) {}
    let all = UnsafeRawBufferPointer(start: outputBuffer.base, count: outputBuffer.count)
    precondition(all[..<64].allSatisfy { $0 == Self.poison }, "the kernel wrote before its output")
    let bytes =
      [UInt8](all[64...]) + [UInt8](repeating: Self.poison, count: outputPixelStride - storedChannels)
    return stride(from: 0, to: bytes.count, by: outputRowStride).flatMap { row in
      let gap = bytes[row...].dropFirst(outputWidth * outputPixelStride).prefix(
        outputRowStride - outputWidth * outputPixelStride)
      precondition(gap.allSatisfy { $0 == Self.poison }, "the kernel wrote between its rows")
      return bytes[row...].prefix(outputWidth * outputPixelStride)
    }
  }

  /// What the runtime hands to kernels: the factors, where fused multiply-adds are exact for every channel.
  var fusedScales: [Float]? {
    let product = Int64(rowLength) * Int64(Self.weightRange(kind).lowerBound.magnitude) * 255
    let scales =
      outputChannels == 0
      ? []
      : bias.indices.map { channel in
        FixedPointMultiplier(multiplier: multiplier[channel], shift: shift[channel])
          .fusedScale(largestAccumulator: Int64(bias[channel].magnitude) + product)
      }
    return scales.contains(nil) ? nil : scales.compactMap { $0 }
  }

  private var isBitSerial: Bool { kind == .binary || kind == .ternary }
  private static func weightRange(_ kind: KernelKind) -> ClosedRange<Int8> {
    switch kind {
    case .dense8, .palette: -128...127
    case .dense4: -8...7
    case .dense2: -2...1
    case .binary, .ternary: -1...1
    }
  }

  private static let poison: UInt8 = 0xA5
}

extension ConvolutionCase.Values {
  /// Bias, multiplier and shift of a channel; `shifts` bring outputs to the middle.
  func parameters(
    shifts: ClosedRange<Int32>, using random: inout SeededGenerator
  ) -> (bias: Int32, multiplier: Int32, shift: Int32) {
    switch self {
    case .random, .extreme:
      (
        Int32.random(in: -20_000...20_000, using: &random),
        Int32.random(in: (1 << 30)...Int32.max, using: &random), Int32.random(in: shifts, using: &random)
      )
    case .fused, .extremeFused:
      (
        Int32.random(in: -20_000...20_000, using: &random),
        Int32.random(in: (1 << 23)..<(1 << 24), using: &random) << 7 | 1 << 7,
        Int32.random(in: shifts, using: &random)
      )
    case .extremeScales:
      (
        Int32.random(in: Int32.min...Int32.max, using: &random),
        [0, 1, 1 << 30, Int32.max, Int32.max - 1].randomElement(using: &random) ?? 0,
        [1, 2, 29, 30, 31, 32, 33, 61, 62].randomElement(using: &random) ?? 1
      )
    }
  }
}

extension ConvolutionCase {
  /// How the values of a case are chosen.
  enum Values: CaseIterable {
    /// Everything over its whole range, with multipliers that keep outputs in the middle.
    case random
    /// The same with multipliers for which fused multiply-adds are exact.
    case fused
    /// The same, all inputs and all weights at one end of their ranges.
    case extremeFused
    /// All inputs and all weights at one end of their ranges.
    case extreme
    /// Multipliers and shifts at the ends of their domains, biases of any size.
    case extremeScales
  }

  /// A convolution of `kernelSize`² taps over a random image.
  init(
    _ kind: KernelKind, outputChannels: Int, inputChannels: Int, kernelSize: Int, outputWidth: Int,
    pixels: Int, isUnitStride: Bool = false,
    values: Values = .random, seed: UInt64
  ) {
    var random = SeededGenerator(state: seed)
    self.kind = kind
    self.outputChannels = outputChannels
    self.outputWidth = outputWidth
    self.pixels = pixels
    let stored = (outputChannels + 3) / 4 * 4
    storedChannels = Bool.random(using: &random) ? stored : outputChannels
    outputPixelStride = stored + 4 * Int.random(in: 0...2, using: &random)
    outputRowGap = outputPixelStride * Int.random(in: 0...2, using: &random)

    let isBitSerial = kind == .binary || kind == .ternary
    if isBitSerial { planes = Int.random(in: 1...4, using: &random) }
    let words = (inputChannels + 31) / 32, tapSteps = isBitSerial ? words : (inputChannels + 3) / 4
    let pixelBytes = 4 * planes * tapSteps
    let stride = isUnitStride ? 1 : Int.random(in: 1...2, using: &random)
    let dilation = isUnitStride ? 1 : Int.random(in: 1...2, using: &random)
    let imageWidth = (outputWidth - 1) * stride + (kernelSize - 1) * dilation + 1
    inputPixelStride = stride * pixelBytes
    inputRowStride = stride * imageWidth * pixelBytes
    var offsets: [Int32] = []
    for plane in (0..<planes).reversed() {
      for y in 0..<kernelSize {
        for x in 0..<kernelSize {
          let tap = (y * imageWidth + x) * dilation * pixelBytes + 4 * plane * tapSteps
          for step in 0..<tapSteps { offsets.append(Int32(tap + 4 * step)) }
        }
      }
    }
    if kernelSize == 3, stride == 1, dilation == 1, kind == .dense8 || kind == .dense4 && tapSteps % 2 == 0 {
      stepsPerTap = tapSteps
    }
    stepOffsets = offsets
    rowLength = isBitSerial ? offsets.count / planes * 32 : offsets.count * 4

    let lastColumn = min(outputWidth, pixels) - 1
    let lastBase = (pixels - 1) / outputWidth * inputRowStride + lastColumn * inputPixelStride
    let inputBytes = lastBase + Int(offsets.max() ?? 0) + 4
    let isExtreme = values == .extreme || values == .extremeFused
    let range = Self.weightRange(kind)
    let extremeWeight = Bool.random(using: &random) ? range.lowerBound : range.upperBound
    let extremeInput: UInt8 = Int.random(in: 0...3, using: &random) == 0 ? 0 : 255
    let length = rowLength
    input = (0..<inputBytes).map { index in
      // The bits that round the channels up to words are 0.
      let valid = isBitSerial ? inputChannels - index / 4 % words * 32 - index % 4 * 8 : 8
      let mask: UInt8 = valid >= 8 ? 255 : valid <= 0 ? 0 : 1 << UInt8(valid) - 1
      return mask & (isExtreme ? extremeInput : UInt8.random(in: 0...255, using: &random))
    }
    // Of a palette, few weights occur.
    let palette: [Int8] = (0..<15).map { _ in Int8.random(in: range, using: &random) }
    weights = (0..<outputChannels * length).map { place in
      if isBitSerial && place % length % (32 * words) >= inputChannels { return 0 }
      if isExtreme { return extremeWeight }
      return switch kind {
      case .dense8, .dense4, .dense2, .ternary: Int8.random(in: range, using: &random)
      case .palette: palette.randomElement(using: &random) ?? 0
      case .binary: Bool.random(using: &random) ? 1 : -1
      }
    }
    bias = []
    multiplier = []
    shift = []
    let shifts: ClosedRange<Int32> =
      switch kind {
      case .dense8, .palette: 38...43
      case .dense4: 34...39
      case .dense2, .binary, .ternary: 31...38
      }
    for _ in 0..<outputChannels {
      var parameters = values.parameters(shifts: shifts, using: &random)
      // Accumulators of 28 and of 26 bits.
      if values == .extremeScales { parameters.bias /= kind == .dense4 ? 22 : kind == .dense2 ? 100 : 1 }
      bias.append(parameters.bias)
      multiplier.append(parameters.multiplier)
      shift.append(parameters.shift)
    }
    // Half of the extreme scales have shifts that fast paths serve too.
    if values == .extremeScales, Bool.random(using: &random) { shift = shift.map { max($0, 31) } }
    outputZeroPoint = Int32.random(in: 0...255, using: &random)
    clampMinimum = Int32.random(in: 0...100, using: &random)
    clampMaximum = Int32.random(in: clampMinimum...255, using: &random)
    if Bool.random(using: &random) { (clampMinimum, clampMaximum) = (0, 255) }
  }
}

extension ConvolutionCase {
  /// Numbers of output channels with ragged and whole panels.
  static let channelCounts = [1, 3, 15, 16, 17, 31, 33, 48, 50, 64, 65, 100, 130]

  /// Small convolutions of all values and of numbers of pixels that leave tiles incomplete, with slices to run.
  static func forEachSmall(
    _ kind: KernelKind, outputChannels: Int, _ body: (ConvolutionCase, _ slices: [Int]) -> Void
  ) {
    var random = SeededGenerator(state: UInt64(outputChannels))
    for pixels in [1, 2, 3, 5, 7, 12, 13, 29, 70] {
      for values in Values.allCases {
        let convolution = ConvolutionCase(
          kind, outputChannels: outputChannels, inputChannels: Int.random(in: 1...21, using: &random),
          kernelSize: Int.random(in: 1...3, using: &random),
          outputWidth: Int.random(in: 1...9, using: &random),
          pixels: pixels, values: values, seed: random.next())
        body(convolution, [Int.random(in: 1...pixels, using: &random), 1])
      }
    }
  }

  /// Sums of thousands of products, of all values.
  static func forEachLong(_ kind: KernelKind, _ body: (ConvolutionCase) -> Void) {
    for values in Values.allCases {
      body(
        ConvolutionCase(
          kind, outputChannels: 20, inputChannels: 500, kernelSize: 2,
          outputWidth: 4, pixels: 9, values: values, seed: 5))
    }
  }
}
