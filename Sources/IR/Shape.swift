/// One extent of a shape or one entry of a shape computation.
package enum Extent: Hashable, Sendable {
  case known(Int)
  /// The symbolic batch size `N`.
  case batch
  /// An integer that is not known at compile time (only in value facts, never in a shape).
  case unknown

  package var value: Int? { if case .known(let n) = self { n } else { nil } }
}

extension Extent: CustomStringConvertible {
  package var description: String {
    switch self {
    case .known(let n): "\(n)"
    case .batch: "N"
    case .unknown: "?"
    }
  }
}

/// The logical shape of a tensor: fixed extents and at most the symbolic batch `N`.
package struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, CustomStringConvertible {
  package var extents: [Extent]

  package init(_ extents: [Extent]) { self.extents = extents }
  package init(_ sizes: [Int]) { extents = sizes.map { .known($0) } }
  package init(arrayLiteral elements: Int...) { self.init(elements) }

  package var rank: Int { extents.count }
  package var isStatic: Bool { extents.allSatisfy { $0.value != nil } }
  package var isBatched: Bool { extents.contains(.batch) }
  package subscript(axis: Int) -> Extent { extents[axis] }

  /// The fixed extent of `axis`, or nil for the batch.
  package func size(_ axis: Int) -> Int? { extents.indices.contains(axis) ? extents[axis].value : nil }

  /// All extents when the shape is static.
  package var sizes: [Int]? { isStatic ? extents.compactMap(\.value) : nil }

  /// The number of elements when static and it fits an Int.
  package var elementCount: Int? {
    guard let sizes else { return nil }
    return checkedProduct(sizes)
  }

  /// The extents with the batch replaced by `batch`.
  package func bound(batch: Int) -> [Int] { extents.map { $0.value ?? batch } }

  /// `[N, 3, 32, 32]`
  package var description: String { "[" + extents.map(\.description).joined(separator: ", ") + "]" }
}

/// The product of non-negative sizes, or nil on overflow or a negative size.
package func checkedProduct(_ sizes: [Int]) -> Int? {
  var product = 1
  for size in sizes {
    guard size >= 0 else { return nil }
    let (next, overflow) = product.multipliedReportingOverflow(by: size)
    if overflow { return nil }
    product = next
  }
  return product
}

/// A negative axis counts from the end, as in ONNX; nil when out of range.
package func resolvedAxis(_ axis: Int, rank: Int) -> Int? {
  let resolved = axis < 0 ? axis + rank : axis
  return (0..<rank).contains(resolved) ? resolved : nil
}
