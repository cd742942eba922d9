import Glibc
import IR
import Numerics

/// How a quantizer's real interval is chosen from observed values.
enum RangeMethod: String, TextEnumeration, Hashable {
  /// The smallest and largest value.
  case minMax = "min-max"
  /// The interval that leaves out the share 1 - percentile on either side.
  case percentile
  /// The threshold whose quantized distribution diverges least from the observed one (Kullback-Leibler, as in TensorRT).
  case entropy
  /// The interval with the least error in the L2.4 norm, among 80 that shrink it step by step (EQ-Net, BRECQ).
  case mse
}

extension RangeMethod {
  /// The real interval for values with this histogram under `form`.
  func range(_ histogram: Histogram, _ form: QuantizationForm, percentile: Double) -> ClosedRange<Float> {
    guard histogram.total > 0, histogram.minimum < histogram.maximum || histogram.minimum != 0 else {
      return 0...0
    }
    let low = min(histogram.minimum, 0), high = max(histogram.maximum, 0)
    switch self {
    case .minMax: return low...high
    case .percentile:
      let tail = (100 - percentile) / 100
      return min(histogram.quantile(tail), 0)...max(histogram.quantile(1 - tail), 0)
    case .entropy:
      let threshold = leastDivergence(histogram, levels: form.storedRange(.activation).count)
      return max(low, -threshold)...min(high, threshold)
    case .mse:
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

/// The threshold T that minimizes KL(P || Q) over |x|: P the distribution clipped at T, Q the same in `levels / 2`
/// buckets of equal width, spread over the bins that P occupies.
private func leastDivergence(_ histogram: Histogram, levels: Int) -> Float {
  let magnitudes = (0..<Histogram.half).map {
    Double(histogram.counts[Histogram.half + $0] + histogram.counts[Histogram.half - 1 - $0])
  }
  // Fold to at most 2048 bins that hold something.
  let used = (magnitudes.lastIndex { $0 > 0 } ?? 0) + 1
  let fold = (used + 2047) / 2048
  let bins = stride(from: 0, to: used, by: fold).map { magnitudes[$0..<min($0 + fold, used)].reduce(0, +) }
  let width = histogram.binWidth * Float(fold)
  let isSigned = histogram.minimum < 0
  let buckets = max(isSigned ? levels / 2 : levels, 2)
  guard bins.count > buckets else { return width * Float(bins.count) }
  var best = bins.count, least = Double.infinity
  for threshold in stride(from: buckets, through: bins.count, by: max((bins.count - buckets) / 256, 1)) {
    let divergence = divergence(bins, threshold, buckets)
    if divergence < least {
      least = divergence
      best = threshold
    }
  }
  return width * Float(best)
}

private func divergence(_ bins: [Double], _ threshold: Int, _ buckets: Int) -> Double {
  let tail = bins[threshold...].reduce(0, +)
  var p = Array(bins[..<threshold])
  p[threshold - 1] += tail
  let total = p.reduce(0, +)
  let inside = bins[..<threshold].reduce(0, +)
  guard total > 0, inside > 0 else { return .infinity }
  var result = 0.0
  for bucket in 0..<buckets {
    let start = bucket * threshold / buckets, end = max((bucket + 1) * threshold / buckets, start + 1)
    var mass = 0.0, occupied = 0.0
    for bin in start..<min(end, threshold) where bins[bin] > 0 {
      mass += bins[bin]
      occupied += 1
    }
    for bin in start..<min(end, threshold) where p[bin] > 0 {
      let q = bins[bin] > 0 ? mass / occupied / inside : 1e-9
      result += p[bin] / total * log(p[bin] / total / max(q, 1e-12))
    }
  }
  return result
}
