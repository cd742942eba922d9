import CInstructions
import KernelsNEON

/// The sums of two pixels (upper and lower half) times channels 0 and 1, and times channels 2 and 3.
struct Squares {
  private(set) var first: Lanes
  private(set) var second: Lanes

  @inline(__always)
  init(_ bias: Lanes) {
    first = lower_halves_x4(bias, bias)
    second = upper_halves_x4(bias, bias)
  }

  @inline(__always)
  mutating func add(_ firstWeights: Lanes, _ secondWeights: Lanes, _ x: Lanes) {
    first = multiply_matrices_x4(first, x, firstWeights)
    second = multiply_matrices_x4(second, x, secondWeights)
  }

  /// Four channels of the first pixel, and of the second.
  @inline(__always)
  var lower: Lanes { lower_halves_x4(first, second) }

  @inline(__always)
  var upper: Lanes { upper_halves_x4(first, second) }
}

/// The sums of two pixels times 16 channels.
struct PixelPair {
  var s0: Squares
  var s1: Squares
  var s2: Squares
  var s3: Squares

  @inline(__always)
  init(_ bias: Row) {
    (s0, s1, s2, s3) = (Squares(bias.v0), Squares(bias.v1), Squares(bias.v2), Squares(bias.v3))
  }

  /// The sums of the first pixel, and of the second.
  @inline(__always)
  var lower: Row { Row(s0.lower, s1.lower, s2.lower, s3.lower) }

  @inline(__always)
  var upper: Row { Row(s0.upper, s1.upper, s2.upper, s3.upper) }
}
