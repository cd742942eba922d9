import KernelInterface
import Runtime
import Testing

/// Every kernel of the list gives the bits of the formula, and touches no memory but its own.
@Suite struct KernelsTests {
  /// The kernels that this processor can run; the others are named.
  static let runnable: [Kernel] = KernelTable.all.filter { kernel in
    let runs = CPUFeatures.host.isSuperset(of: kernel.features)
    if !runs { print("skipped: \(kernel.name) needs instructions that this processor lacks") }
    return runs
  }

  static func check(_ kernel: Kernel, _ convolution: ConvolutionCase, slices: [Int]) {
    let actual = convolution.run(kernel, slices: slices), expected = convolution.expected()
    guard actual != expected else { return }
    let wrong = zip(actual, expected).enumerated().filter { $0.element.0 != $0.element.1 }.map(\.offset)
    let place = wrong[0]
    Issue.record(
      """
      \(kernel.name): \(wrong.count) of \(expected.count) bytes differ; first at pixel \
      \(place / convolution.outputPixelStride), channel \(place % convolution.outputPixelStride): \
      \(actual[place]) instead of \(expected[place]) (\(convolution.outputChannels) channels, \
      \(convolution.rowLength) weights a channel, \(convolution.pixels) pixels, slices \(slices))
      """)
  }

  @Test(arguments: runnable.indices, ConvolutionCase.channelCounts)
  func givesTheBitsOfTheFormula(kernel: Int, channels: Int) {
    let kernel = Self.runnable[kernel]
    ConvolutionCase.forEachSmall(kernel.kind, outputChannels: channels) { convolution, slices in
      Self.check(kernel, convolution, slices: slices)
    }
  }

  /// 3 x 3 with stride 1, where kernels use inputs for several outputs; rows of whole tiles and of parts.
  @Test(arguments: runnable.indices, [11, 16, 27])
  func slidesOverRows(kernel: Int, width: Int) {
    let kernel = Self.runnable[kernel]
    var random = SeededGenerator(state: UInt64(width))
    for (inputs, outputs) in [(5, 7), (8, 16), (13, 33)] {
      for values in [ConvolutionCase.Values.fused, .extremeScales] {
        let convolution = ConvolutionCase(
          kernel.kind, outputChannels: outputs, inputChannels: inputs, kernelSize: 3, outputWidth: width,
          pixels: 2 * width, isUnitStride: true, values: values, seed: random.next())
        Self.check(kernel, convolution, slices: [Int.random(in: 1...width, using: &random)])
      }
    }
  }

  @Test(arguments: runnable.indices)
  func accumulatesLongRowsExactly(kernel: Int) {
    let kernel = Self.runnable[kernel]
    ConvolutionCase.forEachLong(kernel.kind) { Self.check(kernel, $0, slices: []) }
  }
}
