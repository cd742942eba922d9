import CInstructions

/// Whether four steps read 16 bytes that lie together. Offsets are not negative.
@inline(__always)
package func isRunOfFour(_ offsets: UnsafePointer<Int32>) -> Bool {
  let both01 = UnsafeRawPointer(offsets).loadUnaligned(as: UInt64.self)
  let both23 = UnsafeRawPointer(offsets + 2).loadUnaligned(as: UInt64.self)
  return both23 &- both01 == 0x8_0000_0008 && both01 &>> 32 == (both01 & 0xFFFF_FFFF) &+ 4
}

/// The inputs of two steps of a pixel, in lanes 0 and 1.
@inline(__always)
package func inputsOfTwo(_ base: UnsafeRawPointer, _ offsets: UnsafePointer<Int32>) -> Lanes {
  load_lane_1_x4(load_4_bytes_x4(base + Int(offsets[0])), base + Int(offsets[1]))
}

/// The same of four steps.
@inline(__always)
package func inputsOfFour(_ base: UnsafeRawPointer, _ offsets: UnsafePointer<Int32>) -> Lanes {
  lower_halves_x4(inputsOfTwo(base, offsets), inputsOfTwo(base, offsets + 2))
}

/// Inputs less 128, as signed bytes.
@inline(__always)
package func signed(_ x: Lanes) -> Lanes {
  kept_x4(kept_x4(x) ^ Lanes(repeating: Int32(bitPattern: 0x8080_8080)))
}
