import CInstructions
import KernelsNEON

/// The sums of two pixels (upper and lower half) times channels 0 and 1, and times channels 2 and 3.
struct Squares {
  var first: Lanes
  var second: Lanes

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
}

/// The sums of two pixels times 16 channels.
struct PixelPair {
  var s0: Squares
  var s1: Squares
  var s2: Squares
  var s3: Squares

  @inline(__always)
  init(_ bias0: Lanes, _ bias1: Lanes, _ bias2: Lanes, _ bias3: Lanes) {
    (s0, s1, s2, s3) = (Squares(bias0), Squares(bias1), Squares(bias2), Squares(bias3))
  }
}
