import CInstructions
import KernelInterface
import KernelsNEON

/// Weights of 8 bits.
@export(interface) package func sums8I8MM(_ arguments: MatrixVectorArguments) {
  forEachPanel(arguments) { weights in
    var even = Row(), odd = Row()
    var w = weights
    for pair in 0..<arguments.blocks / 2 {
      let x = load_8_bytes_x4(arguments.x + 8 &* pair)
      even.add0(Row(w), x)
      odd.add1(Row(w + 64), x)
      w += 128
    }
    if arguments.blocks & 1 != 0 {
      even.add0(Row(w), load_4_bytes_x4(arguments.x + 4 &* (arguments.blocks &- 1)))
    }
    return even.combined(odd) { $0 &+ $1 }
  }
}

/// Weights of 4 bits: a nibble in the upper half of its byte is the weight times 16.
@export(interface) package func sums4I8MM(_ arguments: MatrixVectorArguments) {
  forEachPanel(arguments) { weights in
    var even = Row(), odd = Row()
    for block in 0..<arguments.blocks {
      let x = load_8_bytes_x4(arguments.x + 8 &* block)
      let both = Row(weights + 64 &* block)
      even.add0(both.lowerNibbles, x)
      odd.add1(both.upperNibbles, x)
    }
    return even.combined(odd) { ($0 &+ $1) &>> 4 }
  }
}

/// Adds the bias to what `sum` makes of the weights of every panel.
@inline(__always)
private func forEachPanel(_ arguments: MatrixVectorArguments, _ sum: (_ weights: UnsafeRawPointer) -> Row) {
  for panel in 0..<arguments.panels {
    let row = sum(arguments.weights + 64 &* arguments.blocks &* panel)
    row.combined(Row(UnsafeRawPointer(arguments.bias + 16 &* panel))) { $0 &+ $1 }
      .store(UnsafeMutableRawPointer(arguments.sums + 16 &* panel).assumingMemoryBound(to: Lanes.self))
  }
}

/// The four vectors of 16 channels: sums, or weights of one step.
private struct Row {
  private var v0 = Lanes.zero
  private var v1 = Lanes.zero
  private var v2 = Lanes.zero
  private var v3 = Lanes.zero

  @inline(__always)
  init() {}

  @inline(__always)
  init(_ pointer: UnsafeRawPointer) {
    v0 = pointer.loadUnaligned(as: Lanes.self)
    v1 = (pointer + 16).loadUnaligned(as: Lanes.self)
    v2 = (pointer + 32).loadUnaligned(as: Lanes.self)
    v3 = (pointer + 48).loadUnaligned(as: Lanes.self)
  }

  @inline(__always)
  func store(_ vectors: UnsafeMutablePointer<Lanes>) {
    vectors[0] = v0
    vectors[1] = v1
    vectors[2] = v2
    vectors[3] = v3
  }

  @inline(__always)
  func combined(_ other: Row, _ combine: (Lanes, Lanes) -> Lanes) -> Row {
    var row = self
    row.v0 = combine(v0, other.v0)
    row.v1 = combine(v1, other.v1)
    row.v2 = combine(v2, other.v2)
    row.v3 = combine(v3, other.v3)
    return row
  }

  /// The nibbles of either half of the bytes, in the upper half.
  @inline(__always)
  var lowerNibbles: Row { combined(self) { a, _ in shift_left_4_bytes_x4(a) } }

  @inline(__always)
  var upperNibbles: Row { combined(self) { a, _ in a & Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0)) } }

  /// Adds one step, whose inputs are lane 0 or 1 of `x`.
  @inline(__always)
  mutating func add0(_ w: Row, _ x: Lanes) {
    v0 = dot4_lane_0_x4(v0, w.v0, x)
    v1 = dot4_lane_0_x4(v1, w.v1, x)
    v2 = dot4_lane_0_x4(v2, w.v2, x)
    v3 = dot4_lane_0_x4(v3, w.v3, x)
  }

  @inline(__always)
  mutating func add1(_ w: Row, _ x: Lanes) {
    v0 = dot4_lane_1_x4(v0, w.v0, x)
    v1 = dot4_lane_1_x4(v1, w.v1, x)
    v2 = dot4_lane_1_x4(v2, w.v2, x)
    v3 = dot4_lane_1_x4(v3, w.v3, x)
  }
}
