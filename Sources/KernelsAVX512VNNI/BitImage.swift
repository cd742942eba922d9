import CInstructions
import KernelInterface

/// Planes of bits by tests of all bytes, 64 channels at a time.
package func packBitsAVX512VNNI(_ x: BitImageArguments) {
  let words = (x.channels &+ 31) / 32
  for pixel in 0..<x.pixels {
    let source = UnsafeRawPointer(x.source + pixel &* x.sourceStride)
    let target = UnsafeMutableRawPointer(x.target + pixel &* x.planes &* words)
    var word = 0
    while word < words {
      let bytes = load(source + 32 &* word), mask = byteMask(x.channels &- 32 &* word)
      for plane in 0..<x.planes {
        let bits = common_bits_x16(bytes, Lanes(repeating: 0x0101_0101 &<< Int32(plane))) & mask
        let place = target + 4 &* (plane &* words &+ word)
        if word &+ 1 < words {
          place.storeBytes(of: bits, as: UInt64.self)
        } else {
          place.storeBytes(of: UInt32(truncatingIfNeeded: bits), as: UInt32.self)
        }
      }
      word &+= 2
    }
  }
}
