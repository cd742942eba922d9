import CInstructions
import KernelInterface

// With a single row of inputs weights become unsigned, not inputs: 128 (or 8 with 4 bits) times the sum of the inputs
// is what they are too large.

/// Weights of 8 bits: every product takes 16 bits of its own.
@export(interface) package func sums8NEON(_ arguments: MatrixVectorArguments) {
  let flips = Lanes(repeating: Int32(bitPattern: 0x8080_8080))
  forEachPanel(arguments, excess: 128 &* sumOfInputs(arguments.x, 4 &* arguments.blocks)) { weights, sums in
    for step in 0..<arguments.blocks {
      let x = inputs(arguments.x + 4 &* step), w = weights + 64 &* step
      sums.s0.add(load(w) ^ flips, x)
      sums.s1.add(load(w + 16) ^ flips, x)
      sums.s2.add(load(w + 32) ^ flips, x)
      sums.s3.add(load(w + 48) ^ flips, x)
    }
  }
}

/// Weights of 4 bits: two products of at most 15 * 255 are added in 16 bits.
@export(interface) package func sums4NEON(_ arguments: MatrixVectorArguments) {
  forEachPanel(arguments, excess: 8 &* sumOfInputs(arguments.x, 8 &* arguments.blocks)) { weights, sums in
    for block in 0..<arguments.blocks {
      let even = inputs(arguments.x + 8 &* block), odd = inputs(arguments.x + (8 &* block &+ 4))
      let w = weights + 64 &* block
      sums.s0.addNibbles(load(w), even, odd)
      sums.s1.addNibbles(load(w + 16), even, odd)
      sums.s2.addNibbles(load(w + 32), even, odd)
      sums.s3.addNibbles(load(w + 48), even, odd)
    }
  }
}

/// The sums of four channels, each in two neighbouring lanes.
private struct HalfSum {
  private var low = Lanes.zero
  private var high = Lanes.zero

  @inline(__always)
  mutating func add(_ weights: Lanes, _ x: Lanes) {
    low = add_unsigned_word_pairs_x4(low, multiply_low_unsigned_bytes_x4(weights, x))
    high = add_unsigned_word_pairs_x4(high, multiply_high_unsigned_bytes_x4(weights, x))
  }

  /// Two steps, in the lower and upper nibbles.
  @inline(__always)
  mutating func addNibbles(_ both: Lanes, _ even: Lanes, _ odd: Lanes) {
    let unsigned = both ^ Lanes(repeating: Int32(bitPattern: 0x8888_8888))
    let lower = unsigned & Lanes(repeating: 0x0F0F_0F0F), upper = upper_nibbles_x4(unsigned)
    let lowWords = add_low_unsigned_products_x4(multiply_low_unsigned_bytes_x4(lower, even), upper, odd)
    low = add_unsigned_word_pairs_x4(low, lowWords)
    let highWords = add_high_unsigned_products_x4(multiply_high_unsigned_bytes_x4(lower, even), upper, odd)
    high = add_unsigned_word_pairs_x4(high, highWords)
  }

  @inline(__always)
  var sums: Lanes { add_neighbours_x4(low, high) }
}

private struct HalfSums {
  var s0 = HalfSum()
  var s1 = HalfSum()
  var s2 = HalfSum()
  var s3 = HalfSum()

  @inline(__always)
  var row: Row { Row(s0.sums, s1.sums, s2.sums, s3.sums) }
}

/// Calls `accumulate` with the weights of every panel and sums, which are `excess` too large.
@inline(__always)
private func forEachPanel(
  _ arguments: MatrixVectorArguments, excess: Int32,
  _ accumulate: (_ weights: UnsafeRawPointer, _ sums: inout HalfSums) -> Void
) {
  for panel in 0..<arguments.panels {
    var sums = HalfSums()
    accumulate(arguments.weights + 64 &* arguments.blocks &* panel, &sums)
    let excess = Row(repeating: Lanes(repeating: excess))
    (Row(UnsafeRawPointer(arguments.bias + 16 &* panel)) - excess + sums.row)
      .store(UnsafeMutableRawPointer(arguments.sums + 16 &* panel).assumingMemoryBound(to: Lanes.self))
  }
}

/// The inputs of one step, for every channel.
@inline(__always)
private func inputs(_ x: UnsafePointer<UInt8>) -> Lanes {
  Lanes(repeating: UnsafeRawPointer(x).loadUnaligned(as: Int32.self))
}

@inline(__always)
package func sumOfInputs(_ x: UnsafePointer<UInt8>, _ count: Int) -> Int32 {
  var sum: Int32 = 0
  for k in 0..<count { sum &+= Int32(x[k]) }
  return sum
}
