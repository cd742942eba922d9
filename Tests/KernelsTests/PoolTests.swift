import KernelInterface
import Runtime
import Testing

/// Means and maxima over windows by every kernel of the list, one scalar at a time on the other side.
@Suite struct PoolTests {
  static let runnable = KernelTable.pool.filter { CPUFeatures.host.isSuperset(of: $0.features) }

  @Test(arguments: runnable.indices, PoolCase.channelCounts)
  func givesTheBitsOfTheFormula(kernels: Int, channels: Int) {
    let kernels = Self.runnable[kernels]
    #expect(PoolCase.wrongBytes(kernels, channels: channels) == 0, "\(kernels.name)")
  }
}
