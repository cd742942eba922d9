import IR
import Numerics

/// The parameters of one form for a weight constant: one, or one per output channel (axis 0), or per group of the
/// channel's elements. Wide forms cover every weight; narrower ones take the least L2.4 error; binary ones the mean
/// magnitude, which has the least squared error (XNOR-Net, arXiv 1603.05279).
/// - Requires: `weights.count` is a multiple of `channels`.
func weightParameters(
  _ weights: UnsafeBufferPointer<Float>, channels: Int, _ form: QuantizationForm, _ method: RangeMethod
) -> [AffineParameters] {
  func parameters(_ part: UnsafeBufferPointer<Float>) -> AffineParameters {
    var low: Float = 0, high: Float = 0
    for weight in part where weight.isFinite {
      low = min(low, weight)
      high = max(high, weight)
    }
    if form.isBinaryWeight(.weight) {
      let sum = part.reduce(Double(0)) { $0 + ($1.isFinite ? Double(abs($1)) : 0) }
      return AffineParameters(
        scale: AffineParameters.usable(Float(sum / Double(max(part.count, 1)))), zeroPoint: 0)
    }
    if method == .minMax { return AffineParameters(covering: low, high, form: form, role: .weight) }
    let best = leastError(low, high, form, .weight) { candidate, stored in
      weightError(part, candidate, stored)
    }
    return AffineParameters(covering: best.lowerBound, best.upperBound, form: form, role: .weight)
  }
  let rowLength = weights.count / max(channels, 1)
  func slice(_ start: Int, _ count: Int) -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(rebasing: weights[start..<start + count])
  }
  switch form.granularity {
  case .tensor: return [parameters(weights)]
  case .channel: return (0..<channels).map { parameters(slice($0 * rowLength, rowLength)) }
  case .group(let size):
    return (0..<channels).flatMap { channel in
      stride(from: 0, to: rowLength, by: size).map { start in
        parameters(slice(channel * rowLength + start, min(size, rowLength - start)))
      }
    }
  }
}

/// Σ |w - ŵ|^2.4, with the division replaced by a product: the sum only ranks candidates.
private func weightError(
  _ weights: UnsafeBufferPointer<Float>, _ parameters: AffineParameters, _ stored: ClosedRange<Int32>
) -> Double {
  let inverse = 1 / parameters.scale, scale = parameters.scale
  let low = Float(stored.lowerBound - parameters.zeroPoint),
    high = Float(stored.upperBound - parameters.zeroPoint)
  var sum: Float = 0
  let magic: Float = 12_582_912
  for weight in weights {
    let level = min(max(weight * inverse, low), high)
    sum += power24(abs(weight - ((level + magic) - magic) * scale))
  }
  return Double(sum)
}
