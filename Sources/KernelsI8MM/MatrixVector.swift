import CInstructions
import KernelInterface
import KernelsNEON

/// Weights of 8 bits.
@export(interface) package func sums8I8MM(_ arguments: MatrixVectorArguments) {
  forEachPanel(arguments) { weights in
    var even = Row.zero, odd = Row.zero
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
    return even + odd
  }
}

/// Weights of 4 bits: a nibble in the upper half of its byte is the weight times 16.
@export(interface) package func sums4I8MM(_ arguments: MatrixVectorArguments) {
  forEachPanel(arguments) { weights in
    var even = Row.zero, odd = Row.zero
    for block in 0..<arguments.blocks {
      let x = load_8_bytes_x4(arguments.x + 8 &* block)
      let both = Row(weights + 64 &* block)
      even.add0(both.map { shift_left_4_bytes_x4($0) }, x)
      odd.add1(both.map { $0 & Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0)) }, x)
    }
    return (even + odd).map { $0 &>> 4 }
  }
}

/// Adds the bias to what `sum` makes of the weights of every panel.
@inline(__always)
private func forEachPanel(_ arguments: MatrixVectorArguments, _ sum: (_ weights: UnsafeRawPointer) -> Row) {
  for panel in 0..<arguments.panels {
    let row = sum(arguments.weights + 64 &* arguments.blocks &* panel)
    (row + Row(UnsafeRawPointer(arguments.bias + 16 &* panel)))
      .store(UnsafeMutableRawPointer(arguments.sums + 16 &* panel).assumingMemoryBound(to: Lanes.self))
  }
}

extension Row {
  /// Adds one step of signed weights and unsigned inputs, which are lane 0 or 1 of `x`.
  @inline(__always)
  mutating func add0(_ w: Row, _ x: Lanes) { accumulate(w, x, dot4_lane_0_x4) }

  @inline(__always)
  mutating func add1(_ w: Row, _ x: Lanes) { accumulate(w, x, dot4_lane_1_x4) }
}
