import CInstructions
import KernelInterface

/// Planes of bits by tests of all bytes, 64 at a time: of one pixel, or of several that follow one another.
package func packBitsAVX512VNNI(_ x: BitImageArguments) {
  if x.sourceStride == 16 && x.channels <= 16 { return packNarrowPixels(x) }
  var channels = x.channels, pixels = x.pixels
  if x.planes == 1 && channels == x.sourceStride && channels % 32 == 0 {
    (channels, pixels) = (channels &* pixels, 1)
  }
  let words = (channels &+ 31) / 32
  for pixel in 0..<pixels {
    let source = UnsafeRawPointer(x.source + pixel &* x.sourceStride)
    let target = UnsafeMutableRawPointer(x.target + pixel &* x.planes &* words)
    var word = 0
    while word < words {
      let bytes = load(source + 32 &* word), mask = byteMask(channels &- 32 &* word)
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

/// Pixels of 16 bytes, four at a time.
@inline(__always)
private func packNarrowPixels(_ x: BitImageArguments) {
  let mask = UInt32(truncatingIfNeeded: byteMask(x.channels))
  var pixel = 0
  while pixel < x.pixels {
    let bytes = load(UnsafeRawPointer(x.source + 16 &* pixel))
    for plane in 0..<x.planes {
      var bits = common_bits_x16(bytes, Lanes(repeating: 0x0101_0101 &<< Int32(plane)))
      for i in pixel..<min(pixel &+ 4, x.pixels) {
        x.target[i &* x.planes &+ plane] = UInt32(truncatingIfNeeded: bits) & mask
        bits = bits &>> 16
      }
    }
    pixel &+= 4
  }
}
