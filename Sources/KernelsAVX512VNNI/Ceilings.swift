import CInstructions

/// Executes `20 * iterations` independent dot-product instructions on registers, 128 operations each (a
/// multiplication and an addition for each of 64 bytes): the ceiling that benchmarks compare kernels with.
package func peakDotProductsAVX512VNNI(iterations: Int) -> Int32 {
  let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
  var accumulators = InlineArray<20, Lanes> { _ in .zero }
  for _ in 0..<iterations {
    for i in 0..<20 { accumulators[i] = dot4_x16(accumulators[i], x, x) }
  }
  var sum = Lanes.zero
  for i in 0..<20 { sum = sum &+ accumulators[i] }
  return sum[0]
}

/// Executes `12 * iterations` times what the kernels of bits do for a vector of weights: an exclusive or, the count and
/// an addition, 1024 operations (a multiplication and an addition for each of 512 bits).
package func peakBitCountsAVX512Popcount(iterations: Int) -> Int32 {
  let x = Lanes(repeating: Int32(truncatingIfNeeded: iterations))
  var a = (x, x, x, x), b = a, c = a
  for _ in 0..<iterations {
    a = (counted(a.0, x), counted(a.1, x), counted(a.2, x), counted(a.3, x))
    b = (counted(b.0, x), counted(b.1, x), counted(b.2, x), counted(b.3, x))
    c = (counted(c.0, x), counted(c.1, x), counted(c.2, x), counted(c.3, x))
  }
  let sum = a.0 &+ a.1 &+ a.2 &+ a.3 &+ b.0 &+ b.1 &+ b.2 &+ b.3 &+ c.0 &+ c.1 &+ c.2 &+ c.3
  return sum[0]
}

@inline(__always)
private func counted(_ sum: Lanes, _ x: Lanes) -> Lanes { sum &+ count_bits_x16(sum ^ x) }
