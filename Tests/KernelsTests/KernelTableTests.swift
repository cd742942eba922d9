import KernelInterface
import Runtime
import Testing

@Suite struct KernelTableTests {
  @Test(arguments: KernelKind.allCases)
  func selectsWithinTheFeatures(kind: KernelKind) {
    for features: CPUFeatures in [
      [], .avx2, [.avx2, .avxvnni], [.avx2, .avxvnni, .avx512vnni],
      [.avx2, .avxvnni, .avx512vnni, .avx512popcount],
    ] {
      let kernel = KernelTable.select(kind, features)
      #expect(kernel.kind == kind)
      #expect(features.isSuperset(of: kernel.features))
    }
    #expect(KernelTable.select(kind, []).features == [])
  }

  @Test func selectsDepthwiseKernelsWithinTheFeatures() {
    for features: CPUFeatures in [[], .avx2, [.avx2, .avx512vnni]] {
      #expect(features.isSuperset(of: KernelTable.selectDepthwise(features).features))
    }
  }

  @Test func listsEveryNameOnceAndAPortableKernelOfEveryKind() {
    let names = KernelTable.layers.map { "\($0.name)" }
    #expect(Set(names).count == names.count)
    for kind in KernelKind.allCases {
      #expect(KernelTable.all.last { $0.kind == kind }?.features == [])
    }
    #expect(KernelTable.depthwise.last?.features == [])
  }

  @Test func knowsTheNamesThatUsersGive() {
    #expect(CPUFeatures(name: "portable".utf8) == [])
    #expect(CPUFeatures(name: "avx2".utf8) == .avx2)
    #expect(CPUFeatures(name: "avxvnni".utf8) == [.avx2, .avxvnni])
    #expect(CPUFeatures(name: "vnni".utf8) == [.avx2, .avxvnni, .avx512vnni])
    #expect(CPUFeatures(name: "popcount".utf8) == [.avx2, .avxvnni, .avx512vnni, .avx512popcount])
    #expect(CPUFeatures(name: "AVX2".utf8) == nil)
    #expect(CPUFeatures(name: "".utf8) == nil)
  }
}
