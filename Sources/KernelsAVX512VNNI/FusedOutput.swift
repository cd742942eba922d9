import CInstructions

// The last step where fused multiply-adds are exact, see `FixedPointMultiplier.fusedScale`. A tuple, as in
// Epilogue.swift: a struct would bring weak symbols.

/// `order` puts the bytes of four packed vectors one vector after another; the compiler must not know it, since it
/// would split the permutation into several.
typealias FusedOutput = (magic: Lanes, minimum: Lanes, maximum: Lanes, order: Lanes)

@inline(__always)
func fusedOutput(zeroPoint: Int32, minimum: Int32, maximum: Int32) -> FusedOutput {
  // 1.5 * 2^23 + zeroPoint: its unit in the last place is 1.
  (
    Lanes(repeating: 0x4B40_0000 &+ zeroPoint), Lanes(repeating: minimum &* 0x0101_0101),
    Lanes(repeating: maximum &* 0x0101_0101), Lanes(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
  )
}

/// `zeroPoint + requantize(sum)`.
@inline(__always)
func rounded(_ output: FusedOutput, _ sums: Lanes, _ scale: Lanes) -> Lanes {
  multiply_add_floats_x16(sums, scale, output.magic) &- 0x4B40_0000
}

/// The bytes of four vectors of results: in each quarter of the result, four of every vector.
@inline(__always)
func bytesOfQuarters(_ output: FusedOutput, _ v0: Lanes, _ v1: Lanes, _ v2: Lanes, _ v3: Lanes) -> Lanes {
  let bytes = pack_bytes_x16(pack_words_x16(v0, v1), pack_words_x16(v2, v3))
  return minimum_bytes_x16(maximum_bytes_x16(bytes, output.minimum), output.maximum)
}

/// The bytes of four vectors, one vector after another.
@inline(__always)
func bytesInOrder(_ output: FusedOutput, _ v0: Lanes, _ v1: Lanes, _ v2: Lanes, _ v3: Lanes) -> Lanes {
  permute_x16(bytesOfQuarters(output, v0, v1, v2, v3), output.order)
}
