import CInstructions
import KernelInterface
import KernelsNEON

// With a single row of inputs weights become unsigned, not inputs: 128 (or 8 with 4 bits) times the sum of the inputs
// is what they are too large.

/// Weights of 8 bits.
@export(interface) package func sums8DotProduct(_ arguments: MatrixVectorArguments) {
  forEachPanel(arguments, excess: 128 &* sumOfInputs(arguments.x, 4 &* arguments.blocks)) {
    weights, even, odd in
    var w = weights
    for pair in 0..<arguments.blocks / 2 {
      let x = load_8_bytes_x4(arguments.x + 8 &* pair)
      even.addUnsigned0(unsigned(w), x)
      odd.addUnsigned1(unsigned(w + 64), x)
      w += 128
    }
    if arguments.blocks & 1 != 0 {
      even.addUnsigned0(unsigned(w), load_4_bytes_x4(arguments.x + 4 &* (arguments.blocks &- 1)))
    }
  }
}

/// Weights of 4 bits.
@export(interface) package func sums4DotProduct(_ arguments: MatrixVectorArguments) {
  forEachPanel(arguments, excess: 8 &* sumOfInputs(arguments.x, 8 &* arguments.blocks)) {
    weights, even, odd in
    for block in 0..<arguments.blocks {
      let x = load_8_bytes_x4(arguments.x + 8 &* block)
      let both = Row(weights + 64 &* block)
      let lower = both.map { ($0 ^ Lanes(repeating: 0x0808_0808)) & Lanes(repeating: 0x0F0F_0F0F) }
      even.addUnsigned0(lower, x)
      let upper = both.map { upper_nibbles_x4($0 ^ Lanes(repeating: Int32(bitPattern: 0x8080_8080))) }
      odd.addUnsigned1(upper, x)
    }
  }
}

/// Calls `accumulate` with the weights of every panel and two rows of sums, whose sum less `excess` is the result.
@inline(__always)
private func forEachPanel(
  _ arguments: MatrixVectorArguments, excess: Int32,
  _ accumulate: (_ weights: UnsafeRawPointer, _ even: inout Row, _ odd: inout Row) -> Void
) {
  let excess = Row(repeating: Lanes(repeating: 0 &- excess))
  for panel in 0..<arguments.panels {
    var even = Row(UnsafeRawPointer(arguments.bias + 16 &* panel)), odd = excess
    accumulate(arguments.weights + 64 &* arguments.blocks &* panel, &even, &odd)
    (even + odd).store(
      UnsafeMutableRawPointer(arguments.sums + 16 &* panel).assumingMemoryBound(to: Lanes.self))
  }
}

/// Weights and 128, as unsigned bytes.
@inline(__always)
private func unsigned(_ weights: UnsafeRawPointer) -> Row {
  Row(weights).map { $0 ^ Lanes(repeating: Int32(bitPattern: 0x8080_8080)) }
}
