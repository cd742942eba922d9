import KernelInterface
import Runtime
import Testing

/// Every way to gather planes of bits gives those of the definition.
@Suite struct BitImageTests {
  static let runnable = KernelTable.bitImage.filter { CPUFeatures.host.isSuperset(of: $0.features) }

  @Test(arguments: runnable.indices, BitImageCase.channelCounts)
  func gathersBits(kernel: Int, channels: Int) {
    let kernel = Self.runnable[kernel]
    #expect(BitImageCase.wrongWords(kernel, channels: channels) == 0, "\(kernel.name)")
  }
}
