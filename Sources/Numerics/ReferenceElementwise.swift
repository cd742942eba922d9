/// What happens to an accumulator at the end of an integer operation.
package struct OutputClamp {
  package var zeroPoint: Int32
  package var minimum: Int32
  package var maximum: Int32

  package init(zeroPoint: Int32, minimum: Int32, maximum: Int32) {
    self.zeroPoint = zeroPoint
    self.minimum = minimum
    self.maximum = maximum
  }
}

/// The definition of the integer sum of two activations, in 32 bits:
///
///     y = clamp(zeroPoint + ((a - za) * ma + (b - zb) * mb + 2^(shift-1)) >> shift)
///
/// - Requires: |ma|, |mb| <= 2^21, 1 <= shift <= 30.
package func referenceAdd(
  _ a: UnsafePointer<UInt8>, zeroPoint za: Int32, multiplier ma: Int32, _ b: UnsafePointer<UInt8>,
  zeroPoint zb: Int32,
  multiplier mb: Int32, shift: Int32, _ output: OutputClamp, to y: UnsafeMutablePointer<UInt8>, count: Int
) {
  let half: Int32 = 1 &<< (shift &- 1)
  for i in 0..<count {
    let sum = (Int32(a[i]) &- za) &* ma &+ (Int32(b[i]) &- zb) &* mb &+ half
    let result = (sum &>> shift) &+ output.zeroPoint
    y[i] = UInt8(truncatingIfNeeded: min(max(result, output.minimum), output.maximum))
  }
}

/// The definition of the integer product of two activations; `b` repeats every factor for `run` elements of `a`:
///
///     y = clamp(zeroPoint + requantize((a - za) * (b - zb), multiplier, shift))
package func referenceMultiply(
  _ a: UnsafePointer<UInt8>, zeroPoint za: Int32, _ b: UnsafePointer<UInt8>, zeroPoint zb: Int32, run: Int,
  multiplier: Int32, shift: Int32, _ output: OutputClamp, to y: UnsafeMutablePointer<UInt8>, count: Int
) {
  for i in 0..<count {
    let product = (Int32(a[i]) &- za) &* (Int32(b[i / run]) &- zb)
    y[i] = requantizeToByte(
      product, multiplier, shift, zeroPoint: output.zeroPoint, minimum: output.minimum,
      maximum: output.maximum)
  }
}

/// The definition of a table: `y = table[x]`.
package func referenceLookup(
  _ x: UnsafePointer<UInt8>, table: UnsafePointer<UInt8>, to y: UnsafeMutablePointer<UInt8>, count: Int
) {
  for i in 0..<count { y[i] = table[Int(x[i])] }
}
