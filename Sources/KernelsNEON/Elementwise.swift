import CInstructions
import KernelInterface

// 16 bytes at a time, and the loops of KernelInterface for those that remain. Results are narrowed to 16 bits with
// saturation before the zero point is added, since whatever saturates lies beyond 0...255 on the same side.

/// `AddArguments`.
@export(interface) package func addNEON(_ x: AddArguments, _ count: Int) {
  let zeroPoint = Lanes(repeating: x.zeroPoint &* 0x0001_0001)
  let minimum = Lanes(repeating: x.minimum &* 0x0101_0101)
  let maximum = Lanes(repeating: x.maximum &* 0x0101_0101)
  let multiplierA = Lanes(repeating: x.multiplierA), multiplierB = Lanes(repeating: x.multiplierB)
  let constant = Lanes(repeating: x.constant), shift = Lanes(repeating: x.shift)
  @inline(__always)
  func scaled(_ a: Lanes, _ b: Lanes) -> Lanes {
    (constant &+ a &* multiplierA &+ b &* multiplierB) &>> shift
  }
  @inline(__always)
  func words(_ a: Lanes, _ b: Lanes) -> Lanes {
    let low = scaled(widen_low_words_x4(a), widen_low_words_x4(b))
    let high = scaled(widen_high_words_x4(a), widen_high_words_x4(b))
    return add_words_x4(narrow_32_x4(low, high), zeroPoint)
  }
  var first = 0
  while first &+ 16 <= count {
    let a = load(x.a + first), b = load(x.b + first)
    let low = words(widen_low_bytes_x4(a), widen_low_bytes_x4(b))
    let high = words(widen_high_bytes_x4(a), widen_high_bytes_x4(b))
    let bytes = minimum_bytes_x4(maximum_bytes_x4(narrow_to_bytes_x4(low, high), minimum), maximum)
    UnsafeMutableRawPointer(x.output + first).storeBytes(of: bytes, as: Lanes.self)
    first &+= 16
  }
  addBytes(
    x.a + first, x.b + first, x.output + first, count &- first, multiplierA: x.multiplierA,
    multiplierB: x.multiplierB, constant: x.constant, shift: x.shift, zeroPoint: x.zeroPoint,
    minimum: x.minimum,
    maximum: x.maximum)
}

/// `MultiplyArguments`.
@export(interface) package func multiplyNEON(_ x: MultiplyArguments, _ count: Int) {
  multiplyBytes(
    x.a, x.b, x.output, count, zeroPointA: x.zeroPointA, zeroPointB: x.zeroPointB, multiplier: x.multiplier,
    shift: x.shift, zeroPoint: x.zeroPoint, minimum: x.minimum, maximum: x.maximum)
}

@inline(__always)
private func load(_ pointer: UnsafePointer<UInt8>) -> Lanes {
  UnsafeRawPointer(pointer).loadUnaligned(as: Lanes.self)
}
