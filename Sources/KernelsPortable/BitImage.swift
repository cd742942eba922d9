import KernelInterface

/// Planes of bits, eight channels at a time: a multiplication moves the lowest bits of eight bytes into one byte.
package func packBitsPortable(_ x: BitImageArguments) {
  let words = (x.channels &+ 31) / 32
  for pixel in 0..<x.pixels {
    let source = UnsafeRawPointer(x.source + pixel &* x.sourceStride)
    let target = x.target + pixel &* x.planes &* words
    for plane in 0..<x.planes {
      for word in 0..<words {
        let channels = min(32, x.channels &- 32 &* word)
        var bits: UInt32 = 0
        for first in stride(from: 0, to: channels, by: 8) {
          let bytes = (source + (32 &* word &+ first)).loadUnaligned(as: UInt64.self)
          let lowest = (bytes &>> UInt64(plane)) & 0x0101_0101_0101_0101
          bits |= UInt32((lowest &* 0x0102_0408_1020_4080) &>> 56) &<< UInt32(first)
        }
        target[plane &* words &+ word] = channels == 32 ? bits : bits & ((1 &<< UInt32(channels)) &- 1)
      }
    }
  }
}
