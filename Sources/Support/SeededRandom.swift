/// A counter-based generator (SplitMix64, Steele, Lea and Flood 2014): value `i` is a hash of `seed + i * gamma`, so the
/// same seed gives the same values on every machine, in any process, and `value(at:)` needs no state.
package struct SeededRandom: RandomNumberGenerator, Sendable {
  private let seed: UInt64
  private var counter: UInt64 = 0

  package init(seed: UInt64) {
    self.seed = seed
  }

  /// An independent generator for part `index` of a job, so that parts may be done in any order or in parallel.
  package init(seed: UInt64, stream index: UInt64) {
    self.init(seed: SeededRandom.mix(seed ^ SeededRandom.mix(index &+ SeededRandom.gamma)))
  }

  package mutating func next() -> UInt64 {
    counter &+= 1
    return value(at: counter)
  }

  /// The value after `counter` calls of `next()`.
  package func value(at counter: UInt64) -> UInt64 {
    SeededRandom.mix(seed &+ counter &* SeededRandom.gamma)
  }

  /// Uniform in `0 ..< bound` without bias (Lemire's multiply and reject).
  /// - Requires: bound > 0.
  package mutating func below(_ bound: UInt64) -> UInt64 {
    precondition(bound > 0, "an empty range has no values")
    let threshold = (0 &- bound) % bound
    while true {
      let product = next().multipliedFullWidth(by: bound)
      if product.low >= threshold { return product.high }
    }
  }

  /// Uniform in [0, 1), a multiple of 2^-53.
  package mutating func unit() -> Double {
    Double(next() >> 11) * 0x1p-53
  }

  /// The odd integer nearest to 2^64 divided by the golden ratio.
  private static let gamma: UInt64 = 0x9E37_79B9_7F4A_7C15

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
