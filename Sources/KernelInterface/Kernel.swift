/// The operation and weight width a kernel serves; each has one packed weight layout for all instruction
/// sets.
package enum KernelKind: UInt8, CaseIterable, Sendable {
  case dense8, dense4, dense2, palette, binary, ternary
}

/// Groups of instructions that kernels ask for. A group stands for all that its kernels' compiler flags
/// allow.
package struct CPUFeatures: OptionSet, Hashable, Sendable {
  package var rawValue: UInt32

  package init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// AVX2, FMA and BMI (Haswell and later).
  package static let avx2 = CPUFeatures(rawValue: 1)
  /// AVX512 F, CD, BW, DQ, VL and VNNI (Cascade Lake and Zen 4 and later).
  package static let avx512vnni = CPUFeatures(rawValue: 2)
  /// AVX-VNNI: dot products of bytes in 256 bits (Alder Lake, Zen 5 and later). Bit 3.
  package static let avxvnni = CPUFeatures(rawValue: 8)
  /// AVX512 VPOPCNTDQ, besides AVX512 VNNI (Ice Lake and Zen 4 and later).
  package static let avx512popcount = CPUFeatures(rawValue: 1 << 8)

  /// The vectors of every 64-bit Arm processor.
  package static let neon = CPUFeatures(rawValue: 1 << 16)
  /// Dot products of bytes (Armv8.2, Cortex-A75 and Neoverse N1 and later).
  package static let dotProduct = CPUFeatures(rawValue: 1 << 17)
  /// Matrix products of bytes (Armv8.6, Cortex-A510 and Neoverse V1 and later).
  package static let i8mm = CPUFeatures(rawValue: 1 << 18)
}

extension CPUFeatures {
  /// The features that a name from a user allows: `portable`, `avx2`, `avxvnni`, `vnni` or `popcount`; nil for any other.
  /// Intersect them with the host's before selecting a kernel.
  @inlinable
  package init?<Name: Sequence>(name: Name) where Name.Element == UInt8 {
    func isName(_ expected: StaticString) -> Bool {
      name.elementsEqual(UnsafeBufferPointer(start: expected.utf8Start, count: expected.utf8CodeUnitCount))
    }
    if isName("portable") {
      self = []
    } else if isName("avx2") {
      self = .avx2
    } else if isName("avxvnni") {
      self = [.avx2, .avxvnni]
    } else if isName("vnni") {
      self = [.avx2, .avxvnni, .avx512vnni]
    } else if isName("popcount") {
      self = [.avx2, .avxvnni, .avx512vnni, .avx512popcount]
    } else {
      return nil
    }
  }
}

/// One entry of the list of dense kernels that drives dispatch, tests and benchmarks.
package struct Kernel: Sendable {
  /// Kind and instruction set, as printed in reports: `dense8_avx2`.
  package let name: StaticString
  package let kind: KernelKind
  /// What the processor must have.
  package let features: CPUFeatures
  /// It reads inputs and 8-bit weights widened to 16 bits, see `ConvolutionArguments`.
  package let readsWords: Bool
  /// It honours `outputRowStride`; others take the output's pixels as one row.
  package let walksRows: Bool
  package let function: ConvolutionFunction

  package init(
    _ name: StaticString, _ kind: KernelKind, needs features: CPUFeatures, readsWords: Bool = false,
    walksRows: Bool = false, _ function: @escaping ConvolutionFunction
  ) {
    self.name = name
    self.kind = kind
    self.features = features
    self.readsWords = readsWords
    self.walksRows = walksRows
    self.function = function
  }
}

/// A loop of nothing but the arithmetic instructions that some kernels are made of: their ceiling.
package struct Peak: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  package let kinds: [KernelKind]
  /// Multiplications and additions.
  package let operationsPerIteration: Int
  package let function: @Sendable (_ iterations: Int) -> Int32

  package init(
    _ name: StaticString, _ kinds: [KernelKind], needs features: CPUFeatures, operationsPerIteration: Int,
    _ function: @escaping @Sendable (_ iterations: Int) -> Int32
  ) {
    self.name = name
    self.kinds = kinds
    self.features = features
    self.operationsPerIteration = operationsPerIteration
    self.function = function
  }
}

/// A loop that does nothing but read memory: the ceiling of kernels that are bound by it.
package struct MemoryReader: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  /// Returns the sum of all words, so that none is left out.
  package let function: @Sendable (_ memory: UnsafeRawPointer, _ blocks: Int) -> Int32

  package static var blockBytes: Int { 512 }

  package init(
    _ name: StaticString, needs features: CPUFeatures,
    _ function: @escaping @Sendable (_ memory: UnsafeRawPointer, _ blocks: Int) -> Int32
  ) {
    self.name = name
    self.features = features
    self.function = function
  }
}
