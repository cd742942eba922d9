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
/// - Returns: how many results differ from the formula.
@_cdecl("qcc_test_kernels")
func testKernels() -> Int {
  let host = CPUFeatures.host
  var wrong = 0
  for kernel in KernelTable.all where host.isSuperset(of: kernel.features) { wrong += testDense(kernel) }
  for kernel in KernelTable.depthwise where host.isSuperset(of: kernel.features) {
    wrong += testDepthwise(kernel)
  }
  for kernels in KernelTable.matrixVector where host.isSuperset(of: kernels.features) {
    wrong += report(kernels.name, cases: matrixVectorCases, wrong: testMatrixVector(kernels))
  }
  let counts = ElementwiseCase.counts
  for kernels in KernelTable.elementwise where host.isSuperset(of: kernels.features) {
    let wrongSums = counts.reduce(0) { $0 + ElementwiseCase.wrongSums(kernels, count: $1) }
    wrong += report(kernels.name, cases: counts.count, wrong: wrongSums)
  }
  for kernels in KernelTable.quantize where host.isSuperset(of: kernels.features) {
    let wrongNumbers = counts.reduce(0) { $0 + ElementwiseCase.wrongNumbers(kernels, count: $1) }
    wrong += report(kernels.name, cases: counts.count, wrong: wrongNumbers)
  }
  let pools = PoolCase.channelCounts
  for kernels in KernelTable.pool where host.isSuperset(of: kernels.features) {
    let wrongBytes = pools.reduce(0) { $0 + PoolCase.wrongBytes(kernels, channels: $1) }
    wrong += report(kernels.name, cases: pools.count, wrong: wrongBytes)
  }
  let images = BitImageCase.channelCounts
  for kernel in KernelTable.bitImage where host.isSuperset(of: kernel.features) {
    let wrongWords = images.reduce(0) { $0 + BitImageCase.wrongWords(kernel, channels: $1) }
    wrong += report(kernel.name, cases: images.count, wrong: wrongWords)
  }
  return wrong
}

/// - Returns: `wrong`.
private func report(_ name: StaticString, cases: Int, wrong: Int) -> Int {
  qcc_report_kernel(name.utf8Start, cases, wrong)
  return wrong
}

private func differences(_ actual: [UInt8], _ expected: [UInt8]) -> Int {
  expected.indices.count { actual[$0] != expected[$0] }
}

private func testDense(_ kernel: Kernel) -> Int {
  var cases = 0, wrong = 0
  func check(_ convolution: ConvolutionCase, _ slices: [Int]) {
    cases += 1
    wrong += differences(convolution.run(kernel, slices: slices), convolution.expected())
  }
  for channels in ConvolutionCase.channelCounts {
    ConvolutionCase.forEachSmall(kernel.kind, outputChannels: channels, check)
  }
  ConvolutionCase.forEachLong(kernel.kind) { check($0, []) }
  return report(kernel.name, cases: cases, wrong: wrong)
}

private func testDepthwise(_ kernel: DepthwiseKernel) -> Int {
  var cases = 0, wrong = 0
  func check(_ depthwise: DepthwiseCase, _ slices: [Int]) {
    cases += 1
    wrong += differences(depthwise.run(kernel, slices: slices), depthwise.expected())
  }
  for channels in DepthwiseCase.channelCounts { DepthwiseCase.forEachSmall(channels: channels, check) }
  for seed in 0..<60 { DepthwiseCase.forEachWindow(seed: UInt64(seed), check) }
  for channels in [16, 32, 64, 72] { DepthwiseCase.forEachWide(channels: channels, check) }
  return report(kernel.name, cases: cases, wrong: wrong)
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
