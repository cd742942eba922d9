/// Bounds that keep all sizes and offsets far from overflow.
package enum Limits {
  package static let extent = 1 << 24
  package static let rank = 6
  /// Bytes of a tensor, of the arena and of a padded image; also iterations of a copy.
  package static let bytes = 1 << 31
  package static let windowNumber = 65_535
  package static let windowTaps = 1 << 24
  /// Bits of the numbers that convolutions of bits multiply: more planes are slower than bytes.
  package static let bitPlanes = 4
  /// Kernels may read, and never write, this far behind the last byte that they need.
  package static let slackBytes = 128
}

/// The product, or nil when it leaves 0 ... `limit`.
package func boundedProduct(_ factors: Int..., limit: Int = Limits.bytes) -> Int? {
  var product = 1
  for factor in factors {
    let (result, overflow) = product.multipliedReportingOverflow(by: factor)
    guard !overflow, factor >= 0, result <= limit else { return nil }
    product = result
  }
  return product
}
