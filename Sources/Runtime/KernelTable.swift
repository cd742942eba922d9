import CInstructions
import KernelInterface
import KernelsPortable

#if arch(x86_64) && os(Linux)
  import KernelsAVX2
  import KernelsAVX512VNNI
  import KernelsAVXVNNI
#elseif arch(arm64) && canImport(KernelsNEON)
  import KernelsDotProduct
  import KernelsI8MM
  import KernelsNEON
#endif

/// The list of all kernels of this build: dispatch, tests and benchmarks read nothing else. Its entries are made here:
/// code of a module for some instructions, were it only an initializer, must not run on processors that lack them.
package enum KernelTable {
  /// Fastest first within each kind; the portable kernels, which need no features, end the list.
  package static var all: [Kernel] {
    var kernels: [Kernel] = []
    #if arch(x86_64) && os(Linux)
      kernels.append(
        Kernel("dense8_avx512vnni", .dense8, needs: .avx512vnni, walksRows: true, convolutionDense8AVX512VNNI)
      )
      kernels.append(
        Kernel("dense4_avx512vnni", .dense4, needs: .avx512vnni, walksRows: true, convolutionDense4AVX512VNNI)
      )
      kernels.append(Kernel("dense2_avx512vnni", .dense2, needs: .avx512vnni, convolutionDense2AVX512VNNI))
      kernels.append(Kernel("palette_avx512vnni", .palette, needs: .avx512vnni, convolutionPaletteAVX512VNNI))
      kernels.append(
        Kernel("binary_avx512popcount", .binary, needs: .avx512popcount, convolutionBinaryAVX512Popcount))
      kernels.append(
        Kernel("ternary_avx512popcount", .ternary, needs: .avx512popcount, convolutionTernaryAVX512Popcount))
      kernels.append(
        Kernel(
          "dense8_avx512vnni_3x8", .dense8, needs: .avx512vnni, walksRows: true,
          convolutionDense8AVX512VNNIOf3))
      kernels.append(
        Kernel(
          "dense8_avx512vnni_2x8", .dense8, needs: .avx512vnni, walksRows: true,
          convolutionDense8AVX512VNNIOf2))
      kernels.append(
        Kernel(
          "dense4_avx512vnni_3x8", .dense4, needs: .avx512vnni, walksRows: true,
          convolutionDense4AVX512VNNIOf3))
      kernels.append(
        Kernel(
          "dense4_avx512vnni_2x8", .dense4, needs: .avx512vnni, walksRows: true,
          convolutionDense4AVX512VNNIOf2))
      kernels.append(
        Kernel(
          "dense8_avxvnni", .dense8, needs: [.avx2, .avxvnni], walksRows: true, convolutionDense8AVXVNNI))
      kernels.append(
        Kernel(
          "dense4_avxvnni", .dense4, needs: [.avx2, .avxvnni], walksRows: true, convolutionDense4AVXVNNI))
      kernels.append(
        Kernel("dense8_avx2", .dense8, needs: .avx2, readsWords: true, walksRows: true, convolutionDense8AVX2)
      )
      kernels.append(Kernel("dense4_avx2", .dense4, needs: .avx2, walksRows: true, convolutionDense4AVX2))
      kernels.append(Kernel("dense2_avx2", .dense2, needs: .avx2, convolutionDense2AVX2))
      kernels.append(Kernel("palette_avx2", .palette, needs: .avx2, convolutionPaletteAVX2))
      kernels.append(Kernel("binary_avx2", .binary, needs: .avx2, convolutionBinaryAVX2))
      kernels.append(Kernel("ternary_avx2", .ternary, needs: .avx2, convolutionTernaryAVX2))
    #elseif arch(arm64) && canImport(KernelsNEON)
      kernels.append(Kernel("dense8_i8mm", .dense8, needs: .i8mm, convolutionDense8I8MM))
      kernels.append(Kernel("dense4_i8mm", .dense4, needs: .i8mm, convolutionDense4I8MM))
      kernels.append(Kernel("dense2_i8mm", .dense2, needs: .i8mm, convolutionDense2I8MM))
      kernels.append(Kernel("palette_i8mm", .palette, needs: .i8mm, convolutionPaletteI8MM))
      kernels.append(Kernel("dense8_dotprod", .dense8, needs: .dotProduct, convolutionDense8DotProduct))
      kernels.append(Kernel("dense4_dotprod", .dense4, needs: .dotProduct, convolutionDense4DotProduct))
      kernels.append(Kernel("dense2_dotprod", .dense2, needs: .dotProduct, convolutionDense2DotProduct))
      kernels.append(Kernel("palette_dotprod", .palette, needs: .dotProduct, convolutionPaletteDotProduct))
      kernels.append(Kernel("dense8_neon", .dense8, needs: .neon, convolutionDense8NEON))
      kernels.append(Kernel("dense4_neon", .dense4, needs: .neon, convolutionDense4NEON))
      kernels.append(Kernel("dense2_neon", .dense2, needs: .neon, convolutionDense2NEON))
      kernels.append(Kernel("palette_neon", .palette, needs: .neon, convolutionPaletteNEON))
      kernels.append(Kernel("binary_neon", .binary, needs: .neon, convolutionBinaryNEON))
      kernels.append(Kernel("ternary_neon", .ternary, needs: .neon, convolutionTernaryNEON))
    #endif
    for kind in KernelKind.allCases { kernels.append(portable(kind)) }
    return kernels
  }

  /// Depthwise convolutions, fastest first: those for wide windows, then the others.
  package static var depthwise: [DepthwiseKernel] {
    var kernels: [DepthwiseKernel] = []
    #if arch(x86_64) && os(Linux)
      kernels.append(
        DepthwiseKernel(
          "depthwise_planes_avx512vnni", needs: .avx512vnni, lanes: 4, isForWideWindows: true,
          preparedBytes: depthwisePlanesPreparedBytesAVX512VNNI, prepare: depthwisePlanesPrepareAVX512VNNI,
          scratchBytes: depthwisePlanesScratchBytesAVX512VNNI, convolutionDepthwisePlanesAVX512VNNI))
      kernels.append(
        DepthwiseKernel(
          "depthwise_avx512vnni", needs: .avx512vnni, lanes: 0,
          preparedBytes: depthwisePreparedBytesAVX512VNNI, prepare: depthwisePrepareAVX512VNNI,
          scratchBytes: depthwiseScratchBytesAVX512VNNI, convolutionDepthwiseAVX512VNNI))
      kernels.append(
        DepthwiseKernel(
          "depthwise_avx2", needs: .avx2, lanes: 2, preparedBytes: depthwisePreparedBytesAVX2,
          prepare: depthwisePrepareAVX2, scratchBytes: depthwiseScratchBytesAVX2, convolutionDepthwiseAVX2))
    #elseif arch(arm64) && canImport(KernelsNEON)
      kernels.append(
        DepthwiseKernel(
          "depthwise_dotprod", needs: .dotProduct, lanes: 4, preparedBytes: depthwisePreparedBytesDotProduct,
          prepare: depthwisePrepareDotProduct, scratchBytes: depthwiseScratchBytesDotProduct,
          convolutionDepthwiseDotProduct))
      kernels.append(
        DepthwiseKernel(
          "depthwise_neon", needs: .neon, lanes: 0, preparedBytes: depthwisePreparedBytesNEON,
          prepare: depthwisePrepareNEON, scratchBytes: depthwiseScratchBytesNEON, convolutionDepthwiseNEON))
    #endif
    kernels.append(depthwisePortable)
    return kernels
  }

  /// The fastest that `features` allow.
  ///
  /// - Parameter isWide: whether windows are wide, see `DepthwiseKernel.isForWideWindows`.
  package static func selectDepthwise(_ features: CPUFeatures, isWide: Bool = false) -> DepthwiseKernel {
    for kernel in depthwise where features.isSuperset(of: kernel.features) {
      if isWide || !kernel.isForWideWindows { return kernel }
    }
    return depthwisePortable
  }

  /// Convolutions with 3 x 3 windows in fewer products, fastest first.
  package static var winograd: [WinogradKernel] {
    var kernels: [WinogradKernel] = []
    #if arch(x86_64) && os(Linux)
      kernels.append(
        WinogradKernel(
          "winograd_avx2", needs: .avx2, preparedBytes: winogradPreparedBytesAVX2,
          prepare: winogradPrepareAVX2, scratchBytes: winogradScratchBytesAVX2, convolutionWinogradAVX2))
    #endif
    return kernels
  }

  /// What gathers planes of bits, fastest first.
  package static var bitImage: [BitImageKernel] {
    var kernels: [BitImageKernel] = []
    #if arch(x86_64) && os(Linux)
      kernels.append(BitImageKernel("bits_avx512vnni", needs: .avx512vnni, packBitsAVX512VNNI))
      kernels.append(BitImageKernel("bits_avx2", needs: .avx2, packBitsAVX2))
    #elseif arch(arm64) && canImport(KernelsNEON)
      kernels.append(BitImageKernel("bits_neon", needs: .neon, packBitsNEON))
    #endif
    kernels.append(portableBitImage)
    return kernels
  }

  package static var portableBitImage: BitImageKernel {
    BitImageKernel("bits_portable", needs: [], packBitsPortable)
  }

  /// The fastest that `features` allow.
  package static func selectBitImage(_ features: CPUFeatures) -> BitImageKernel {
    for kernel in bitImage where features.isSuperset(of: kernel.features) { return kernel }
    return portableBitImage
  }

  /// The loops over bytes that compilers vectorise, fastest first.
  package static var elementwise: [ElementwiseKernels] {
    var kernels: [ElementwiseKernels] = []
    #if arch(x86_64) && os(Linux)
      kernels.append(
        ElementwiseKernels(
          "elementwise_avx512vnni", needs: .avx512vnni, add: addAVX512VNNI, multiply: multiplyAVX512VNNI))
      kernels.append(
        ElementwiseKernels("elementwise_avx2", needs: .avx2, add: addAVX2, multiply: multiplyAVX2))
    #elseif arch(arm64) && canImport(KernelsNEON)
      kernels.append(
        ElementwiseKernels("elementwise_neon", needs: .neon, add: addNEON, multiply: multiplyNEON))
    #endif
    kernels.append(portableElementwise)
    return kernels
  }

  package static var portableElementwise: ElementwiseKernels {
    ElementwiseKernels(
      "elementwise_portable", needs: [], add: addPortable, multiply: multiplyPortable)
  }

  /// The fastest that `features` allow.
  package static func selectElementwise(_ features: CPUFeatures) -> ElementwiseKernels {
    for kernels in elementwise where features.isSuperset(of: kernels.features) { return kernels }
    return portableElementwise
  }

  /// Means and maxima over windows, fastest first.
  package static var pool: [PoolKernels] {
    var kernels: [PoolKernels] = []
    #if arch(x86_64) && os(Linux)
      kernels.append(
        PoolKernels("pool_avx512vnni", needs: .avx512vnni, means: meansAVX512VNNI, maxima: maximaAVX512VNNI))
      kernels.append(PoolKernels("pool_avx2", needs: .avx2, means: meansAVX2, maxima: maximaAVX2))
    #endif
    kernels.append(portablePool)
    return kernels
  }

  package static var portablePool: PoolKernels {
    PoolKernels("pool_portable", needs: [], means: meansPortable, maxima: maximaPortable)
  }

  /// The fastest that `features` allow.
  package static func selectPool(_ features: CPUFeatures) -> PoolKernels {
    for kernels in pool where features.isSuperset(of: kernels.features) { return kernels }
    return portablePool
  }

  /// Real numbers to stored integers, fastest first.
  package static var quantize: [QuantizeKernels] {
    var kernels: [QuantizeKernels] = []
    #if arch(x86_64) && os(Linux)
      kernels.append(
        QuantizeKernels(
          "quantize_avx512vnni", needs: .avx512vnni, run: quantizeRunAVX512VNNI,
          pixels: quantizePixelsAVX512VNNI))
      kernels.append(
        QuantizeKernels("quantize_avx2", needs: .avx2, run: quantizeRunAVX2, pixels: quantizePixelsAVX2))
    #elseif arch(arm64) && canImport(KernelsNEON)
      kernels.append(
        QuantizeKernels("quantize_neon", needs: .neon, run: quantizeRunNEON, pixels: quantizePixelsNEON))
    #endif
    kernels.append(portableQuantize)
    return kernels
  }

  package static var portableQuantize: QuantizeKernels {
    QuantizeKernels("quantize_portable", needs: [], run: quantizeRunPortable, pixels: quantizePixelsPortable)
  }

  /// The fastest that `features` allow.
  package static func selectQuantize(_ features: CPUFeatures) -> QuantizeKernels {
    for kernels in quantize where features.isSuperset(of: kernels.features) { return kernels }
    return portableQuantize
  }

  /// One input row times packed weights, fastest first.
  package static var matrixVector: [MatrixVectorKernels] {
    var kernels: [MatrixVectorKernels] = []
    #if arch(x86_64) && os(Linux)
      kernels.append(
        MatrixVectorKernels(
          "matrixvector_avx512vnni", needs: .avx512vnni, sums8: sums8AVX512VNNI, sums4: sums4AVX512VNNI,
          reals: KernelsAVX512VNNI.sumsToReals, bytes: KernelsAVX512VNNI.sumsToBytes))
      kernels.append(
        MatrixVectorKernels(
          "matrixvector_avx2", needs: .avx2, sums8: sums8AVX2, sums4: sums4AVX2,
          reals: KernelsAVX2.sumsToReals,
          bytes: KernelsAVX2.sumsToBytes))
    #elseif arch(arm64) && canImport(KernelsNEON)
      kernels.append(
        MatrixVectorKernels(
          "matrixvector_i8mm", needs: .i8mm, sums8: sums8I8MM, sums4: sums4I8MM,
          reals: KernelsNEON.sumsToReals,
          bytes: KernelsNEON.sumsToBytes))
      kernels.append(
        MatrixVectorKernels(
          "matrixvector_dotprod", needs: .dotProduct, sums8: sums8DotProduct, sums4: sums4DotProduct,
          reals: KernelsNEON.sumsToReals, bytes: KernelsNEON.sumsToBytes))
      kernels.append(
        MatrixVectorKernels(
          "matrixvector_neon", needs: .neon, sums8: sums8NEON, sums4: sums4NEON,
          reals: KernelsNEON.sumsToReals,
          bytes: KernelsNEON.sumsToBytes))
    #endif
    kernels.append(portableMatrixVector)
    return kernels
  }

  package static var portableMatrixVector: MatrixVectorKernels {
    MatrixVectorKernels(
      "matrixvector_portable", needs: [], sums8: sums8Portable, sums4: sums4Portable,
      reals: sumsToRealsPortable, bytes: sumsToBytesPortable)
  }

  /// The fastest that `features` allow.
  package static func selectMatrixVector(_ features: CPUFeatures) -> MatrixVectorKernels {
    for kernels in matrixVector where features.isSuperset(of: kernels.features) { return kernels }
    return portableMatrixVector
  }

  /// What the instruction sets can do at most, for reports.
  package static var peaks: [Peak] {
    var peaks: [Peak] = []
    #if arch(x86_64) && os(Linux)
      peaks.append(
        Peak(
          "vpdpbusd_512", [.dense8, .dense4, .dense2, .palette], needs: .avx512vnni,
          operationsPerIteration: 20 * 128,
          peakDotProductsAVX512VNNI))
      peaks.append(
        Peak(
          "vpopcntd_512", [.binary, .ternary], needs: .avx512popcount, operationsPerIteration: 12 * 1024,
          peakBitCountsAVX512Popcount))
      peaks.append(
        Peak(
          "vpdpbusd_256", [.dense8, .dense4], needs: [.avx2, .avxvnni], operationsPerIteration: 10 * 64,
          peakDotProductsAVXVNNI))
      peaks.append(
        Peak(
          "vpmaddwd_256", [.dense8, .palette], needs: .avx2, operationsPerIteration: 10 * 32,
          peakDotWordsAVX2))
      peaks.append(
        Peak(
          "vpmaddubsw_256", [.dense4, .dense2], needs: .avx2, operationsPerIteration: 10 * 64,
          peakDotBytesAVX2))
    #endif
    return peaks
  }

  /// Loops that read memory as fast as each instruction set can, fastest first, for reports.
  package static var memoryReaders: [MemoryReader] {
    var readers: [MemoryReader] = []
    #if arch(x86_64) && os(Linux)
      readers.append(MemoryReader("read_512", needs: .avx512vnni, KernelsAVX512VNNI.readMemory))
      readers.append(MemoryReader("read_256", needs: .avx2, KernelsAVX2.readMemory))
    #endif
    readers.append(MemoryReader("read_128", needs: [], KernelsPortable.readMemory))
    return readers
  }

  /// A chain of steps that each wait for the last: their time tells the processor's frequency.
  package static func dependentSteps(_ iterations: Int) -> Int32 {
    dependentStepsPortable(iterations: iterations)
  }
  package static var cyclesPerDependentStep: Int { 2 }

  /// The ceiling of kernels of a kind that need `features`.
  package static func peak(_ kind: KernelKind, _ features: CPUFeatures) -> Peak? {
    for peak in peaks where peak.features == features && peak.kinds.contains(kind) { return peak }
    return nil
  }

  /// The fastest kernel of a kind that `features` allow.
  package static func select(_ kind: KernelKind, _ features: CPUFeatures) -> Kernel {
    for kernel in all where kernel.kind == kind && features.isSuperset(of: kernel.features) {
      return kernel
    }
    return portable(kind)
  }

  /// The kernel of a kind that runs everywhere.
  package static func portable(_ kind: KernelKind) -> Kernel {
    switch kind {
    case .dense8: Kernel("dense8_portable", kind, needs: [], walksRows: true, convolutionDense8Portable)
    case .dense4: Kernel("dense4_portable", kind, needs: [], walksRows: true, convolutionDense4Portable)
    case .dense2: Kernel("dense2_portable", kind, needs: [], walksRows: true, convolutionDense2Portable)
    case .palette: Kernel("palette_portable", kind, needs: [], walksRows: true, convolutionPalettePortable)
    case .binary: Kernel("binary_portable", kind, needs: [], walksRows: true, convolutionBinaryPortable)
    case .ternary: Kernel("ternary_portable", kind, needs: [], walksRows: true, convolutionTernaryPortable)
    }
  }
}

extension CPUFeatures {
  /// What the processor that runs this process has.
  package static var host: CPUFeatures { CPUFeatures(rawValue: qcc_cpu_features()) }
}
