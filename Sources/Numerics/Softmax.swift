/// `exp(x - max) / Σ exp(x - max)` of `count` numbers that lie `stride` apart. The sum is taken in order and the
/// exponential is qcc's own, so that the evaluator and the interpreter give the same bits on every platform.
/// - Requires: count >= 1. `from` and `to` may be the same memory.
package func normalizedExponentials(
  _ from: UnsafePointer<Float>, _ to: UnsafeMutablePointer<Float>, count: Int, stride: Int
) {
  var largest = from[0]
  for i in 1..<max(count, 1) { largest = max(largest, from[i &* stride]) }
  var sum: Float = 0
  for i in 0..<count {
    let power = exponential(from[i &* stride] - largest)
    to[i &* stride] = power
    sum += power
  }
  for i in 0..<count { to[i &* stride] /= sum }
}

/// e to the power of x, for x <= 0, within a relative 2e-7; 0 below -87, NaN for NaN.
package func exponential(_ x: Float) -> Float {
  guard x > -87 else { return x.isNaN ? x : 0 }
  let magic: Float = 12_582_912  // 1.5 * 2^23: rounds what is added to it
  let rounded = min(x, 0) * 1.442_695 + magic
  let n = rounded - magic
  // ln 2 in two parts, the first short enough for n * ln 2 to be exact (Cody and Waite).
  let r = (min(x, 0) - n * 0.693_359_375) + n * 2.121_944_4e-4
  // The Taylor series up to r^7; |r| <= 0.3466, so the rest is below 2^-28.
  var p: Float = 1 / 5040
  p = p * r + 1 / 720
  p = p * r + 1 / 120
  p = p * r + 1 / 24
  p = p * r + 1 / 6
  p = p * r + 0.5
  p = p * r + 1
  p = p * r + 1
  let power = Int32(bitPattern: rounded.bitPattern) &- 0x4B40_0000
  return p * Float(bitPattern: UInt32(bitPattern: (power &+ 127) &<< 23))
}
