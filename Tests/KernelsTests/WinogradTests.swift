import KernelInterface
import Numerics
import Runtime
import Testing

/// Kernels that take fewer products give the bits of the direct formula, and touch no memory but their own.
@Suite struct WinogradTests {
  static let runnable: [WinogradKernel] = KernelTable.winograd.filter { kernel in
    let runs = CPUFeatures.host.isSuperset(of: kernel.features)
    if !runs { print("skipped: \(kernel.name) needs instructions that this processor lacks") }
    return runs
  }

  /// Rows and columns of whole tiles and of parts; channels of whole vectors and of parts; one block of tiles and several.
  @Test(
    arguments: runnable.indices,
    [(1, 1), (2, 2), (3, 5), (7, 7), (4, 9), (14, 14), (33, 6), (9, 40)])
  func givesTheBitsOfTheFormula(kernel: Int, size: (rows: Int, columns: Int)) {
    let kernel = Self.runnable[kernel]
    var random = SeededGenerator(state: UInt64(100 * size.rows + size.columns))
    for (inputs, outputs) in [(1, 1), (16, 16), (13, 33), (20, 7), (40, 20), (530, 17)] {
      if inputs > 100 && size.rows * size.columns > 100 { continue }
      for values in ConvolutionCase.Values.allCases {
        let convolution = ConvolutionCase(
          .dense8, outputChannels: outputs, inputChannels: inputs, kernelSize: 3, outputWidth: size.columns,
          pixels: size.rows * size.columns, isUnitStride: true, values: values, seed: random.next())
        let rows = Int.random(in: 1...size.rows, using: &random)
        let actual = convolution.run(kernel, firstRows: rows), expected = convolution.expected()
        guard let place = actual.indices.first(where: { actual[$0] != expected[$0] }) else { continue }
        Issue.record(
          """
          \(kernel.name): \(inputs) -> \(outputs) channels, \(size.rows) x \(size.columns), \(values), \(rows) rows first: \
          pixel \(place / convolution.outputPixelStride), channel \(place % convolution.outputPixelStride): \
          \(actual[place]) instead of \(expected[place])
          """)
      }
    }
  }

  /// The largest sums that fit: all inputs and weights at their ends over as many channels as are allowed.
  @Test(arguments: runnable.indices)
  func sumsOfTheMostChannelsAreExact(kernel: Int) {
    for seed in 0..<6 as Range<UInt64> {
      let convolution = ConvolutionCase(
        .dense8, outputChannels: 2, inputChannels: WinogradKernel.mostInputChannels, kernelSize: 3,
        outputWidth: 3,
        pixels: 9, isUnitStride: true, values: .extreme, seed: seed)
      #expect(convolution.run(Self.runnable[kernel], firstRows: 2) == convolution.expected())
    }
  }
}

extension ConvolutionCase {
  /// Runs a kernel over the first rows, then over the others, with guard pages behind every operand.
  func run(_ kernel: WinogradKernel, firstRows: Int) -> [UInt8] {
    let rows = pixels / outputWidth, panels = WeightPacking.panels(outputChannels)
    let packed = WeightPacking.pack8(weights, channels: outputChannels, rowLength: rowLength)
    let stepsPerTap = rowLength / 36, bytes = kernel.preparedBytes(stepsPerTap)
    let prepared = GuardedBuffer(bytes: panels * bytes, fill: 0xA5)
    packed.withUnsafeBytes { packed in
      guard let base = packed.baseAddress else { return }
      for panel in 0..<panels {
        kernel.prepare(base + panel * packed.count / panels, stepsPerTap, prepared.base + panel * bytes)
      }
    }
    let padding = 16 * panels - outputChannels
    let inputs = GuardedBuffer(input + [UInt8](repeating: 0xEE, count: 64))
    let biases = GuardedBuffer(bias + [Int32](repeating: 0, count: padding))
    let multipliers = GuardedBuffer(multiplier + [Int32](repeating: 0, count: padding))
    let shifts = GuardedBuffer(shift + [Int32](repeating: 31, count: padding))
    let scales = fusedScales.map { GuardedBuffer($0 + [Float](repeating: 0, count: padding)) }
    let scratch = GuardedBuffer(bytes: (kernel.scratchBytes(stepsPerTap) + 63) / 64 * 64, fill: 0xA5)
    let rowStride = outputWidth * outputPixelStride + outputRowGap
    let outputBytes = (rows - 1) * rowStride + (outputWidth - 1) * outputPixelStride + storedChannels
    let output = GuardedBuffer(bytes: 64 + outputBytes, fill: 0xA5)
    let arguments = ConvolutionArguments(
      input: inputs.pointer(to: UInt8.self), inputRowStride: inputRowStride,
      inputPixelStride: inputPixelStride,
      stepOffsets: biases.pointer(to: Int32.self), steps: 0, stepsPerTap: stepsPerTap,
      weights: UnsafeRawPointer(prepared.base), bias: biases.pointer(to: Int32.self),
      multiplier: multipliers.pointer(to: Int32.self), shift: shifts.pointer(to: Int32.self),
      scale: scales?.pointer(to: Float.self), scratch: scratch.base, outputChannels: outputChannels,
      storedChannels: storedChannels, output: (output.base + 64).assumingMemoryBound(to: UInt8.self),
      outputPixelStride: outputPixelStride, outputRowStride: rowStride, outputWidth: outputWidth,
      outputZeroPoint: outputZeroPoint, clampMinimum: clampMinimum, clampMaximum: clampMaximum)
    kernel.function(arguments, 0, firstRows)
    if firstRows < rows { kernel.function(arguments, firstRows, rows - firstRows) }
    withExtendedLifetime((inputs, prepared, biases, multipliers, shifts, scales, scratch)) {}
    let all = [UInt8](UnsafeRawBufferPointer(start: output.base, count: output.count))
    precondition(all[..<64].allSatisfy { $0 == 0xA5 }, "the kernel wrote before its output")
    let pixelBytes = outputWidth * outputPixelStride
    return (0..<rows).flatMap { row in
      var line = all[(64 + row * rowStride)...].prefix(rowStride)
      line += [UInt8](repeating: 0xA5, count: rowStride - line.count)
      precondition(line.dropFirst(pixelBytes).allSatisfy { $0 == 0xA5 }, "the kernel wrote between its rows")
      return line.prefix(pixelBytes)
    }
  }
}
