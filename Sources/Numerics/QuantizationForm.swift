/// How many levels a quantizer has.
package enum BitWidth: Hashable, Sendable {
  /// 1 ... 8 bits; 1 is binary, {-1, +1}.
  case bits(Int)
  /// {-1, 0, +1}, stored in two bits.
  case ternary

  /// Bits of storage.
  package var storageBits: Int {
    switch self {
    case .bits(let bits): bits
    case .ternary: 2
    }
  }
}

/// Over which elements one scale is shared.
package enum Granularity: Hashable, Sendable {
  case tensor
  case channel
  /// `size` consecutive input elements of one output channel.
  case group(size: Int)
}

package enum Symmetry: Hashable, Sendable { case symmetric, asymmetric }

/// Weights are signed; activations are stored unsigned, a symmetric signed one with its zero point in the middle.
package enum QuantizerRole: Hashable, Sendable { case weight, activation }

/// One point of the elastic space: what a quantizer may be (EQ-Net: bit-width, granularity, symmetry).
package struct QuantizationForm: Hashable, Sendable {
  package var width: BitWidth
  package var granularity: Granularity
  package var symmetry: Symmetry

  package init(_ width: BitWidth, _ granularity: Granularity, _ symmetry: Symmetry) {
    self.width = width
    self.granularity = granularity
    self.symmetry = symmetry
  }

  /// The stored integers. Symmetric weights are narrow, -(2^(b-1) - 1) ... 2^(b-1) - 1; asymmetric ones use all levels;
  /// binary ones are -1 and 1 (0 does not occur). Activations are 0 ... 2^b - 1.
  package func storedRange(_ role: QuantizerRole) -> ClosedRange<Int32> {
    switch (width, role) {
    case (.ternary, .weight), (.bits(1), .weight): -1...1
    case (.ternary, .activation): 0...2
    case (.bits(let bits), .activation): 0...((1 << Int32(bits)) - 1)
    case (.bits(let bits), .weight):
      symmetry == .symmetric
        ? -((1 << Int32(bits - 1)) - 1)...((1 << Int32(bits - 1)) - 1)
        : -(1 << Int32(bits - 1))...((1 << Int32(bits - 1)) - 1)
    }
  }
}

/// The step and integer zero point of one quantized tensor, channel or group: `real = scale * (stored - zeroPoint)`.
package struct AffineParameters: Hashable, Sendable {
  package var scale: Float
  package var zeroPoint: Int32

  package init(scale: Float, zeroPoint: Int32) {
    self.scale = scale
    self.zeroPoint = zeroPoint
  }

  /// The parameters under which `form` covers the real interval [low, high], widened to hold 0.
  /// Total: an empty or non-finite interval gives scale 1. Symmetric activations that never go below zero use zero
  /// point 0 and all levels; other symmetric ones have theirs in the middle.
  package init(covering low: Float, _ high: Float, form: QuantizationForm, role: QuantizerRole) {
    let range = form.storedRange(role)
    let low = low.isFinite ? min(low, 0) : 0, high = high.isFinite ? max(high, 0) : 0
    let magnitude = max(-low, high)
    switch (form.symmetry, role) {
    case (.symmetric, .weight):
      self.init(scale: AffineParameters.usable(magnitude / Float(range.upperBound)), zeroPoint: 0)
    case (.symmetric, .activation) where low < 0:
      let middle = (range.upperBound + 1) / 2
      let positiveLevels = max(range.upperBound - middle, 1)
      let scale = max(high / Float(positiveLevels), -low / Float(middle))
      self.init(scale: AffineParameters.usable(scale), zeroPoint: middle)
    case (.symmetric, .activation):
      self.init(scale: AffineParameters.usable(high / Float(range.upperBound)), zeroPoint: 0)
    case (.asymmetric, _):
      let scale = AffineParameters.usable((high - low) / Float(range.upperBound - range.lowerBound))
      let zeroPoint = Float(range.lowerBound) - roundToNearestEven(low / scale)
      self.init(scale: scale, zeroPoint: min(max(Int32(zeroPoint), range.lowerBound), range.upperBound))
    }
  }

  /// A scale that is positive, finite and normal; 1 where `scale` is not (a constant or dead channel).
  package static func usable(_ scale: Float) -> Float { scale.isNormal && scale > 0 ? scale : 1 }

  /// The stored integer of a real number: `clamp(roundHalfEven(x / scale) + zeroPoint)`; NaN gives the zero point.
  @inlinable @inline(__always)
  package func quantize(_ x: Float, _ range: ClosedRange<Int32>) -> Int32 {
    let scaled = roundToNearestEven(x / scale)
    // Outside +-2^24 the result is clamped anyway; the comparison is false for NaN.
    let bounded: Float =
      scaled > -16_777_216
      ? (scaled < 16_777_216 ? scaled : 16_777_216) : (scaled <= -16_777_216 ? -16_777_216 : 0)
    return min(max(Int32(bounded) &+ zeroPoint, range.lowerBound), range.upperBound)
  }

  @inlinable @inline(__always)
  package func dequantize(_ stored: Int32) -> Float { scale * Float(stored &- zeroPoint) }
}

/// Rounds to the nearest integer, ties to even, for any magnitude, without a call into the C library.
@inlinable @inline(__always)
package func roundToNearestEven(_ x: Float) -> Float {
  let magic: Float = 12_582_912  // 1.5 * 2^23: adding it pushes the fraction out of a 24-bit significand
  let magnitude = x.magnitude
  return magnitude < 4_194_304
    ? (x + magic) - magic : (magnitude < 8_388_608 ? x.rounded(.toNearestOrEven) : x)
}
