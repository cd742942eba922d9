import KernelInterface
import Numerics
import Runtime
import Testing

/// Real numbers to stored integers by every kernel of the list: the bits of a division and a rounding.
@Suite struct QuantizeTests {
  static let runnable = KernelTable.quantize.filter { CPUFeatures.host.isSuperset(of: $0.features) }

  static func scales(_ random: inout SeededGenerator) -> [Float] {
    let special: [Float] = [
      1, 0.5, 1.0 / 255, Float(1).nextUp, Float(1).nextDown, 0x1p-60, 0x1p60, 0x1p-61, 0x1p61,
      Float.leastNormalMagnitude,
      Float.greatestFiniteMagnitude, 3.3e-38, 1e38,
    ]
    return special + (0..<6).map { _ in Float.random(in: 0.001...0.1, using: &random) }
  }

  /// Numbers whose quotients lie at and beside the ties between two integers, and numbers of all kinds.
  static func values(_ scale: Float, _ random: inout SeededGenerator) -> [Float] {
    var values: [Float] = [.nan, .infinity, -.infinity, 0, -0.0, .leastNonzeroMagnitude, 3.4e38, -3.4e38]
    for integer in -300...300 {
      var x = (Float(integer) + 0.5) * scale
      for _ in 0..<4 { x = x.nextDown }
      for _ in 0..<9 {
        values.append(x)
        x = x.nextUp
      }
    }
    for _ in 0..<500 { values.append(Float.random(in: -700...700, using: &random) * scale) }
    for _ in 0..<500 { values.append(Float(bitPattern: UInt32.random(in: 0...UInt32.max, using: &random))) }
    return values
  }

  /// By a division in twice the precision, rounded to a float first.
  static func expected(_ x: Float, _ scale: Float, zeroPoint: Int32, maximum: Int32) -> UInt8 {
    let quotient = Float(Double(x) / Double(scale))
    guard !quotient.isNaN else { return UInt8(min(zeroPoint, maximum)) }
    let rounded = Int32(min(max(quotient.rounded(.toNearestOrEven), -10_000), 10_000))
    return UInt8(min(max(rounded + zeroPoint, 0), maximum))
  }

  @Test(arguments: runnable.indices, 0..<4) func roundsAsADivisionDoes(kernels: Int, seed: UInt64) {
    let kernels = Self.runnable[kernels]
    var random = SeededGenerator(state: seed)
    for scale in Self.scales(&random) {
      let values = Self.values(scale, &random), maximum: Int32 = [255, 15, 3, 255][Int(seed)]
      let zeroPoint = Int32.random(in: 0...maximum, using: &random)
      let input = GuardedBuffer(values), output = GuardedBuffer(bytes: values.count, fill: 0xAA)
      kernels.run(
        QuantizeArguments(
          input: input.pointer(to: Float.self), planeStride: 0, channels: 1,
          output: output.base.assumingMemoryBound(to: UInt8.self), pixelStride: 0, scale: scale,
          zeroPoint: zeroPoint, maximum: maximum), values.count)
      let actual = UnsafeBufferPointer(start: output.pointer(to: UInt8.self), count: values.count)
      var wrong = 0
      for (x, y) in zip(values, actual)
      where y != Self.expected(x, scale, zeroPoint: zeroPoint, maximum: maximum) {
        wrong += 1
        if wrong == 1 { Issue.record("\(kernels.name): \(x) / \(scale) gives \(y)") }
      }
    }
  }

  @Test(arguments: runnable.indices, ElementwiseCase.counts)
  func givesTheBitsOfTheFormula(kernels: Int, count: Int) {
    let kernels = Self.runnable[kernels]
    #expect(ElementwiseCase.wrongNumbers(kernels, count: count) == 0, "\(kernels.name)")
  }

  @Test(arguments: runnable.indices, 1...4) func interleavesPlanes(kernels: Int, channels: Int) {
    let kernels = Self.runnable[kernels]
    var random = SeededGenerator(state: UInt64(channels))
    for count in [1, 2, 5, 15, 16, 17, 31, 32, 33, 100, 255, 256, 257, 600] {
      for pixelStride in [4, 8, 20] {
        let planeStride = count + Int.random(in: 0...9, using: &random)
        let values = (0..<(channels - 1) * planeStride + count).map { _ in
          Float.random(in: -2...5, using: &random)
        }
        let bytes = (count - 1) * pixelStride + 4
        let input = GuardedBuffer(values), output = GuardedBuffer(bytes: bytes, fill: 0xAA)
        kernels.pixels(
          QuantizeArguments(
            input: input.pointer(to: Float.self), planeStride: planeStride, channels: channels,
            output: output.base.assumingMemoryBound(to: UInt8.self), pixelStride: pixelStride, scale: 0.013,
            zeroPoint: 50, maximum: 255), count)
        let actual = UnsafeBufferPointer(start: output.pointer(to: UInt8.self), count: bytes)
        var expected = [UInt8](actual)
        for pixel in 0..<count {
          for byte in 0..<pixelStride where pixel * pixelStride + byte < bytes {
            if byte < channels {
              expected[pixel * pixelStride + byte] = Self.expected(
                values[byte * planeStride + pixel], 0.013, zeroPoint: 50, maximum: 255)
            } else if byte >= 4 {
              expected[pixel * pixelStride + byte] = 0xAA
            }
          }
        }
        #expect([UInt8](actual) == expected, "\(kernels.name): \(count) pixels, stride \(pixelStride)")
      }
    }
  }

  @Test(arguments: runnable.indices) func writesRunsOfAnyLength(kernels: Int) {
    for count in Array(1...130) + [1000] {
      let values = (0..<count).map { Float($0) - 20 }
      let input = GuardedBuffer(values), output = GuardedBuffer(bytes: count, fill: 0xAA)
      Self.runnable[kernels].run(
        QuantizeArguments(
          input: input.pointer(to: Float.self), planeStride: 0, channels: 1,
          output: output.base.assumingMemoryBound(to: UInt8.self), pixelStride: 0, scale: 1, zeroPoint: 3,
          maximum: 255), count)
      let actual = UnsafeBufferPointer(start: output.pointer(to: UInt8.self), count: count)
      #expect(Array(actual) == values.map { UInt8(min(max($0 + 3, 0), 255)) })
    }
  }
}
