import KernelInterface
import Runtime
import Testing

/// Every depthwise kernel of the list gives the bits of the formula, and touches no memory but its own.
@Suite struct DepthwiseTests {
  /// The kernels that this processor can run; the others are named.
  static let runnable: [DepthwiseKernel] = KernelTable.depthwise.filter { kernel in
    let runs = CPUFeatures.host.isSuperset(of: kernel.features)
    if !runs { print("skipped: \(kernel.name) needs instructions that this processor lacks") }
    return runs
  }

  static func check(_ kernel: DepthwiseKernel, _ depthwise: DepthwiseCase, _ slices: [Int]) {
    let actual = depthwise.run(kernel, slices: slices), expected = depthwise.expected()
    guard actual != expected else { return }
    let wrong = zip(actual, expected).enumerated().filter { $0.element.0 != $0.element.1 }.map(\.offset)
    let place = wrong[0], row = place / depthwise.layer.outputRowStride
    let rest = place % depthwise.layer.outputRowStride
    Issue.record(
      """
      \(kernel.name): \(wrong.count) of \(expected.count) bytes differ; first at row \(row), column \
      \(rest / depthwise.layer.outputPixelStride), channel \(rest % depthwise.layer.outputPixelStride): \
      \(actual[place]) instead of \(expected[place]) (slices \(slices), \(depthwise.layer))
      """)
  }

  @Test(arguments: runnable.indices, DepthwiseCase.channelCounts)
  func givesTheBitsOfTheFormula(kernel: Int, channels: Int) {
    DepthwiseCase.forEachSmall(channels: channels) { Self.check(Self.runnable[kernel], $0, $1) }
  }

  @Test(arguments: runnable.indices, 0..<60)
  func takesAnyWindow(kernel: Int, seed: UInt64) {
    DepthwiseCase.forEachWindow(seed: seed) { Self.check(Self.runnable[kernel], $0, $1) }
  }

  @Test(arguments: runnable.indices, [16, 32, 64, 72])
  func takesWideImages(kernel: Int, channels: Int) {
    DepthwiseCase.forEachWide(channels: channels) { Self.check(Self.runnable[kernel], $0, $1) }
  }
}
