import KernelInterface
import Numerics

/// One input row against packed weights, with guard pages around all operands.
enum MatrixVectorCase {
  static let channelCounts = [1, 15, 16, 17, 32, 33, 50, 100]
  static let lengths = [1, 3, 4, 5, 8, 12, 13, 16, 17, 28, 31, 32, 33, 60, 64, 65, 127, 300, 1021]
  static let resultCounts = [1, 3, 4, 15, 16, 17, 64, 100, 1000]

  enum Values: CaseIterable { case random, largest, smallest }

  /// The formula in 64 bits, from unpacked weights.
  private static func expected(_ x: [UInt8], _ weights: [Int8], _ bias: [Int32], channels: Int) -> [Int32] {
    (0..<channels).map { channel in
      var sum = Int64(bias[channel])
      for k in x.indices { sum += Int64(x[k]) * Int64(weights[channel * x.count + k]) }
      return Int32(truncatingIfNeeded: sum)
    }
  }

  /// How many of the sums of a kernel are wrong.
  static func wrongSums(
    _ kernels: MatrixVectorKernels, bits: Int, channels: Int, length: Int, _ values: Values
  ) -> Int {
    var random = SeededGenerator(state: UInt64(channels * 10_000 + length * 10 + bits))
    let largest: Int8 = bits == 4 ? 7 : 127
    let x = (0..<length).map { _ in values == .random ? UInt8.random(in: 0...255, using: &random) : 255 }
    let weights = (0..<channels * length).map { _ in
      switch values {
      case .random: Int8.random(in: -largest - 1...largest, using: &random)
      case .largest: largest
      case .smallest: -largest - 1
      }
    }
    let panels = WeightPacking.panels(channels)
    let bias = (0..<16 * panels).map { _ in Int32.random(in: Int32.min...Int32.max, using: &random) }
    let packed =
      bits == 4
      ? WeightPacking.pack4(weights, channels: channels, rowLength: length)
      : WeightPacking.pack8(weights, channels: channels, rowLength: length)
    let blocks = packed.count / 64 / panels
    // What rounds the row up meets weights of zero.
    let rounding = blocks * (bits == 4 ? 8 : 4) - length
    let row = GuardedBuffer(x + (0..<rounding).map { _ in UInt8.random(in: 0...255, using: &random) })
    let sums = GuardedBuffer(bytes: 64 * panels, fill: 0xAA)
    let matrix = GuardedBuffer(packed), biases = GuardedBuffer(bias)
    let arguments = MatrixVectorArguments(
      x: row.pointer(to: UInt8.self), weights: matrix.base, blocks: blocks, panels: panels,
      bias: biases.pointer(to: Int32.self), sums: sums.base.assumingMemoryBound(to: Int32.self))
    (bits == 4 ? kernels.sums4 : kernels.sums8)(arguments)
    let actual = Array(UnsafeBufferPointer(start: sums.pointer(to: Int32.self), count: channels))
    let expected = expected(x, weights, bias, channels: channels)
    withExtendedLifetime((row, sums, matrix, biases)) {}
    return expected.indices.count { actual[$0] != expected[$0] }
  }

  /// Extreme values for which sums of long rows could saturate or lose bits on the way.
  static func wrongLongSums(_ kernels: MatrixVectorKernels, _ values: Values) -> Int {
    wrongSums(kernels, bits: 8, channels: 17, length: 70_001, values)
      + wrongSums(kernels, bits: 4, channels: 17, length: 8 * MatrixVectorArguments.largestBlocks4, values)
  }

  /// How many results in bytes differ from the written requantization, by both ways, or in f32 from one product.
  static func wrongResults(_ kernels: MatrixVectorKernels, count: Int) -> Int {
    var random = SeededGenerator(state: UInt64(count))
    var wrong = 0
    for isFused in [false, true] {
      let sums = (0..<count).map { _ in Int32.random(in: -(1 << 20)...(1 << 20), using: &random) }
      let fixed = (0..<count).map { _ in
        isFused
          ? FixedPointMultiplier(
            multiplier: (Int32.random(in: 1 << 23..<1 << 24, using: &random) | 1) << 7,
            shift: Int32.random(in: 38...45, using: &random))
          : FixedPointMultiplier(
            multiplier: Int32.random(in: 0...Int32.max, using: &random),
            shift: Int32.random(in: 1...62, using: &random))
      }
      let scales = fixed.map { $0.fusedScale(largestAccumulator: 1 << 20) ?? .nan }
      precondition(!isFused || scales.allSatisfy { !$0.isNaN }, "these multipliers are exact when fused")
      let zeroPoint = Int32.random(in: 0...255, using: &random)
      let minimum = Int32.random(in: 0...50, using: &random)
      let maximum = Int32.random(in: 150...255, using: &random)
      let operands = (
        GuardedBuffer(sums), GuardedBuffer(fixed.map { $0.multiplier }),
        GuardedBuffer(fixed.map { $0.shift }),
        GuardedBuffer(scales)
      )
      let bytes = GuardedBuffer(bytes: count, fill: 0xAA), reals = GuardedBuffer(bytes: 4 * count, fill: 0xAA)
      kernels.bytes(
        SumsToBytesArguments(
          sums: operands.0.pointer(to: Int32.self), multiplier: operands.1.pointer(to: Int32.self),
          shift: operands.2.pointer(to: Int32.self),
          scale: isFused ? operands.3.pointer(to: Float.self) : nil,
          output: bytes.base.assumingMemoryBound(to: UInt8.self), zeroPoint: zeroPoint, minimum: minimum,
          maximum: maximum), count)
      let expected = (0..<count).map { c in
        requantizeToByte(
          sums[c], fixed[c].multiplier, fixed[c].shift, zeroPoint: zeroPoint, minimum: minimum,
          maximum: maximum)
      }
      let actualBytes = UnsafeBufferPointer(start: bytes.pointer(to: UInt8.self), count: count)
      wrong += expected.indices.count { actualBytes[$0] != expected[$0] }
      kernels.reals(
        SumsToRealsArguments(
          sums: operands.0.pointer(to: Int32.self), scale: operands.3.pointer(to: Float.self),
          output: reals.base.assumingMemoryBound(to: Float.self)), count)
      let actual = UnsafeBufferPointer(start: reals.pointer(to: Float.self), count: count)
      for c in 0..<count
      where !scales[c].isNaN && actual[c].bitPattern != (scales[c] * Float(sums[c])).bitPattern {
        wrong += 1
      }
      withExtendedLifetime((operands, bytes, reals)) {}
    }
    return wrong
  }
}
