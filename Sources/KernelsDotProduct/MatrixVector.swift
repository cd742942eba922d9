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
      even.addUnsigned0(Row(w).unsigned, x)
      odd.addUnsigned1(Row(w + 64).unsigned, x)
      w += 128
    }
    if arguments.blocks & 1 != 0 {
      even.addUnsigned0(Row(w).unsigned, load_4_bytes_x4(arguments.x + 4 &* (arguments.blocks &- 1)))
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
      even.addUnsigned0(both.lowerUnsignedNibbles, x)
      odd.addUnsigned1(both.upperUnsignedNibbles, x)
    }
  }
}

/// Calls `accumulate` with the weights of every panel and two rows of sums, whose sum less `excess` is the result.
@inline(__always)
private func forEachPanel(
  _ arguments: MatrixVectorArguments, excess: Int32,
  _ accumulate: (_ weights: UnsafeRawPointer, _ even: inout Row, _ odd: inout Row) -> Void
) {
  let excess = Lanes(repeating: 0 &- excess)
  for panel in 0..<arguments.panels {
    var even = Row(UnsafeRawPointer(arguments.bias + 16 &* panel)), odd = Row(excess, excess, excess, excess)
    accumulate(arguments.weights + 64 &* arguments.blocks &* panel, &even, &odd)
    even.adding(odd).store(
      UnsafeMutableRawPointer(arguments.sums + 16 &* panel).assumingMemoryBound(to: Lanes.self))
  }
}

@inline(__always)
private func sumOfInputs(_ x: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
  var sum: Int32 = 0
  for k in 0..<count { sum &+= Int32(x[k]) }
  return sum
}
