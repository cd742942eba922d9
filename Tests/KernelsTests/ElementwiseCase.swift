import KernelInterface

/// Sums and quantized numbers of every length, with guard pages around all operands.
enum ElementwiseCase {
  static let counts = [0, 1, 3, 15, 16, 17, 31, 32, 33, 64, 100, 1000]

  /// How many sums of a kernel differ from the formula in 64 bits.
  static func wrongSums(_ kernels: ElementwiseKernels, count: Int) -> Int {
    var random = SeededGenerator(state: UInt64(count)), wrong = 0
    for number in 0..<20 {
      let a = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      let b = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      // As validation allows; small shifts leave most sums far outside a byte.
      let range: ClosedRange<Int32> = -(1 << 21)...1 << 21
      let shift = number == 0 ? 1 : Int32.random(in: 1...30, using: &random)
      let multiplierA = number == 1 ? range.lowerBound : Int32.random(in: range, using: &random)
      let multiplierB = number == 1 ? range.lowerBound : Int32.random(in: range, using: &random)
      let constant = Int32.random(in: -(1 << 29)...1 << 29, using: &random)
      let zeroPoint = Int32.random(in: 0...255, using: &random)
      let minimum = Int32.random(in: 0...100, using: &random)
      let maximum = Int32.random(in: minimum...255, using: &random)
      let expected = (0..<count).map { i in
        let sum = Int64(a[i]) * Int64(multiplierA) + Int64(b[i]) * Int64(multiplierB) + Int64(constant)
        return UInt8(min(max((sum >> Int64(shift)) + Int64(zeroPoint), Int64(minimum)), Int64(maximum)))
      }
      // With the bytes behind the operands that kernels may read.
      let slack = [UInt8](repeating: 7, count: 64)
      let operands = (GuardedBuffer(a + slack), GuardedBuffer(b + slack))
      let output = GuardedBuffer(bytes: count, fill: 0xA5)
      kernels.add(
        AddArguments(
          a: operands.0.pointer(to: UInt8.self), b: operands.1.pointer(to: UInt8.self),
          output: output.base.assumingMemoryBound(to: UInt8.self), multiplierA: multiplierA,
          multiplierB: multiplierB, constant: constant, shift: shift, zeroPoint: zeroPoint, minimum: minimum,
          maximum: maximum), count)
      wrong += differences(output, expected)
      withExtendedLifetime(operands) {}
    }
    return wrong
  }

  /// How many numbers of a kernel differ from the formula.
  static func wrongNumbers(_ kernels: QuantizeKernels, count: Int) -> Int {
    var random = SeededGenerator(state: UInt64(count)), wrong = 0
    let special: [Float] = [
      0, -0.0, .nan, -.nan, .infinity, -.infinity, .greatestFiniteMagnitude, -.greatestFiniteMagnitude,
      .leastNonzeroMagnitude, 1e9, -1e9, 3e4, 4e4, -4e4,
    ]
    for number in 0..<20 {
      let scale: Float = number == 0 ? 1 : Float.random(in: 0.001...2, using: &random)
      let maximum: Int32 = number % 2 == 0 ? 255 : 15
      let zeroPoint = Int32.random(in: 0...maximum, using: &random)
      let input = (0..<count).map { i -> Float in
        switch i % 3 {
        case 0: special[Int.random(in: special.indices, using: &random)]
        case 1: scale * (Float(Int.random(in: -300...300, using: &random)) + 0.5)  // ties
        default: scale * Float.random(in: -300...300, using: &random)
        }
      }
      let expected = input.map { value -> UInt8 in
        let rounded = (value / scale).rounded(.toNearestOrEven)
        let bounded = rounded.isNaN ? 0 : max(-1000, min(1000, rounded))
        return UInt8(min(max(Int32(bounded) + zeroPoint, 0), maximum))
      }
      let numbers = GuardedBuffer(input), output = GuardedBuffer(bytes: count, fill: 0xA5)
      kernels.run(
        QuantizeArguments(
          input: numbers.pointer(to: Float.self), planeStride: 0, channels: 1,
          output: output.base.assumingMemoryBound(to: UInt8.self), pixelStride: 0, scale: scale,
          zeroPoint: zeroPoint, maximum: maximum), count)
      wrong += differences(output, expected)
      withExtendedLifetime(numbers) {}
    }
    return wrong
  }

  private static func differences(_ output: GuardedBuffer, _ expected: [UInt8]) -> Int {
    let actual = output.pointer(to: UInt8.self)
    return expected.indices.count { actual[$0] != expected[$0] }
  }
}
