import Numerics
import Testing

/// Where `fusedScale` gives a factor, one fused multiply-add rounds as the written semantics do.
@Suite struct FusedScaleTests {
  static func byFusedMultiplyAdd(_ accumulator: Int32, _ scale: Float, _ zeroPoint: Int32) -> Int32 {
    let sum = Float(12_582_912 + zeroPoint).addingProduct(Float(accumulator), scale)
    return min(max(Int32(bitPattern: sum.bitPattern) &- Int32(bitPattern: 0x4B40_0000), 0), 255)
  }

  /// Near every threshold between two results, and far outside.
  @Test(arguments: 0..<200)
  func roundsAsRequantizationDoes(seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    let exponent = Double.random(in: -14...(-1), using: &random)
    let real =
      Double(sign: .plus, exponent: Int(exponent.rounded(.down)), significand: 1)
      * Double.random(in: 1..<2, using: &random)
    let fixed = try #require(FixedPointMultiplier(fused: real))
    #expect(abs(fixed.value / real - 1) < 1 / Double(1 << 22))
    let largest = Int64(min(4_190_000 / real, 2_147_483_648))
    let scale = try #require(fixed.fusedScale(largestAccumulator: largest))
    #expect(Double(scale) == fixed.value)
    let zeroPoint = Int32.random(in: 0...255, using: &random)
    var accumulators: [Int64] = [
      0, 1, -1, largest, -largest, largest - 1, 1 << 24, -(1 << 24), (1 << 24) + 1,
    ]
    for result in -260...260 {
      let threshold = Int64(((Double(result) + 0.5) / real).rounded())
      accumulators += (threshold - 3...threshold + 3).map { $0 }
    }
    for _ in 0..<2000 { accumulators.append(Int64.random(in: -largest...largest, using: &random)) }
    for accumulator in accumulators where abs(accumulator) <= min(largest, 2_147_483_647) {
      let a = Int32(accumulator)
      let expected = min(max(requantize(a, fixed.multiplier, fixed.shift) + zeroPoint, 0), 255)
      #expect(Self.byFusedMultiplyAdd(a, scale, zeroPoint) == expected, "\(a) times \(real)")
    }
  }

  /// What is not proven is refused.
  @Test func refusesOtherMultipliers() {
    let shift: Int32 = 40
    func scale(_ multiplier: Int32, _ shift: Int32, _ largest: Int64) -> Float? {
      FixedPointMultiplier(multiplier: multiplier, shift: shift).fusedScale(largestAccumulator: largest)
    }
    #expect(scale((1 << 30) + 128, shift, 1 << 20) != nil)
    #expect(scale(0, shift, 1 << 20) == 0)
    #expect(scale(1 << 30, shift, 1 << 20) == nil)  // even: ties are possible
    #expect(scale((1 << 30) + 1, shift, 1 << 20) == nil)  // more than 24 bits
    #expect(scale((1 << 30) + 128, 31, 1 << 24) == nil)  // leaves the range where a float is an integer
    #expect(scale((1 << 30) + 128, 50, 1 << 25) == nil)  // inexact conversions that are not clamped
    #expect(scale((1 << 30) + 128, 50, 1 << 24) != nil)
  }
}
