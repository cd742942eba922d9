/// 16 channels, in lanes that the optimizer maps to whatever vectors there are.
typealias Lanes = SIMD16<Int32>

/// The four weights that one 32-bit lane of packed weights holds for a channel.
struct UnpackedWeights {
  let w0: Lanes
  let w1: Lanes
  let w2: Lanes
  let w3: Lanes

  /// Signed bytes.
  @inline(__always)
  init(bytes: Lanes) {
    w0 = (bytes &<< 24) &>> 24
    w1 = (bytes &<< 16) &>> 24
    w2 = (bytes &<< 8) &>> 24
    w3 = bytes &>> 24
  }

  /// Two bits of the bytes, the lowest for step 0.
  @inline(__always)
  init(bitsOf bytes: Lanes, step: Int32) {
    let left = Lanes(repeating: 30 &- 2 &* step)
    w0 = (bytes &<< left) &>> 30
    w1 = (bytes &<< (left &- 8)) &>> 30
    w2 = (bytes &<< (left &- 16)) &>> 30
    w3 = (bytes &<< (left &- 24)) &>> 30
  }

  /// The lower halves of the bytes.
  @inline(__always)
  init(lowerNibbles bytes: Lanes) {
    w0 = (bytes &<< 28) &>> 28
    w1 = (bytes &<< 20) &>> 28
    w2 = (bytes &<< 12) &>> 28
    w3 = (bytes &<< 4) &>> 28
  }

  /// The upper halves of the bytes.
  @inline(__always)
  init(upperNibbles bytes: Lanes) {
    w0 = (bytes &<< 24) &>> 28
    w1 = (bytes &<< 16) &>> 28
    w2 = (bytes &<< 8) &>> 28
    w3 = bytes &>> 28
  }
}

/// 64 bytes of packed weights. Byte j of a channel is bits 8 j ... 8 j + 7 of its lane on little-endian
/// processors, the only ones supported.
@inline(__always)
func load(_ pointer: UnsafeRawPointer) -> Lanes { pointer.loadUnaligned(as: Lanes.self) }
