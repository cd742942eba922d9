import CInstructions
import KernelsNEON

/// The four vectors of 16 channels: sums, or weights of one step.
struct Row {
  private var v0: Lanes
  private var v1: Lanes
  private var v2: Lanes
  private(set) var v3: Lanes

  @inline(__always)
  init(_ v0: Lanes, _ v1: Lanes, _ v2: Lanes, _ v3: Lanes) {
    (self.v0, self.v1, self.v2, self.v3) = (v0, v1, v2, v3)
  }

  @inline(__always)
  init(_ pointer: UnsafeRawPointer) {
    self.init(load(pointer), load(pointer + 16), load(pointer + 32), load(pointer + 48))
  }

  @inline(__always)
  static var zero: Row { Row(.zero, .zero, .zero, .zero) }

  @inline(__always)
  func store(_ vectors: UnsafeMutablePointer<Lanes>) {
    vectors[0] = v0
    vectors[1] = v1
    vectors[2] = v2
    vectors[3] = v3
  }

  @inline(__always)
  private func map(_ transform: (Lanes) -> Lanes) -> Row {
    Row(transform(v0), transform(v1), transform(v2), transform(v3))
  }

  /// The nibbles of either half of the bytes, in the upper half.
  @inline(__always)
  var lowerNibbles: Row { map { shift_left_4_bytes_x4($0) } }

  @inline(__always)
  var upperNibbles: Row { map { $0 & Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0)) } }

  @inline(__always)
  func shiftedLeft(_ count: Int32) -> Row { map { $0 &<< count } }

  @inline(__always)
  func shiftedRight(_ count: Int32) -> Row { map { $0 &>> count } }

  @inline(__always)
  func subtracting(_ other: Row) -> Row {
    Row(v0 &- other.v0, v1 &- other.v1, v2 &- other.v2, v3 &- other.v3)
  }

  /// 128 more, as unsigned bytes.
  @inline(__always)
  var unsigned: Row { map { $0 ^ Lanes(repeating: Int32(bitPattern: 0x8080_8080)) } }

  /// The signed nibbles of either half of the bytes, 8 more, as unsigned bytes.
  @inline(__always)
  var lowerUnsignedNibbles: Row {
    map { ($0 ^ Lanes(repeating: 0x0808_0808)) & Lanes(repeating: 0x0F0F_0F0F) }
  }

  @inline(__always)
  var upperUnsignedNibbles: Row {
    map { upper_nibbles_x4($0 ^ Lanes(repeating: Int32(bitPattern: 0x8080_8080))) }
  }

  @inline(__always)
  func adding(_ other: Row) -> Row {
    Row(v0 &+ other.v0, v1 &+ other.v1, v2 &+ other.v2, v3 &+ other.v3)
  }

  /// Adds one step, whose inputs are lane 0, 1, 2 or 3 of `x`.
  @inline(__always)
  mutating func add0(_ w: Row, _ x: Lanes) {
    v0 = dot4_signed_lane_0_x4(v0, w.v0, x)
    v1 = dot4_signed_lane_0_x4(v1, w.v1, x)
    v2 = dot4_signed_lane_0_x4(v2, w.v2, x)
    v3 = dot4_signed_lane_0_x4(v3, w.v3, x)
  }

  @inline(__always)
  mutating func add1(_ w: Row, _ x: Lanes) {
    v0 = dot4_signed_lane_1_x4(v0, w.v0, x)
    v1 = dot4_signed_lane_1_x4(v1, w.v1, x)
    v2 = dot4_signed_lane_1_x4(v2, w.v2, x)
    v3 = dot4_signed_lane_1_x4(v3, w.v3, x)
  }

  @inline(__always)
  mutating func add2(_ w: Row, _ x: Lanes) {
    v0 = dot4_signed_lane_2_x4(v0, w.v0, x)
    v1 = dot4_signed_lane_2_x4(v1, w.v1, x)
    v2 = dot4_signed_lane_2_x4(v2, w.v2, x)
    v3 = dot4_signed_lane_2_x4(v3, w.v3, x)
  }

  @inline(__always)
  mutating func add3(_ w: Row, _ x: Lanes) {
    v0 = dot4_signed_lane_3_x4(v0, w.v0, x)
    v1 = dot4_signed_lane_3_x4(v1, w.v1, x)
    v2 = dot4_signed_lane_3_x4(v2, w.v2, x)
    v3 = dot4_signed_lane_3_x4(v3, w.v3, x)
  }

  /// Adds the dot products of every lane.
  @inline(__always)
  mutating func addProducts(_ w: Row, _ x: Row) {
    v0 = dot4_signed_x4(v0, w.v0, x.v0)
    v1 = dot4_signed_x4(v1, w.v1, x.v1)
    v2 = dot4_signed_x4(v2, w.v2, x.v2)
    v3 = dot4_signed_x4(v3, w.v3, x.v3)
  }

  /// Adds one step of unsigned weights and inputs, lane 0 or 1 of `x`.
  @inline(__always)
  mutating func addUnsigned0(_ w: Row, _ x: Lanes) {
    v0 = dot4_unsigned_lane_0_x4(v0, w.v0, x)
    v1 = dot4_unsigned_lane_0_x4(v1, w.v1, x)
    v2 = dot4_unsigned_lane_0_x4(v2, w.v2, x)
    v3 = dot4_unsigned_lane_0_x4(v3, w.v3, x)
  }

  @inline(__always)
  mutating func addUnsigned1(_ w: Row, _ x: Lanes) {
    v0 = dot4_unsigned_lane_1_x4(v0, w.v0, x)
    v1 = dot4_unsigned_lane_1_x4(v1, w.v1, x)
    v2 = dot4_unsigned_lane_1_x4(v2, w.v2, x)
    v3 = dot4_unsigned_lane_1_x4(v3, w.v3, x)
  }
}

@inline(__always)
func load(_ pointer: UnsafeRawPointer) -> Lanes { pointer.loadUnaligned(as: Lanes.self) }
