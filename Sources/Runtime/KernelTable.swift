import CInstructions
import KernelInterface
import KernelsPortable

/// The list of all kernels of this build: dispatch, tests and benchmarks read nothing else.
package enum KernelTable {
  /// Fastest first within each kind; the portable kernels, which need no features, end the list.
  package static var all: [Kernel] {
    KernelKind.allCases.map(portable)
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
    case .dense8: Kernel("dense8_portable", kind, needs: [], convolutionDense8Portable)
    case .dense4: Kernel("dense4_portable", kind, needs: [], convolutionDense4Portable)
    case .depthwise: Kernel("depthwise_portable", kind, needs: [], convolutionDepthwisePortable)
    }
  }
}

extension CPUFeatures {
  /// What the processor that runs this process has.
  package static var host: CPUFeatures { CPUFeatures(rawValue: qcc_cpu_features()) }
}
