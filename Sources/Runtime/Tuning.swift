import KernelInterface

/// Which of the kernels that give the same bits runs each instruction: what a measurement found fastest.
package struct Tuning: Sendable {
  /// For every instruction a name of `KernelTable.layers`. nil, a missing entry, and a kernel that cannot run the
  /// instruction or that the features rule out, all stand for the usual choice.
  private let kernels: [StaticString?]

  package static let none = Tuning([])

  package init(_ kernels: [StaticString?]) {
    self.kernels = kernels
  }

  package func kernel(_ instruction: Int) -> StaticString? {
    kernels.indices.contains(instruction) ? kernels[instruction] : nil
  }
}

extension KernelTable {
  /// A kernel that runs layers with weights, of any family.
  package struct Layer: Sendable {
    package var name: StaticString
    package var features: CPUFeatures
  }

  /// Kernels of all families, fastest first within each kind.
  package static var layers: [Layer] {
    var layers: [Layer] = []
    for kernel in all { layers.append(Layer(name: kernel.name, features: kernel.features)) }
    for kernel in winograd { layers.append(Layer(name: kernel.name, features: kernel.features)) }
    for kernel in depthwise { layers.append(Layer(name: kernel.name, features: kernel.features)) }
    for kernels in matrixVector { layers.append(Layer(name: kernels.name, features: kernels.features)) }
    return layers
  }

  /// The kernel of this name if it is of the kind and within the features; otherwise the fastest.
  static func select(_ kind: KernelKind, _ features: CPUFeatures, preferred name: StaticString?) -> Kernel {
    guard let name else { return select(kind, features) }
    for kernel in all where kernel.kind == kind && isSame(kernel.name, name) {
      if features.isSuperset(of: kernel.features) { return kernel }
    }
    return select(kind, features)
  }

  /// The one of this name within the features; without a name, one for the instruction set of the fastest `direct` kernel:
  /// a newer one multiplies bytes so fast that words in fewer products do not gain.
  static func selectWinograd(
    _ features: CPUFeatures, direct: Kernel, preferred name: StaticString?
  ) -> WinogradKernel? {
    for kernel in winograd where features.isSuperset(of: kernel.features) {
      if let name {
        if isSame(kernel.name, name) { return kernel }
      } else if kernel.features == direct.features {
        return kernel
      }
    }
    return nil
  }

  static func selectDepthwise(
    _ features: CPUFeatures, isWide: Bool, preferred name: StaticString?
  )
    -> DepthwiseKernel
  {
    guard let name else { return selectDepthwise(features, isWide: isWide) }
    for kernel in depthwise where isSame(kernel.name, name) {
      if features.isSuperset(of: kernel.features) { return kernel }
    }
    return selectDepthwise(features, isWide: isWide)
  }

  static func matrixVector(named name: StaticString, _ features: CPUFeatures) -> MatrixVectorKernels? {
    for kernels in matrixVector where isSame(kernels.name, name) && features.isSuperset(of: kernels.features)
    {
      return kernels
    }
    return nil
  }
}

private func isSame(_ a: StaticString, _ b: StaticString) -> Bool {
  guard a.utf8CodeUnitCount == b.utf8CodeUnitCount else { return false }
  for index in 0..<a.utf8CodeUnitCount where a.utf8Start[index] != b.utf8Start[index] { return false }
  return true
}
