/// How well predictions agree with measurements.
package struct PredictionQuality: Hashable, Sendable {
  /// Linear correlation; like the others 0 where all predictions or all measurements are equal.
  package var pearson: Double
  /// Correlation of the ranks.
  package var spearman: Double
  /// Pairs in the same order less pairs in the opposite one, ties accounted for (tau-b).
  package var kendall: Double
  package var meanAbsoluteError: Double

  /// - Requires: as many predictions as measurements.
  package init(_ predictions: [Double], _ measurements: [Double]) {
    precondition(predictions.count == measurements.count)
    pearson = correlation(predictions, measurements)
    spearman = correlation(ranks(predictions), ranks(measurements))
    kendall = tau(predictions, measurements)
    let errors = zip(predictions, measurements).reduce(0) { $0 + abs($1.0 - $1.1) }
    meanAbsoluteError = errors / Double(max(predictions.count, 1))
  }
}

private func correlation(_ x: [Double], _ y: [Double]) -> Double {
  let meanX = x.reduce(0, +) / Double(max(x.count, 1)), meanY = y.reduce(0, +) / Double(max(y.count, 1))
  var xy = 0.0, xx = 0.0, yy = 0.0
  for (x, y) in zip(x, y) {
    xy += (x - meanX) * (y - meanY)
    xx += (x - meanX) * (x - meanX)
    yy += (y - meanY) * (y - meanY)
  }
  return xx > 0 && yy > 0 ? xy / (xx * yy).squareRoot() : 0
}

/// Ranks from 0; equals share the mean of theirs.
private func ranks(_ x: [Double]) -> [Double] {
  let order = x.indices.sorted { x[$0] < x[$1] }
  var result = x, start = 0
  while start < order.count {
    let end = order[start...].firstIndex { x[$0] > x[order[start]] } ?? order.count
    for index in order[start..<end] { result[index] = Double(start + end - 1) / 2 }
    start = end
  }
  return result
}

private func tau(_ x: [Double], _ y: [Double]) -> Double {
  var agreement = 0.0, differentX = 0.0, differentY = 0.0
  for i in x.indices {
    for j in 0..<i {
      let a = sign(x[i] - x[j]), b = sign(y[i] - y[j])
      agreement += a * b
      differentX += a * a
      differentY += b * b
    }
  }
  return differentX > 0 && differentY > 0 ? agreement / (differentX * differentY).squareRoot() : 0
}

private func sign(_ x: Double) -> Double { x > 0 ? 1 : x < 0 ? -1 : 0 }
