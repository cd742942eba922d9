import CInstructions
import KernelInterface

// 16 elements at a time, and the loops of KernelInterface for those that remain.

/// `QuantizeKernels.run`.
@export(interface) package func quantizeRunNEON(_ x: QuantizeArguments, _ count: Int) {
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

/// `QuantizeKernels.pixels`.
@export(interface) package func quantizePixelsNEON(_ x: QuantizeArguments, _ count: Int) {
  quantizePixels(
    x.input, planeStride: x.planeStride, channels: x.channels, x.output, pixelStride: x.pixelStride, count
  ) { input, output, count in
    var run = x
    run.input = input
    run.output = output
    quantizeRunNEON(run, count)
  }
}
