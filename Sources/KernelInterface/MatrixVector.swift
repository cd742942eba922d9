import Numerics

/// One input row times packed weights, for layers whose output is a single pixel. They are bound by how fast weights
/// arrive, so kernels walk through the weights of few panels at a time, in order.
package struct MatrixVectorKernels: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  /// Weights of 8 and of 4 bits.
  package let sums8: @Sendable (MatrixVectorArguments) -> Void
  package let sums4: @Sendable (MatrixVectorArguments) -> Void
  /// `count` sums to real numbers, and to bytes.
  package let reals: @Sendable (SumsToRealsArguments, _ count: Int) -> Void
  package let bytes: @Sendable (SumsToBytesArguments, _ count: Int) -> Void

  package init(
    _ name: StaticString, needs features: CPUFeatures,
    sums8: @escaping @Sendable (MatrixVectorArguments) -> Void,
    sums4: @escaping @Sendable (MatrixVectorArguments) -> Void,
    reals: @escaping @Sendable (SumsToRealsArguments, Int) -> Void,
    bytes: @escaping @Sendable (SumsToBytesArguments, Int) -> Void
  ) {
    self.name = name
    self.features = features
    self.sums8 = sums8
    self.sums4 = sums4
    self.reals = reals
    self.bytes = bytes
  }
}

/// `sums[c] = bias[c] + Σ_k x[k] * w[c][k]`, wrapping, for the 16 channels of every panel; weights packed by
/// `WeightPacking` (Numerics).
///
/// - Requires: with 4-bit weights, at most `largestBlocks4` blocks, since kernels may scale sums by 16.
/// - Memory: kernels read 4 bytes of `x` a step (two steps a block with 4-bit weights, so up to 4 bytes behind the
///   row, where weights are zero), whole panels of the weights, and bias and sums of whole panels.
package struct MatrixVectorArguments {
  package var x: UnsafePointer<UInt8>
  package var weights: UnsafeRawPointer
  /// Blocks of 64 bytes in a panel: steps, or pairs of steps with 4-bit weights.
  package var blocks: Int
  package var panels: Int
  package var bias: UnsafePointer<Int32>
  package var sums: UnsafeMutablePointer<Int32>

  /// 2^13 blocks of 8 products of at most 255 * 8 stay within 28 bits.
  package static var largestBlocks4: Int { 1 << 13 }

  package init(
    x: UnsafePointer<UInt8>, weights: UnsafeRawPointer, blocks: Int, panels: Int, bias: UnsafePointer<Int32>,
    sums: UnsafeMutablePointer<Int32>
  ) {
    self.x = x
    self.weights = weights
    self.blocks = blocks
    self.panels = panels
    self.bias = bias
    self.sums = sums
  }
}

/// What becomes of sums: `output[c] = scale[c] * Float(sums[c])`.
package struct SumsToRealsArguments {
  package var sums: UnsafePointer<Int32>
  package var scale: UnsafePointer<Float>
  package var output: UnsafeMutablePointer<Float>

  package init(
    sums: UnsafePointer<Int32>, scale: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>
  ) {
    self.sums = sums
    self.scale = scale
    self.output = output
  }
}

/// What becomes of sums: bytes, as those of a convolution (see `ConvolutionArguments`).
package struct SumsToBytesArguments {
  package var sums: UnsafePointer<Int32>
  package var multiplier: UnsafePointer<Int32>
  package var shift: UnsafePointer<Int32>
  /// multiplier * 2^-shift, where one fused multiply-add is proven to give the same bytes; otherwise nil.
  package var scale: UnsafePointer<Float>?
  package var output: UnsafeMutablePointer<UInt8>
  package var zeroPoint: Int32
  package var minimum: Int32
  package var maximum: Int32

  package init(
    sums: UnsafePointer<Int32>, multiplier: UnsafePointer<Int32>, shift: UnsafePointer<Int32>,
    scale: UnsafePointer<Float>?, output: UnsafeMutablePointer<UInt8>, zeroPoint: Int32, minimum: Int32,
    maximum: Int32
  ) {
    self.sums = sums
    self.multiplier = multiplier
    self.shift = shift
    self.scale = scale
    self.output = output
    self.zeroPoint = zeroPoint
    self.minimum = minimum
    self.maximum = maximum
  }
}

// Loops that compilers vectorise by themselves, for instruction sets to compile with their own flags. They take
// numbers, since a function that other modules inline must not name this package's types.

/// `SumsToRealsArguments`.
@inlinable @inline(__always)
package func scaleSums(
  _ sums: UnsafePointer<Int32>, _ scale: UnsafePointer<Float>, _ output: UnsafeMutablePointer<Float>,
  _ count: Int
) {
  for c in 0..<count { output[c] = scale[c] * Float(sums[c]) }
}

/// By one fused multiply-add: for instruction sets that have it.
@inlinable @inline(__always)
package func requantizeSumsFused(
  _ sums: UnsafePointer<Int32>, _ scale: UnsafePointer<Float>, _ output: UnsafeMutablePointer<UInt8>,
  _ count: Int, zeroPoint: Int32, minimum: Int32, maximum: Int32
) {
  let magic = Float(12_582_912 &+ zeroPoint)
  for c in 0..<count {
    let rounded = Int32(bitPattern: magic.addingProduct(Float(sums[c]), scale[c]).bitPattern) &- 0x4B40_0000
    output[c] = UInt8(truncatingIfNeeded: min(max(rounded, minimum), maximum))
  }
}

/// In integers.
@inlinable @inline(__always)
package func requantizeSums(
  _ sums: UnsafePointer<Int32>, _ multiplier: UnsafePointer<Int32>, _ shift: UnsafePointer<Int32>,
  _ output: UnsafeMutablePointer<UInt8>, _ count: Int, zeroPoint: Int32, minimum: Int32, maximum: Int32
) {
  for c in 0..<count {
    output[c] = requantizeToByte(
      sums[c], multiplier[c], shift[c], zeroPoint: zeroPoint, minimum: minimum, maximum: maximum)
  }
}
