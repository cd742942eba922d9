import CInstructions
import KernelInterface

// Two panels at a time: four sums of 8 channels each.

/// Weights of 8 bits. Products of bytes are added in 16 bits, which saturate: so inputs are cut into their lower 7
/// bits, for which two products fit, and the upper bit, for which those of `blocksAtOnce` blocks do.
package func sums8AVX2(_ arguments: MatrixVectorArguments) {
  let blocksAtOnce = 64  // times two products of at most 128 each
  let ones = Lanes(repeating: 0x0001_0001), upperBit = Lanes(repeating: 0x0080_0080)
  let lowerBits = Lanes(repeating: 0x7F7F_7F7F), lowestBits = Lanes(repeating: 0x0101_0101)
  forEachPair(arguments) { weights0, weights1, sums in
    var first = 0
    while first < arguments.blocks {
      let end = min(first &+ blocksAtOnce, arguments.blocks)
      var upper = Sums()
      for block in first..<end {
        let both = broadcast(UnsafeRawPointer(arguments.x + 4 &* block))
        let x = both & lowerBits, top = (both &>> 7) & lowestBits
        let a = weights0 + 64 &* block, b = weights1 + 64 &* block
        sums.v0 = sums.v0 &+ dot2_words_x8(dot2_bytes_x8(x, load(a)), ones)
        sums.v1 = sums.v1 &+ dot2_words_x8(dot2_bytes_x8(x, load(a + 32)), ones)
        sums.v2 = sums.v2 &+ dot2_words_x8(dot2_bytes_x8(x, load(b)), ones)
        sums.v3 = sums.v3 &+ dot2_words_x8(dot2_bytes_x8(x, load(b + 32)), ones)
        upper.v0 = add_words_x8(upper.v0, dot2_bytes_x8(top, load(a)))
        upper.v1 = add_words_x8(upper.v1, dot2_bytes_x8(top, load(a + 32)))
        upper.v2 = add_words_x8(upper.v2, dot2_bytes_x8(top, load(b)))
        upper.v3 = add_words_x8(upper.v3, dot2_bytes_x8(top, load(b + 32)))
      }
      sums.accumulate(upper, upperBit)
      first = end
    }
  }
}

/// Weights of 4 bits, made unsigned and so 8 too large: 8 times the sum of the inputs is taken off at the end.
package func sums4AVX2(_ arguments: MatrixVectorArguments) {
  let ones = Lanes(repeating: 0x0001_0001)
  var excess: Int32 = 0
  for k in 0..<8 &* arguments.blocks { excess &-= Int32(arguments.x[k]) &* 8 }
  forEachPair(arguments) { weights0, weights1, sums in
    sums = Sums(repeating: excess)
    var block = 0
    while block < arguments.blocks {
      // Four products of at most 2 * 255 * 15 fit 16 bits.
      var words = Sums()
      for next in block..<min(block &+ 2, arguments.blocks) {
        let x0 = broadcast(UnsafeRawPointer(arguments.x + 8 &* next))
        let x1 = broadcast(UnsafeRawPointer(arguments.x + (8 &* next &+ 4)))
        let a = weights0 + 64 &* next, b = weights1 + 64 &* next
        words.v0 = add_words_x8(words.v0, products4(x0, x1, load(a)))
        words.v1 = add_words_x8(words.v1, products4(x0, x1, load(a + 32)))
        words.v2 = add_words_x8(words.v2, products4(x0, x1, load(b)))
        words.v3 = add_words_x8(words.v3, products4(x0, x1, load(b + 32)))
      }
      sums.accumulate(words, ones)
      block &+= 2
    }
  }
}

/// The sums of two products a 16-bit lane for both nibbles, with 8 added to each weight.
@inline(__always)
private func products4(_ x0: Lanes, _ x1: Lanes, _ weights: Lanes) -> Lanes {
  let nibbles = Lanes(repeating: 0x0F0F_0F0F)
  let unsigned = weights ^ Lanes(repeating: Int32(bitPattern: 0x8888_8888))
  return add_words_x8(
    dot2_bytes_x8(x0, unsigned & nibbles), dot2_bytes_x8(x1, upper_nibbles_x8(unsigned) & nibbles))
}

/// 32-bit or 16-bit sums of two panels.
private struct Sums {
  var v0: Lanes
  var v1: Lanes
  var v2: Lanes
  var v3: Lanes

  @inline(__always)
  init(repeating value: Int32 = 0) {
    v0 = Lanes(repeating: value)
    (v1, v2, v3) = (v0, v0, v0)
  }

  /// Adds 16-bit sums, times a factor that is given twice.
  @inline(__always)
  mutating func accumulate(_ words: Sums, _ factor: Lanes) {
    v0 = v0 &+ dot2_words_x8(words.v0, factor)
    v1 = v1 &+ dot2_words_x8(words.v1, factor)
    v2 = v2 &+ dot2_words_x8(words.v2, factor)
    v3 = v3 &+ dot2_words_x8(words.v3, factor)
  }
}

/// Calls `accumulate` for two panels after another; a last panel alone is computed twice.
@inline(__always)
private func forEachPair(
  _ arguments: MatrixVectorArguments,
  _ accumulate: (_ weights0: UnsafeRawPointer, _ weights1: UnsafeRawPointer, _ sums: inout Sums) -> Void
) {
  let panelBytes = 64 &* arguments.blocks
  var panel = 0
  while panel < arguments.panels {
    let isPair = panel &+ 1 < arguments.panels
    let weights = arguments.weights + panel &* panelBytes
    var sums = Sums()
    accumulate(weights, isPair ? weights + panelBytes : weights, &sums)
    store(arguments, panel, sums.v0, sums.v1)
    if isPair { store(arguments, panel &+ 1, sums.v2, sums.v3) }
    panel &+= 2
  }
}

@inline(__always)
private func store(_ arguments: MatrixVectorArguments, _ panel: Int, _ low: Lanes, _ high: Lanes) {
  let bias = UnsafeRawPointer(arguments.bias + 16 &* panel)
  let target = UnsafeMutableRawPointer(arguments.sums + 16 &* panel)
  target.storeBytes(of: low &+ load(bias), as: Lanes.self)
  (target + 32).storeBytes(of: high &+ load(bias + 32), as: Lanes.self)
}

@inline(__always)
private func broadcast(_ pointer: UnsafeRawPointer) -> Lanes {
  Lanes(repeating: pointer.loadUnaligned(as: Int32.self))
}
