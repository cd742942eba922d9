import KernelInterface
import Runtime
import Testing

/// Sums of one input row against packed weights, and what becomes of them, by every kernel of the list.
@Suite struct MatrixVectorTests {
  static let runnable = KernelTable.matrixVector.filter { CPUFeatures.host.isSuperset(of: $0.features) }

  @Test(arguments: runnable.indices, [8, 4])
  func givesTheBitsOfTheFormula(kernels: Int, bits: Int) {
    let kernels = Self.runnable[kernels]
    for channels in MatrixVectorCase.channelCounts {
      for length in MatrixVectorCase.lengths {
        let wrong = MatrixVectorCase.wrongSums(
          kernels, bits: bits, channels: channels, length: length, .random)
        #expect(wrong == 0, "\(kernels.name): \(bits) bits, \(channels) channels of \(length) weights")
      }
    }
  }

  @Test(arguments: runnable.indices, MatrixVectorCase.Values.allCases)
  func sumsLongRowsExactly(kernels: Int, values: MatrixVectorCase.Values) {
    let kernels = Self.runnable[kernels]
    #expect(MatrixVectorCase.wrongLongSums(kernels, values) == 0, "\(kernels.name)")
  }

  @Test(arguments: runnable.indices, MatrixVectorCase.resultCounts)
  func finishesSums(kernels: Int, count: Int) {
    let kernels = Self.runnable[kernels]
    #expect(MatrixVectorCase.wrongResults(kernels, count: count) == 0, "\(kernels.name)")
  }
}
