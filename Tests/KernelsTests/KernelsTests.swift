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

  @Test(arguments: runnable.indices, [1, 3, 15, 16, 17, 31, 33, 48, 50, 64, 65, 100, 130])
  func givesTheBitsOfTheFormula(kernel: Int, channels: Int) {
    let kernel = Self.runnable[kernel]
    var random = SeededGenerator(state: UInt64(channels))
    for pixels in [1, 2, 3, 5, 7, 12, 13, 29] {
      for values in ConvolutionCase.Values.allCases {
        let convolution = ConvolutionCase(
          kernel.kind, outputChannels: channels, inputChannels: Int.random(in: 1...21, using: &random),
          kernelSize: Int.random(in: 1...3, using: &random),
          outputWidth: Int.random(in: 1...9, using: &random),
          pixels: pixels, values: values, seed: random.next())
        Self.check(kernel, convolution, slices: [Int.random(in: 1...pixels, using: &random), 1])
      }
    }
  }

  @Test(arguments: runnable.indices)
  func accumulatesLongRowsExactly(kernel: Int) {
    let kernel = Self.runnable[kernel]
    for values in ConvolutionCase.Values.allCases {
      let convolution = ConvolutionCase(
        kernel.kind, outputChannels: 20, inputChannels: 500, kernelSize: kernel.kind == .depthwise ? 7 : 2,
        outputWidth: 4, pixels: 9, values: values, seed: 5)
      Self.check(kernel, convolution, slices: [])
    }
  }
}
