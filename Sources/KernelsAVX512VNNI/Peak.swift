import CInstructions

/// Executes `20 * iterations` independent dot-product instructions on registers, 128 operations each (a
/// multiplication and an addition for each of 64 bytes): the ceiling that benchmarks compare kernels with.
package func peakDotProductsAVX512VNNI(iterations: Int) -> Int32 {
  var accumulators = InlineArray<20, SIMD16<Int32>>(repeating: .zero)
  let x = SIMD16<Int32>(repeating: Int32(truncatingIfNeeded: iterations))
  for _ in 0..<iterations {
    for i in 0..<20 { accumulators[i] = dot4_x16(accumulators[i], x, x) }
  }
  var sum = SIMD16<Int32>.zero
  for i in 0..<20 { sum = sum &+ accumulators[i] }
  return sum[0]
}
