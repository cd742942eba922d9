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

/// `QuantizeArguments`.
@export(interface) package func quantizeNEON(_ x: QuantizeArguments, _ count: Int) {
  let zeroPoint = Lanes(repeating: x.zeroPoint &* 0x0001_0001)
  let maximum = Lanes(repeating: x.maximum &* 0x0101_0101)
  let scale = SIMD4<Float>(repeating: x.scale)
  @inline(__always)
  func rounded(_ input: UnsafePointer<Float>) -> Lanes {
    let quotients = UnsafeRawPointer(input).loadUnaligned(as: SIMD4<Float>.self) / scale
    return rounded_x4(unsafeBitCast(quotients, to: Lanes.self))
  }
  @inline(__always)
  func words(_ input: UnsafePointer<Float>) -> Lanes {
    add_words_x4(narrow_32_x4(rounded(input), rounded(input + 4)), zeroPoint)
  }
  var first = 0
  while first &+ 16 <= count {
    let bytes = narrow_to_bytes_x4(words(x.input + first), words(x.input + (first &+ 8)))
    UnsafeMutableRawPointer(x.output + first).storeBytes(of: minimum_bytes_x4(bytes, maximum), as: Lanes.self)
    first &+= 16
  }
  quantizeReals(
    x.input + first, x.output + first, count &- first, scale: x.scale, zeroPoint: x.zeroPoint,
    maximum: x.maximum)
}

@inline(__always)
private func load(_ pointer: UnsafePointer<UInt8>) -> Lanes {
  UnsafeRawPointer(pointer).loadUnaligned(as: Lanes.self)
}
