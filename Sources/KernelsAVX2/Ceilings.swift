import CInstructions

/// Executes `10 * iterations` multiplications of 16-bit pairs, each with its addition: 32 operations, the
/// inner loop of 8-bit weights without loads and widening.
package func peakDotWordsAVX2(iterations: Int) -> Int32 {
  let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
  var accumulators = InlineArray<10, Lanes> { _ in .zero }
  for _ in 0..<iterations {
    for i in 0..<10 { accumulators[i] = accumulators[i] &+ dot2_words_x8(accumulators[i], x) }
  }
  return sum(accumulators)
}

/// Executes `10 * iterations` multiplications of byte pairs, each with its 16-bit addition: 64 operations,
/// the inner loop of 4-bit weights.
package func peakDotBytesAVX2(iterations: Int) -> Int32 {
  let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
  var accumulators = InlineArray<10, Lanes> { _ in .zero }
  for _ in 0..<iterations {
    for i in 0..<10 { accumulators[i] = add_words_x8(accumulators[i], dot2_bytes_x8(accumulators[i], x)) }
  }
  return sum(accumulators)
}

@inline(__always)
private func sum(_ accumulators: InlineArray<10, Lanes>) -> Int32 {
  var sum = Lanes.zero
  for i in 0..<10 { sum = sum &+ accumulators[i] }
  return sum[0]
}
