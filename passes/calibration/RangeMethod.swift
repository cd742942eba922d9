import Glibc
import IR
import Numerics

/// How a quantizer's real interval is chosen from observed values.
package enum RangeMethod: String, TextEnumeration, Hashable {
  /// The smallest and largest value.
  case minMax = "min-max"
  /// The mean of the samples' smallest values and of their largest: what a moving average tends to, in any order.
  case average
  /// The interval that leaves out the share 1 - percentile on either side.
  case percentile
  /// The threshold whose quantized distribution diverges least from the observed one (Kullback-Leibler, as in TensorRT).
  case entropy
  /// The same divergence, normalized, over the bins that both distributions occupy (CFWS, arXiv 2312.10588).
  case maskedEntropy = "masked-entropy"
  /// The interval with the least mean squared error, among 80 that shrink it step by step.
  case mse
  /// The same in the norm L2.4, which minds large errors more (EQ-Net, BRECQ).
  case l24 = "l2.4"
}

extension RangeMethod {
  /// The real interval for observed values under `form`.
  func range(_ site: SiteStatistics, _ form: QuantizationForm, percentile: Double) -> ClosedRange<Float> {
    let histogram = site.histogram
    guard histogram.total > 0, histogram.minimum < histogram.maximum || histogram.minimum != 0 else {
      return 0...0
    }
    let low = min(histogram.minimum, 0), high = max(histogram.maximum, 0)
    switch self {
    case .minMax: return low...high
    case .average:
      let average = site.averageExtremes
      return min(average.lowerBound, 0)...max(average.upperBound, 0)
    case .percentile:
      let tail = (100 - percentile) / 100
      return min(histogram.quantile(tail), 0)...max(histogram.quantile(1 - tail), 0)
    case .entropy, .maskedEntropy:
      let threshold = leastDivergence(
        histogram, levels: form.storedRange(.activation).count,
        self == .entropy ? divergence : maskedDivergence)
      return max(low, -threshold)...min(high, threshold)
    case .mse:
      let bins = histogram.occupied
      return leastError(low, high, form, .activation) { parameters, range in
        bins.reduce(0.0) {
          let difference = Double($1.center - parameters.dequantize(parameters.quantize($1.center, range)))
          return $0 + $1.count * difference * difference
        }
      }
    case .l24:
      let bins = histogram.occupied
      return leastError(low, high, form, .activation) { parameters, range in
        bins.reduce(0.0) { $0 + $1.count * Double(errorNorm($1.center, parameters, range)) }
      }
    }
  }
}

/// The shrunken interval, of 80, whose quantization `error` is least; the widest of equals.
func leastError(
  _ low: Float, _ high: Float, _ form: QuantizationForm, _ role: QuantizerRole,
  error: (AffineParameters, ClosedRange<Int32>) -> Double
) -> ClosedRange<Float> {
  let stored = form.storedRange(role)
  var best = low...high, least = Double.infinity
  for step in 0..<80 {
    let factor = 1 - 0.01 * Float(step)
    let value = error(AffineParameters(covering: low * factor, high * factor, form: form, role: role), stored)
    if value < least {
      least = value
      best = low * factor...high * factor
    }
  }
  return best
}

/// `|x - x̂|^2.4`.
@inline(__always)
func errorNorm(_ x: Float, _ parameters: AffineParameters, _ range: ClosedRange<Int32>) -> Float {
  let difference = abs(x - parameters.dequantize(parameters.quantize(x, range)))
  return power24(difference)
}

/// `x^2.4` for x >= 0, to about 0.5 %: `x² (x²)^0.2`, the fifth root by one Newton step from a guess in the exponent bits.
@inline(__always)
func power24(_ x: Float) -> Float {
  let square = x * x
  guard square > 1e-30 else { return 0 }
  // Dividing the bit pattern by 5 divides the exponent; the constant restores four fifths of the bias.
  var root = Float(bitPattern: square.bitPattern / 5 + 0x32C8_4000)
  let fourth = root * root * root * root
  root = 0.8 * root + 0.2 * square / fourth
  return square * root
}
