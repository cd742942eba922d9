import CInstructions
import KernelInterface

/// Planes of bits by tests of all bytes: three rounds of sums of neighbours gather the bits of 32 bytes in four.
@export(interface) package func packBitsNEON(_ x: BitImageArguments) {
  // The bytes 1, 2, 4 ... 128: where the bit of each of eight bytes goes.
  let places = Lanes(
    0x0804_0201, Int32(bitPattern: 0x8040_2010), 0x0804_0201, Int32(bitPattern: 0x8040_2010))
  let words = (x.channels &+ 31) / 32
  for pixel in 0..<x.pixels {
    let source = UnsafeRawPointer(x.source + pixel &* x.sourceStride)
    let target = x.target + pixel &* x.planes &* words
    for word in 0..<words {
      let low = load(source + 32 &* word), high = load(source + (32 &* word &+ 16))
      let channels = x.channels &- 32 &* word
      let mask = channels >= 32 ? ~0 : (UInt32(1) &<< UInt32(truncatingIfNeeded: channels)) &- 1
      for plane in 0..<x.planes {
        let bit = Lanes(repeating: 0x0101_0101 &<< Int32(truncatingIfNeeded: plane))
        let pairs = join_neighbouring_bytes_x4(
          common_bits_x4(low, bit) & places, common_bits_x4(high, bit) & places)
        let fours = join_neighbouring_bytes_x4(pairs, pairs)
        let bits = join_neighbouring_bytes_x4(fours, fours)[0]
        target[plane &* words &+ word] = UInt32(bitPattern: bits) & mask
      }
    }
  }
}
