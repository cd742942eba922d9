import KernelInterface
import Runtime
import Testing

/// Sums and quantized numbers, by every kernel of the list.
@Suite struct ElementwiseTests {
  static let runnable = KernelTable.elementwise.filter { CPUFeatures.host.isSuperset(of: $0.features) }

  @Test(arguments: runnable.indices, ElementwiseCase.counts)
  func givesTheBitsOfTheFormula(kernels: Int, count: Int) {
    let kernels = Self.runnable[kernels]
    #expect(ElementwiseCase.wrongSums(kernels, count: count) == 0, "\(kernels.name)")
    #expect(ElementwiseCase.wrongNumbers(kernels, count: count) == 0, "\(kernels.name)")
  }
}
