/// Contents for constants that a text names but that no file holds, so that small texts (tests, examples) stay
/// complete: a function of the name and the type alone. Floats are multiples of 1/64 in [-1, 1], so that short sums
/// and products are exact; the name decides where only part of the range makes sense:
///
/// | the name contains | contents |
/// |---|---|
/// | `variance` | 1/2 … 3/2 |
/// | `scale` | 1/64 … 1 |
/// | `multiplier` | 2^30 … 2^31 - 1 |
/// | `shift` | 32 … 40 |
package func seededContents(_ name: String, _ type: TensorType) -> TensorStorage? {
  guard let count = type.shape.elementCount, count <= maximumSeededCount else { return nil }
  var generator = NamedGenerator(name)
  switch type.element {
  case .f32:
    let range = name.contains("variance") ? 32...96 : name.contains("scale") ? 1...64 : -64...64
    return TensorStorage(copying: (0..<count).map { _ in Float(generator.next(range)) / 64 })
  case .i64: return TensorStorage(copying: (0..<count).map { _ in Int64(generator.next(0...7)) })
  case .i32:
    let range =
      name.contains("multiplier") ? 1 << 30...1 << 31 - 1 : name.contains("shift") ? 32...40 : -1000...1000
    return TensorStorage(copying: (0..<count).map { _ in Int32(generator.next(range)) })
  case .u8: return TensorStorage(copying: (0..<count).map { _ in UInt8(generator.next(0...255)) })
  case .i8: return TensorStorage(copying: (0..<count).map { _ in Int8(generator.next(-127...127)) })
  case .bool: return TensorStorage(copying: (0..<count).map { _ in UInt8(generator.next(0...1)) })
  case .quantized(let q) where q.isSigned:
    let largest = max((1 << (q.bits - 1)) - 1, 1)
    return TensorStorage(copying: (0..<count).map { _ in Int8(generator.next(-largest...largest)) })
  case .quantized(let q):
    return TensorStorage(copying: (0..<count).map { _ in UInt8(generator.next(0...(1 << q.bits - 1))) })
  }
}

/// Seeded constants stay small: they are for tests.
private let maximumSeededCount = 1 << 22

/// SplitMix64 started from the FNV-1a hash of a name.
private struct NamedGenerator {
  private var state: UInt64 = 0xcbf2_9ce4_8422_2325

  init(_ name: String) { for byte in name.utf8 { state = (state ^ UInt64(byte)) &* 0x100_0000_01b3 } }

  mutating func next(_ range: ClosedRange<Int>) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    z ^= z >> 31
    return range.lowerBound + Int(z % UInt64(range.count))
  }
}
