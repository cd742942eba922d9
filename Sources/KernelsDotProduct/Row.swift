import CInstructions
import KernelsNEON

extension Row {
  /// Adds one step, whose inputs are lane 0, 1, 2 or 3 of `x`.
  @inline(__always)
  mutating func add0(_ w: Row, _ x: Lanes) { accumulate(w, x, dot4_signed_lane_0_x4) }

  @inline(__always)
  mutating func add1(_ w: Row, _ x: Lanes) { accumulate(w, x, dot4_signed_lane_1_x4) }

  @inline(__always)
  mutating func add2(_ w: Row, _ x: Lanes) { accumulate(w, x, dot4_signed_lane_2_x4) }

  @inline(__always)
  mutating func add3(_ w: Row, _ x: Lanes) { accumulate(w, x, dot4_signed_lane_3_x4) }

  /// Adds one step of unsigned weights and inputs, lane 0 or 1 of `x`.
  @inline(__always)
  mutating func addUnsigned0(_ w: Row, _ x: Lanes) { accumulate(w, x, dot4_unsigned_lane_0_x4) }

  @inline(__always)
  mutating func addUnsigned1(_ w: Row, _ x: Lanes) { accumulate(w, x, dot4_unsigned_lane_1_x4) }

  /// Adds the dot products of every lane.
  @inline(__always)
  mutating func addProducts(_ w: Row, _ x: Row) {
    self = Row(
      dot4_signed_x4(v0, w.v0, x.v0), dot4_signed_x4(v1, w.v1, x.v1), dot4_signed_x4(v2, w.v2, x.v2),
      dot4_signed_x4(v3, w.v3, x.v3))
  }
}
