import KernelInterface
import Numerics
import Runtime
import Testing

/// Sums and products of activations by every kernel of the list, against the definitions of Numerics.
@Suite struct ElementwiseTests {
  static let runnable = KernelTable.elementwise.filter { CPUFeatures.host.isSuperset(of: $0.features) }
  static let counts = Array(1...130) + [255, 256, 257, 1000]

  /// Bytes with the 64 behind them that kernels may read, and then an inaccessible page.
  static func input(_ count: Int, _ random: inout SeededGenerator) -> GuardedBuffer {
    let extremes = Bool.random(using: &random)
    return GuardedBuffer(
      (0..<count + 64).map { _ -> UInt8 in
        extremes ? (Bool.random(using: &random) ? 255 : 0) : UInt8.random(in: 0...255, using: &random)
      })
  }

  static func clamp(_ random: inout SeededGenerator) -> OutputClamp {
    let minimum = Int32.random(in: 0...90, using: &random)
    return OutputClamp(
      zeroPoint: Int32.random(in: 0...255, using: &random),
      minimum: Bool.random(using: &random) ? 0 : minimum,
      maximum: Int32.random(in: 100...255, using: &random))
  }

  static func bytes(_ buffer: GuardedBuffer, _ count: Int) -> [UInt8] {
    Array(UnsafeBufferPointer(start: buffer.pointer(to: UInt8.self), count: count))
  }

  @Test(arguments: runnable.indices, ElementwiseCase.counts)
  func givesTheBitsOfTheFormula(kernels: Int, count: Int) {
    let kernels = Self.runnable[kernels]
    #expect(ElementwiseCase.wrongSums(kernels, count: count) == 0, "\(kernels.name)")
  }

  @Test(arguments: runnable.indices, [Int32(1) << 21, 1 << 15, 1 << 8])
  func adds(kernels: Int, bound: Int32) {
    let kernels = Self.runnable[kernels]
    var random = SeededGenerator(state: UInt64(bound))
    for count in Self.counts {
      let a = Self.input(count, &random), b = Self.input(count, &random)
      let output = GuardedBuffer(bytes: count, fill: 0xAA), clamp = Self.clamp(&random)
      let isExtreme = Int.random(in: 0...3, using: &random) == 0
      let ma = isExtreme ? bound : Int32.random(in: -bound...bound, using: &random)
      let mb = isExtreme ? -bound : Int32.random(in: -bound...bound, using: &random)
      let za = Int32.random(in: 0...255, using: &random), zb = Int32.random(in: 0...255, using: &random)
      let shift = Int32.random(in: 1...30, using: &random)
      let constant = (1 &<< (shift &- 1)) &- za &* ma &- zb &* mb
      // Where the output is an input, too.
      let isInPlace = Bool.random(using: &random)
      var expected = [UInt8](repeating: 0, count: count)
      referenceAdd(
        a.pointer(to: UInt8.self), zeroPoint: za, multiplier: ma, b.pointer(to: UInt8.self), zeroPoint: zb,
        multiplier: mb, shift: shift, clamp, to: &expected, count: count)
      let target = isInPlace ? a : output
      kernels.add(
        AddArguments(
          a: a.pointer(to: UInt8.self), b: b.pointer(to: UInt8.self),
          output: target.base.assumingMemoryBound(to: UInt8.self), multiplierA: ma, multiplierB: mb,
          constant: constant, shift: shift, zeroPoint: clamp.zeroPoint, minimum: clamp.minimum,
          maximum: clamp.maximum), count)
      #expect(Self.bytes(target, count) == expected, "\(kernels.name): \(count) sums, \(ma), \(mb), \(shift)")
    }
  }

  @Test(arguments: runnable.indices) func multiplies(kernels: Int) {
    let kernels = Self.runnable[kernels]
    var random = SeededGenerator(state: 9)
    for count in Self.counts {
      for _ in 0..<3 {
        let a = Self.input(count, &random), b = Self.input(count, &random)
        let output = GuardedBuffer(bytes: count, fill: 0xAA), clamp = Self.clamp(&random)
        let za = Int32.random(in: 0...255, using: &random), zb = Int32.random(in: 0...255, using: &random)
        let multiplier =
          [Int32.max, 1 << 30, 0, Int32.random(in: 0...Int32.max, using: &random)].randomElement(
            using: &random) ?? 1
        let shift = Int32.random(in: 1...62, using: &random)
        var expected = [UInt8](repeating: 0, count: count)
        referenceMultiply(
          a.pointer(to: UInt8.self), zeroPoint: za, b.pointer(to: UInt8.self), zeroPoint: zb, run: 1,
          multiplier: multiplier, shift: shift, clamp, to: &expected, count: count)
        kernels.multiply(
          MultiplyArguments(
            a: a.pointer(to: UInt8.self), b: b.pointer(to: UInt8.self),
            output: output.base.assumingMemoryBound(to: UInt8.self), zeroPointA: za, zeroPointB: zb,
            multiplier: multiplier, shift: shift, zeroPoint: clamp.zeroPoint, minimum: clamp.minimum,
            maximum: clamp.maximum), count)
        #expect(Self.bytes(output, count) == expected, "\(kernels.name): \(count) products by \(multiplier)")
      }
    }
  }
}
