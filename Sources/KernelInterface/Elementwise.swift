import Numerics

/// Loops over the bytes of activations. Outputs may be one of the inputs. Kernels read at most 64 bytes behind the
/// inputs.
package struct ElementwiseKernels: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  package let add: @Sendable (AddArguments, _ count: Int) -> Void
  package let multiply: @Sendable (MultiplyArguments, _ count: Int) -> Void

  package init(
    _ name: StaticString, needs features: CPUFeatures, add: @escaping @Sendable (AddArguments, Int) -> Void,
    multiply: @escaping @Sendable (MultiplyArguments, Int) -> Void
  ) {
    self.name = name
    self.features = features
    self.add = add
    self.multiply = multiply
  }
}

/// `output[i] = clamp(zeroPoint + (a[i] * multiplierA + b[i] * multiplierB + constant) >> shift)`, wrapping;
/// `constant` holds the operands' zero points and the rounding.
///
/// - Requires: magnitudes of the multipliers of at most 2^21, shifts of 1 to 30.
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

/// `output[i] = clamp(zeroPoint + requantize((a[i] - zeroPointA) * (b[i] - zeroPointB), multiplier, shift))`.
package struct MultiplyArguments {
  package var a: UnsafePointer<UInt8>
  package var b: UnsafePointer<UInt8>
  package var output: UnsafeMutablePointer<UInt8>
  package var zeroPointA: Int32
  package var zeroPointB: Int32
  package var multiplier: Int32
  package var shift: Int32
  package var zeroPoint: Int32
  package var minimum: Int32
  package var maximum: Int32

  package init(
    a: UnsafePointer<UInt8>, b: UnsafePointer<UInt8>, output: UnsafeMutablePointer<UInt8>, zeroPointA: Int32,
    zeroPointB: Int32, multiplier: Int32, shift: Int32, zeroPoint: Int32, minimum: Int32, maximum: Int32
  ) {
    self.a = a
    self.b = b
    self.output = output
    self.zeroPointA = zeroPointA
    self.zeroPointB = zeroPointB
    self.multiplier = multiplier
    self.shift = shift
    self.zeroPoint = zeroPoint
    self.minimum = minimum
    self.maximum = maximum
  }
}

// Loops that compilers vectorise by themselves, for instruction sets to compile with their own flags. They take
// numbers, since a function that other modules inline must not name this package's types. Where the output is an input,
// compilers must see one pointer: of two that may overlap they would take bytes one by one.

@inlinable @inline(__always)
package func addBytes(
  _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<UInt8>, _ count: Int,
  multiplierA: Int32, multiplierB: Int32, constant: Int32, shift: Int32, zeroPoint: Int32, minimum: Int32,
  maximum: Int32
) {
  @inline(__always) func run(_ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>) {
    for i in 0..<count {
      let sum = Int32(a[i]) &* multiplierA &+ Int32(b[i]) &* multiplierB &+ constant
      output[i] = UInt8(truncatingIfNeeded: min(max((sum &>> shift) &+ zeroPoint, minimum), maximum))
    }
  }
  if a == output {
    run(UnsafePointer(output), b)
  } else if b == output {
    run(a, UnsafePointer(output))
  } else {
    run(a, b)
  }
}

@inlinable @inline(__always)
package func multiplyBytes(
  _ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>, _ output: UnsafeMutablePointer<UInt8>, _ count: Int,
  zeroPointA: Int32, zeroPointB: Int32, multiplier: Int32, shift: Int32, zeroPoint: Int32, minimum: Int32,
  maximum: Int32
) {
  @inline(__always) func run(_ a: UnsafePointer<UInt8>, _ b: UnsafePointer<UInt8>) {
    for i in 0..<count {
      output[i] = requantizeToByte(
        (Int32(a[i]) &- zeroPointA) &* (Int32(b[i]) &- zeroPointB), multiplier, shift, zeroPoint: zeroPoint,
        minimum: minimum, maximum: maximum)
    }
  }
  if a == output {
    run(UnsafePointer(output), b)
  } else if b == output {
    run(a, UnsafePointer(output))
  } else {
    run(a, b)
  }
}
