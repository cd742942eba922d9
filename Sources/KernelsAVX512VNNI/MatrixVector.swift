import CInstructions
import KernelInterface

// One stream of weights, which the processor's own prefetching serves best, and eight sums that hide the latency of
// the dot product.

/// Weights of 8 bits.
package func sums8AVX512VNNI(_ arguments: MatrixVectorArguments) {
  let panelBytes = 64 &* arguments.blocks
  for panel in 0..<arguments.panels {
    let weights = arguments.weights + panel &* panelBytes
    var a = Quad(), b = Quad()
    var x = UnsafeRawPointer(arguments.x), offset = 0
    let end = panelBytes & ~511
    while offset < end {
      a.accumulate8(weights + offset, broadcast(x), broadcast(x + 4), broadcast(x + 8), broadcast(x + 12))
      b.accumulate8(
        weights + (offset &+ 256), broadcast(x + 16), broadcast(x + 20), broadcast(x + 24), broadcast(x + 28))
      x += 32
      offset &+= 512
    }
    while offset < panelBytes {
      a.v0 = dot4_x16(a.v0, broadcast(x), load(weights + offset))
      x += 4
      offset &+= 64
    }
    store(arguments, panel, a.sum &+ b.sum)
  }
}

/// Weights of 4 bits. Upper nibbles stay where they are, which scales their products by 16. Lower ones become
/// unsigned numbers, 8 too large: one instruction, and 8 times the sum of their inputs is taken off at the end.
package func sums4AVX512VNNI(_ arguments: MatrixVectorArguments) {
  let panelBytes = 64 &* arguments.blocks
  let excess = Lanes(repeating: 8 &* sumOfEvenSteps(arguments.x, arguments.blocks))
  for panel in 0..<arguments.panels {
    let weights = arguments.weights + panel &* panelBytes
    var a = Quad(), b = Quad()
    var x = UnsafeRawPointer(arguments.x), offset = 0
    let end = panelBytes & ~255
    while offset < end {
      a.accumulate4(
        load(weights + offset), load(weights + (offset &+ 64)), broadcast(x), broadcast(x + 4),
        broadcast(x + 8), broadcast(x + 12))
      b.accumulate4(
        load(weights + (offset &+ 128)), load(weights + (offset &+ 192)), broadcast(x + 16),
        broadcast(x + 20), broadcast(x + 24), broadcast(x + 28))
      x += 32
      offset &+= 256
    }
    while offset < panelBytes {
      a.accumulate4(load(weights + offset), .zero, broadcast(x), broadcast(x + 4), .zero, .zero)
      x += 8
      offset &+= 64
    }
    store(arguments, panel, a.sum4(excess) &+ b.sum4(.zero))
  }
}

/// Four partial sums of 16 channels.
private struct Quad {
  var v0 = Lanes.zero
  var v1 = Lanes.zero
  var v2 = Lanes.zero
  var v3 = Lanes.zero

  @inline(__always)
  mutating func accumulate8(_ weights: UnsafeRawPointer, _ x0: Lanes, _ x1: Lanes, _ x2: Lanes, _ x3: Lanes) {
    v0 = dot4_x16(v0, x0, load(weights))
    v1 = dot4_x16(v1, x1, load(weights + 64))
    v2 = dot4_x16(v2, x2, load(weights + 128))
    v3 = dot4_x16(v3, x3, load(weights + 192))
  }

  /// Two blocks: `v0` and `v2` sum lower nibbles plus 8, `v1` and `v3` upper ones times 16.
  @inline(__always)
  mutating func accumulate4(
    _ block0: Lanes, _ block1: Lanes, _ x0: Lanes, _ x1: Lanes, _ x2: Lanes, _ x3: Lanes
  ) {
    let lower = Lanes(repeating: 0x0F0F_0F0F), eights = Lanes(repeating: 0x0808_0808)
    let upper = Lanes(repeating: Int32(bitPattern: 0xF0F0_F0F0))
    v0 = dot4_x16(v0, x0, (block0 & lower) ^ eights)
    v1 = dot4_x16(v1, x1, block0 & upper)
    v2 = dot4_x16(v2, x2, (block1 & lower) ^ eights)
    v3 = dot4_x16(v3, x3, block1 & upper)
  }

  @inline(__always)
  var sum: Lanes { (v0 &+ v1) &+ (v2 &+ v3) }

  @inline(__always)
  func sum4(_ excess: Lanes) -> Lanes { (v0 &+ v2) &- excess &+ shift_right_4_x16(v1 &+ v3) }
}

/// The sum of the inputs that meet lower nibbles: 4 of every 8 bytes.
@inline(__always)
private func sumOfEvenSteps(_ x: UnsafePointer<UInt8>, _ blocks: Int) -> Int32 {
  var sum: Int32 = 0
  for block in 0..<blocks {
    let bytes = UnsafeRawPointer(x + 8 &* block).loadUnaligned(as: UInt32.self)
    let pairs = (bytes & 0x00FF_00FF) &+ (bytes &>> 8 & 0x00FF_00FF)
    sum &+= Int32(truncatingIfNeeded: (pairs &+ pairs &>> 16) & 0xFFFF)
  }
  return sum
}

@inline(__always)
private func store(_ arguments: MatrixVectorArguments, _ panel: Int, _ sum: Lanes) {
  let bias = load(UnsafeRawPointer(arguments.bias + 16 &* panel))
  UnsafeMutableRawPointer(arguments.sums + 16 &* panel).storeBytes(of: sum &+ bias, as: Lanes.self)
}

@inline(__always)
private func broadcast(_ pointer: UnsafeRawPointer) -> Lanes {
  Lanes(repeating: pointer.loadUnaligned(as: Int32.self))
}
