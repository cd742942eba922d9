import Glibc

/// The threshold T that minimizes KL(P || Q) over |x|, the largest of equals: P the distribution clipped at T, Q the same in
/// `levels`, or `levels / 2` if there are negative values, buckets of equal width, spread over the bins that P occupies.
func leastDivergence(
  _ histogram: Histogram, levels: Int,
  _ divergence: (_ bins: [Double], _ threshold: Int, _ buckets: Int) -> Double
) -> Float {
  let magnitudes = (0..<Histogram.half).map {
    Double(histogram.counts[Histogram.half + $0] + histogram.counts[Histogram.half - 1 - $0])
  }
  // Fold to at most 2048 bins that hold something.
  let used = (magnitudes.lastIndex { $0 > 0 } ?? 0) + 1
  let fold = (used + 2047) / 2048
  var bins = stride(from: 0, to: used, by: fold).map { magnitudes[$0..<min($0 + fold, used)].reduce(0, +) }
  // Constants, such as the zeros of a ReLU or what a background becomes, stand out of the density whose shape is to be
  // kept; uncapped, a bucket of more bins than theirs would look like a great loss (TensorRT leaves out zeros).
  let all = bins
  for bin in all.indices.dropLast() {
    bins[bin] = min(all[bin], max(bin > 0 ? all[bin - 1] : 0, all[bin + 1]))
  }
  let width = histogram.binWidth * Float(fold)
  let buckets = max(histogram.minimum < 0 ? levels / 2 : levels, 2)
  guard bins.count > buckets else { return width * Float(bins.count) }
  var best = bins.count, least = Double.infinity
  for threshold in stride(from: bins.count, through: buckets, by: -max((bins.count - buckets) / 256, 1)) {
    let value = divergence(bins, threshold, buckets)
    if value < least {
      least = value
      best = threshold
    }
  }
  return width * Float(best)
}

/// With the tail in the last bin of P, and bins that Q leaves empty counted as all but impossible (TensorRT).
func divergence(_ bins: [Double], _ threshold: Int, _ buckets: Int) -> Double {
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

/// P with its tail in the last bin that Q occupies too, both normalized; 0 or more, since their supports coincide. Without the
/// smoothing of empty bins a clipped tail costs what it displaces: no more, and, in front of an empty bin, no less.
func maskedDivergence(_ bins: [Double], _ threshold: Int, _ buckets: Int) -> Double {
  var p = 0.0, q = 0.0, sum = 0.0
  let tail = bins[threshold...].reduce(0, +), last = bins[..<threshold].lastIndex { $0 > 0 }
  for bucket in 0..<buckets {
    let start = bucket * threshold / buckets, end = max((bucket + 1) * threshold / buckets, start + 1)
    let members = (start..<min(end, threshold)).filter { bins[$0] > 0 }
    let mean = members.reduce(0.0) { $0 + bins[$1] } / Double(max(members.count, 1))
    for bin in members {
      let mass = bins[bin] + (bin == last ? tail : 0)
      p += mass
      q += mean
      sum += mass * (log(mass) - log(mean))
    }
  }
  guard p > 0 else { return .infinity }
  // Σ p/P (ln p/P - ln q/Q) = Σ p (ln p - ln q) / P - ln P + ln Q
  return sum / p - log(p) + log(q)
}
