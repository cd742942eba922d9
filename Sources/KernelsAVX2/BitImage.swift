import CInstructions
import KernelInterface

/// Planes of bits by the highest bits of all bytes, 32 channels at a time.
package func packBitsAVX2(_ x: BitImageArguments) {
  let words = (x.channels &+ 31) / 32
  for pixel in 0..<x.pixels {
    let source = UnsafeRawPointer(x.source + pixel &* x.sourceStride)
    let target = x.target + pixel &* x.planes &* words
    for word in 0..<words {
      let bytes = (source + 32 &* word).loadUnaligned(as: SIMD8<Int32>.self)
      let mask = lowBits(x.channels &- 32 &* word)
      for plane in 0..<x.planes {
        let shifted = shift_left_words_x8(bytes, Int32(truncatingIfNeeded: 7 &- plane))
        target[plane &* words &+ word] = highest_bits_x8(shifted) & mask
      }
    }
  }
}

/// The lowest `count` bits, at most all.
@inline(__always)
private func lowBits(_ count: Int) -> UInt32 { count >= 32 ? ~0 : (1 &<< UInt32(count)) &- 1 }
