import KernelInterface

/// Bytes of what `winogradPrepareAVX2` makes of a panel: words, `[position][pair of channels][16 outputs][2]`.
package func winogradPreparedBytesAVX2(stepsPerTap: Int) -> Int { 16 &* winogradWords(stepsPerTap) &* 32 }

/// Words of a tile at one of its 16 positions: the input channels, up to a whole vector.
@inline(__always)
func winogradWords(_ stepsPerTap: Int) -> Int { (4 &* stepsPerTap &+ 15) & ~15 }

/// (2G) g (2G)ᵀ of every pair of an input and an output channel, eight outputs at a time.
package func winogradPrepareAVX2(
  packed: UnsafeRawPointer, stepsPerTap: Int, prepared: UnsafeMutableRawPointer
) {
  let pairs = winogradWords(stepsPerTap) / 2
  for position in 0..<16 {
    let padding = prepared + (position &* pairs &+ 2 &* stepsPerTap) &* 64
    padding.initializeMemory(as: UInt8.self, repeating: 0, count: (pairs &- 2 &* stepsPerTap) &* 64)
  }
  for step in 0..<stepsPerTap {
    for half in 0..<2 {
      for pair in 0..<2 {
        let source = packed + (64 &* step &+ 32 &* half)
        let even = transformed(source, 64 &* stepsPerTap, byte: 2 &* pair)
        let odd = transformed(source, 64 &* stepsPerTap, byte: 2 &* pair &+ 1)
        let target = prepared + ((2 &* step &+ pair) &* 64 &+ 32 &* half), stride = 64 &* pairs
        store(even.0, odd.0, target, stride)
        store(even.1, odd.1, target + 4 &* stride, stride)
        store(even.2, odd.2, target + 8 &* stride, stride)
        store(even.3, odd.3, target + 12 &* stride, stride)
      }
    }
  }
}

/// A row of four positions.
private typealias Four = (Lanes, Lanes, Lanes, Lanes)

/// Two input channels as words, at four positions `stride` bytes apart.
@inline(__always)
private func store(_ even: Four, _ odd: Four, _ target: UnsafeMutableRawPointer, _ stride: Int) {
  target.storeBytes(of: (even.0 & 0xFFFF) | (odd.0 &<< 16), as: Lanes.self)
  (target + stride).storeBytes(of: (even.1 & 0xFFFF) | (odd.1 &<< 16), as: Lanes.self)
  (target + 2 &* stride).storeBytes(of: (even.2 & 0xFFFF) | (odd.2 &<< 16), as: Lanes.self)
  (target + 3 &* stride).storeBytes(of: (even.3 & 0xFFFF) | (odd.3 &<< 16), as: Lanes.self)
}

/// The four rows of transformed weights of eight outputs and the input channel whose weights are bytes `byte` of the lanes of
/// the nine taps, `stride` bytes apart.
@inline(__always)
private func transformed(_ source: UnsafeRawPointer, _ stride: Int, byte: Int) -> (Four, Four, Four, Four) {
  let left = column(source, stride, byte), middle = column(source + stride, stride, byte)
  let right = column(source + 2 &* stride, stride, byte)
  return (
    twiceG(left.0, middle.0, right.0), twiceG(left.1, middle.1, right.1),
    twiceG(left.2, middle.2, right.2), twiceG(left.3, middle.3, right.3)
  )
}

@inline(__always)
private func column(_ source: UnsafeRawPointer, _ stride: Int, _ byte: Int) -> Four {
  let shift = Int32(truncatingIfNeeded: 24 &- 8 &* byte)
  return twiceG(
    (load(source) &<< shift) &>> 24, (load(source + 3 &* stride) &<< shift) &>> 24,
    (load(source + 6 &* stride) &<< shift) &>> 24)
}

@inline(__always)
private func twiceG(_ g0: Lanes, _ g1: Lanes, _ g2: Lanes) -> Four {
  (g0 &<< 1, g0 &+ g1 &+ g2, g0 &- g1 &+ g2, g2 &<< 1)
}
