extension QuantizationForm {
  /// The stored integer of a real number in this form: `AffineParameters.quantize`, but binary weights take the sign.
  @inlinable @inline(__always)
  package func quantize(_ x: Float, _ parameters: AffineParameters, _ role: QuantizerRole) -> Int32 {
    if isBinaryWeight(role) { return x >= 0 ? 1 : -1 }
    return parameters.quantize(x, storedRange(role))
  }

  /// Weights of -1 and +1 only.
  package func isBinaryWeight(_ role: QuantizerRole) -> Bool { width == .bits(1) && role == .weight }

  /// Rounds `count` numbers to the levels of the form: the same bits as `dequantize(quantize(x))` of each, vectorized.
  /// `from` and `to` may be the same memory.
  package func fakeQuantize(
    _ from: UnsafePointer<Float>, _ to: UnsafeMutablePointer<Float>, _ count: Int,
    _ parameters: AffineParameters,
    _ role: QuantizerRole
  ) {
    let scale = parameters.scale
    if isBinaryWeight(role) {
      for i in 0..<count { to[i] = from[i] >= 0 ? scale : -scale }
      return
    }
    let range = storedRange(role)
    // Clamping to integers and rounding commute, so that the clamp comes first and keeps the rounding in its domain.
    let lowest = Float(range.lowerBound &- parameters.zeroPoint),
      highest = Float(range.upperBound &- parameters.zeroPoint)
    let magic: Float = 12_582_912  // 1.5 * 2^23, see roundToNearestEven
    for i in 0..<count {
      let scaled = from[i] / scale
      let raised = scaled > lowest ? scaled : lowest
      let clamped = raised < highest ? raised : highest
      let rounded = (clamped + magic) - magic
      to[i] = scale * (scaled == scaled ? rounded : 0)
    }
  }
}

extension AffineParameters {
  /// Stored bytes of `count` reals: the same as `quantize` of each, vectorized.
  package func quantize(
    _ from: UnsafePointer<Float>, _ to: UnsafeMutablePointer<UInt8>, _ count: Int, _ range: ClosedRange<Int32>
  ) {
    let lowest = Float(range.lowerBound &- zeroPoint), highest = Float(range.upperBound &- zeroPoint)
    let magic: Float = 12_582_912, zeroPoint = zeroPoint, scale = scale
    for i in 0..<count {
      let scaled = from[i] / scale
      let raised = scaled > lowest ? scaled : lowest
      let clamped = raised < highest ? raised : highest
      // The low significand bits of the sum are the rounded number, offset by 2^22.
      let rounded = Int32(bitPattern: (clamped + magic).bitPattern & 0x7F_FFFF) &- 0x40_0000
      to[i] = UInt8(truncatingIfNeeded: (scaled == scaled ? rounded : 0) &+ zeroPoint)
    }
  }
}
