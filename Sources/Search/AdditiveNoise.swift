import Support

/// What quantizers take from the score of a network when each adds noise of its own: a site takes its sensitivity times the
/// factor of its width, whatever the others do.
///
/// Steps halve with every bit, so that noise power falls to a quarter; what a score falls by is measured, between 2 and 4.
/// The factors of widths begin there and move as far as the measurements have them, alike for all weights and for all
/// activations.
struct AdditiveNoise: Hashable, Sendable {
  /// The score without any noise.
  private(set) var ceiling = 0.0
  /// Of sites; never negative, 0 for pinned sites and conditions.
  private(set) var sensitivities: [Double]
  /// By site and choice; one bit less is about `decay` times as much, and the narrowest width of a site about 1.
  private(set) var factors: [[Double]]
  let decay: Double

  func predict(_ subnet: [Int]) -> Double {
    var result = ceiling
    for site in subnet.indices { result -= sensitivities[site] * factors[site][subnet[site]] }
    return result
  }

  /// The fit with the least squares.
  /// - Requires: at least one sub-network, and as many scores.
  static func fitted(_ space: ElasticSpace, _ subnets: [[Int]], _ scores: [Double]) -> AdditiveNoise {
    let all = [2, 2.5, 3, 3.5, 4].map { AdditiveNoise(space, subnets, scores, decay: $0) }
    let errors = all.map { $0.error(subnets, scores) }
    var best = all[errors.indices.min { errors[$0] < errors[$1] } ?? 0]
    // Sensitivities and factors multiply: each is fitted in turn.
    let powers = best.factors
    for _ in 0..<4 {
      best.fitFactors(powers, space, subnets, scores)
      best.fitSensitivities(subnets, scores)
    }
    return best
  }

  private init(_ space: ElasticSpace, _ subnets: [[Int]], _ scores: [Double], decay: Double) {
    self.decay = decay
    factors = space.sites.map { site in
      let narrowest = site.choices.min() ?? 0
      return site.choices.map { width in
        site.role == .condition || site.isPinned ? 0 : power(decay, narrowest - width)
      }
    }
    sensitivities = Array(repeating: 0, count: space.sites.count)
    fitSensitivities(subnets, scores)
  }

  /// The mean square of what is left.
  private func error(_ subnets: [[Int]], _ scores: [Double]) -> Double {
    zip(subnets, scores).reduce(0) { sum, pair in
      let error = predict(pair.0) - pair.1
      return sum + error * error
    } / Double(scores.count)
  }

  private mutating func fitSensitivities(_ subnets: [[Int]], _ scores: [Double]) {
    let fit = NonNegativeFit(
      subnets.map { subnet in subnet.indices.map { factors[$0][subnet[$0]] } }, scores,
      start: sensitivities)
    (ceiling, sensitivities) = (fit.ceiling, fit.slopes)
  }

  /// Every width of a role multiplies its powers by one number. Before they are measured these numbers are taken
  /// to be 1, give or take 0.3; the more is left unexplained, the less they move from there.
  private mutating func fitFactors(
    _ powers: [[Double]], _ space: ElasticSpace, _ subnets: [[Int]], _ scores: [Double]
  ) {
    var keys: [[Int]: Int] = [:]
    let columns = space.sites.map { site in
      site.choices.map { width in
        let key = [site.role == .weights ? 0 : 1, width], next = keys.count
        guard site.role != .condition, !site.isPinned else { return -1 }
        keys[key] = keys[key] ?? next
        return keys[key] ?? next
      }
    }
    let rows = subnets.map { subnet in
      var row = Array(repeating: 0.0, count: keys.count)
      for (site, choice) in subnet.enumerated() where columns[site][choice] >= 0 {
        row[columns[site][choice]] += sensitivities[site] * powers[site][choice]
      }
      return row
    }
    let fit = NonNegativeFit(
      rows, scores, start: Array(repeating: 1, count: keys.count), pull: error(subnets, scores) / (0.3 * 0.3))
    for site in factors.indices {
      for choice in factors[site].indices where columns[site][choice] >= 0 {
        factors[site][choice] = powers[site][choice] * fit.slopes[columns[site][choice]]
      }
    }
  }
}

/// Scores as a ceiling less a sum of columns with slopes that are not negative: least squares by coordinate descent.
private struct NonNegativeFit {
  private(set) var ceiling: Double
  private(set) var slopes: [Double]

  /// - Parameters:
  ///   - start: the slopes that descent begins with; columns that never vary keep them.
  ///   - pull: what the square of a slope's distance from its start costs.
  init(_ rows: [[Double]], _ scores: [Double], start: [Double], pull: Double = 0) {
    let columns = start.indices, count = Double(rows.count)
    let means = columns.map { column in rows.reduce(0) { $0 + $1[column] } / count }
    let mean = scores.reduce(0, +) / count
    // With means taken away the ceiling takes no part.
    let centered = rows.map { row in columns.map { row[$0] - means[$0] } }
    var products = columns.map { _ in Array(repeating: 0.0, count: columns.count) }
    var targets = Array(repeating: 0.0, count: columns.count)
    for (row, score) in zip(centered, scores) {
      for i in columns where row[i] != 0 {
        targets[i] -= row[i] * (score - mean)
        for j in columns { products[i][j] += row[i] * row[j] }
      }
    }
    slopes = start
    for _ in 0..<1000 {
      var change = 0.0
      for i in columns where products[i][i] > 0 {
        let before = slopes[i]
        let others = zip(products[i], slopes).reduce(0) { $0 + $1.0 * $1.1 } - products[i][i] * before
        slopes[i] = max((targets[i] - others + pull * start[i]) / (products[i][i] + pull), 0)
        change = max(change, abs(slopes[i] - before) / max(slopes[i], before, .leastNormalMagnitude))
      }
      if change < 1e-6 { break }
    }
    ceiling = mean + zip(slopes, means).reduce(0) { $0 + $1.0 * $1.1 }
  }
}

/// Rounds alike on every machine, as `pow` need not.
private func power(_ base: Double, _ exponent: Int) -> Double {
  let product = (0..<abs(exponent)).reduce(1.0) { result, _ in result * base }
  return exponent < 0 ? 1 / product : product
}
