/// Loops over bytes that compilers vectorise by themselves. Written once; every instruction set's module
/// compiles its own copy with its own flags, so nothing but the wrappers there may call them.
package struct ElementwiseKernels: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  package let add: @Sendable (AddArguments, _ count: Int) -> Void
  package let quantize: @Sendable (QuantizeArguments, _ count: Int) -> Void

  package init(
    _ name: StaticString, needs features: CPUFeatures, add: @escaping @Sendable (AddArguments, Int) -> Void,
    quantize: @escaping @Sendable (QuantizeArguments, Int) -> Void
  ) {
    self.name = name
    self.features = features
    self.add = add
    self.quantize = quantize
  }
}

/// `output[i] = clamp(zeroPoint + (a[i] * multiplierA + b[i] * multiplierB + constant) >> shift)`, wrapping;
/// `constant` holds the operands' zero points and the rounding.
package struct AddArguments {
  package var a: UnsafePointer<UInt8>
  package var b: UnsafePointer<UInt8>
  package var output: UnsafeMutablePointer<UInt8>
  package var multiplierA: Int32
  package var multiplierB: Int32
  package var constant: Int32
  package var shift: Int32
  package var zeroPoint: Int32
  package var minimum: Int32
  package var maximum: Int32

  package init(
    a: UnsafePointer<UInt8>, b: UnsafePointer<UInt8>, output: UnsafeMutablePointer<UInt8>, multiplierA: Int32,
    multiplierB: Int32, constant: Int32, shift: Int32, zeroPoint: Int32, minimum: Int32, maximum: Int32
  ) {
    self.a = a
    self.b = b
    self.output = output
    self.multiplierA = multiplierA
    self.multiplierB = multiplierB
    self.constant = constant
    self.shift = shift
    self.zeroPoint = zeroPoint
    self.minimum = minimum
    self.maximum = maximum
  }
}

/// Takes numbers, since a function that other modules inline must not name this package's types.
@inlinable @inline(__always)
package func addBytes(
  _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<UInt8>, _ count: Int,
  multiplierA: Int32, multiplierB: Int32, constant: Int32, shift: Int32, zeroPoint: Int32, minimum: Int32,
  maximum: Int32
) {
  for i in 0..<count {
    let sum = Int32(a[i]) &* multiplierA &+ Int32(b[i]) &* multiplierB &+ constant
    output[i] = UInt8(truncatingIfNeeded: min(max((sum &>> shift) &+ zeroPoint, minimum), maximum))
  }
}

/// `output[i] = clamp(roundHalfEven(input[i] / scale) + zeroPoint)` within 0 ... maximum; NaN gives the zero
/// point.
package struct QuantizeArguments {
  package var input: UnsafePointer<Float>
  package var output: UnsafeMutablePointer<UInt8>
  package var scale: Float
  package var zeroPoint: Int32
  package var maximum: Int32

  package init(
    input: UnsafePointer<Float>, output: UnsafeMutablePointer<UInt8>, scale: Float, zeroPoint: Int32,
    maximum: Int32
  ) {
    self.input = input
    self.output = output
    self.scale = scale
    self.zeroPoint = zeroPoint
    self.maximum = maximum
  }
}

/// Beyond +-512 only the sign matters, so numbers are cut off before they are rounded; rounding to an integer
/// is then an addition: the low bits of x + 1.5 * 2^23 are x rounded half to even.
@inlinable @inline(__always)
package func quantizeReals(
  _ input: UnsafePointer<Float>, _ output: UnsafeMutablePointer<UInt8>, _ count: Int, scale: Float,
  zeroPoint: Int32,
  maximum: Int32
) {
  for i in 0..<count {
    let x = input[i] / scale
    let low: Float = x > -512 ? x : (x <= -512 ? -512 : 0)  // NaN: 0
    let bounded: Float = low < 512 ? low : 512
    let rounded = Int32(bitPattern: (bounded + 12_582_912).bitPattern) &- 0x4B40_0000
    output[i] = UInt8(truncatingIfNeeded: min(max(rounded &+ zeroPoint, 0), maximum))
  }
}
