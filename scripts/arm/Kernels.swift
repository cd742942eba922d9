import ArmTestSupport
import KernelInterface
import Runtime

/// As in Tests/KernelsTests, here by functions of the C library that Embedded Swift does not import.
final class GuardedBuffer {
  let base: UnsafeMutableRawPointer
  let count: Int

  init(bytes count: Int, fill: UInt8) {
    base = qcc_map_guarded(count, fill)
    self.count = count
  }

  convenience init<Element: BitwiseCopyable>(_ elements: [Element]) {
    self.init(bytes: elements.count * MemoryLayout<Element>.stride, fill: 0)
    elements.withUnsafeBytes {
      base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: $0.count)
    }
  }

  deinit { qcc_unmap_guarded(base, count) }

  func pointer<Element: BitwiseCopyable>(to _: Element.Type) -> UnsafePointer<Element> {
    UnsafePointer(base.assumingMemoryBound(to: Element.self))
  }
}

/// Runs the cases of Tests/KernelsTests with every kernel of the list that the processor can run.
/// - Returns: how many bytes differ from the formula.
@_cdecl("qcc_test_kernels")
func testKernels() -> Int {
  var wrong = 0
  for kernel in KernelTable.all where CPUFeatures.host.isSuperset(of: kernel.features) {
    var cases = 0, wrongOfKernel = 0
    func check(_ convolution: ConvolutionCase, _ slices: [Int]) {
      let actual = convolution.run(kernel, slices: slices), expected = convolution.expected()
      cases += 1
      for i in expected.indices where actual[i] != expected[i] { wrongOfKernel += 1 }
    }
    for channels in ConvolutionCase.channelCounts {
      ConvolutionCase.forEachSmall(kernel.kind, outputChannels: channels, check)
    }
    ConvolutionCase.forEachLong(kernel.kind) { check($0, []) }
    qcc_report_kernel(kernel.name.utf8Start, cases, wrongOfKernel)
    wrong += wrongOfKernel
  }
  for kernel in KernelTable.depthwise where CPUFeatures.host.isSuperset(of: kernel.features) {
    var cases = 0, wrongOfKernel = 0
    func check(_ depthwise: DepthwiseCase, _ slices: [Int]) {
      let actual = depthwise.run(kernel, slices: slices), expected = depthwise.expected()
      cases += 1
      for i in expected.indices where actual[i] != expected[i] { wrongOfKernel += 1 }
    }
    for channels in DepthwiseCase.channelCounts { DepthwiseCase.forEachSmall(channels: channels, check) }
    for seed in 0..<60 { DepthwiseCase.forEachWindow(seed: UInt64(seed), check) }
    for channels in [16, 32, 64, 72] { DepthwiseCase.forEachWide(channels: channels, check) }
    qcc_report_kernel(kernel.name.utf8Start, cases, wrongOfKernel)
    wrong += wrongOfKernel
  }
  for kernels in KernelTable.matrixVector where CPUFeatures.host.isSuperset(of: kernels.features) {
    let wrongOfKernels = testMatrixVector(kernels)
    qcc_report_kernel(kernels.name.utf8Start, matrixVectorCases, wrongOfKernels)
    wrong += wrongOfKernels
  }
  for kernels in KernelTable.elementwise where CPUFeatures.host.isSuperset(of: kernels.features) {
    var wrongOfKernels = 0
    for count in ElementwiseCase.counts {
      wrongOfKernels += ElementwiseCase.wrongSums(kernels, count: count)
    }
    qcc_report_kernel(kernels.name.utf8Start, ElementwiseCase.counts.count, wrongOfKernels)
    wrong += wrongOfKernels
  }
  for kernels in KernelTable.quantize where CPUFeatures.host.isSuperset(of: kernels.features) {
    var wrongOfKernels = 0
    for count in ElementwiseCase.counts {
      wrongOfKernels += ElementwiseCase.wrongNumbers(kernels, count: count)
    }
    qcc_report_kernel(kernels.name.utf8Start, ElementwiseCase.counts.count, wrongOfKernels)
    wrong += wrongOfKernels
  }
  return wrong
}

private typealias Vector = MatrixVectorCase

private var matrixVectorCases: Int {
  2 * Vector.channelCounts.count * Vector.lengths.count + Vector.Values.allCases.count
    + Vector.resultCounts.count
}

private func testMatrixVector(_ kernels: MatrixVectorKernels) -> Int {
  var wrong = 0
  for channels in Vector.channelCounts {
    for length in Vector.lengths {
      wrong += Vector.wrongSums(kernels, bits: 8, channels: channels, length: length, .random)
      wrong += Vector.wrongSums(kernels, bits: 4, channels: channels, length: length, .random)
    }
  }
  for values in Vector.Values.allCases { wrong += Vector.wrongLongSums(kernels, values) }
  for count in Vector.resultCounts { wrong += Vector.wrongResults(kernels, count: count) }
  return wrong
}
