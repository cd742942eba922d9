import Support

/// What quantizers take from the score of a network when each adds noise of its own: a site with b bits costs its sensitivity
/// times `decay` to the power -b, whatever the others do.
///
/// Steps halve with every bit, so that noise power falls to a quarter; what accuracy falls by is measured, between 2 and 4.
struct AdditiveNoise: Hashable, Sendable {
  /// The score without any noise.
  private(set) var ceiling = 0.0
  /// Of sites; never negative, 0 for pinned sites and conditions.
  private(set) var sensitivities: [Double]
  let decay: Double

  func predict(_ space: ElasticSpace, _ subnet: [Int]) -> Double {
    losses(space, subnet).reduce(ceiling, -)
  }
  /// What every site takes from the score.
  func losses(_ space: ElasticSpace, _ subnet: [Int]) -> [Double] {
    zip(sensitivities, Self.features(space, subnet, decay)).map(*)
  }

  /// The fit with the least squares over a few decays.
  /// - Requires: at least one sub-network, and as many scores.
  static func fitted(_ space: ElasticSpace, _ subnets: [[Int]], _ scores: [Double]) -> AdditiveNoise {
    let all = [2, 2.5, 3, 3.5, 4].map { AdditiveNoise(space, subnets, scores, decay: $0) }
    let errors = all.map { noise in
      zip(subnets, scores).reduce(0) { sum, pair in
        let error = noise.predict(space, pair.0) - pair.1
        return sum + error * error
      }
    }
    return all[errors.indices.min { errors[$0] < errors[$1] } ?? 0]
  }

  /// Non-negative least squares by coordinate descent.
  private init(_ space: ElasticSpace, _ subnets: [[Int]], _ scores: [Double], decay: Double) {
    self.decay = decay
    let rows = subnets.map { Self.features(space, $0, decay) }, count = Double(rows.count)
    let columns = space.sites.indices,
      means = columns.map { column in rows.reduce(0) { $0 + $1[column] } / count }
    let mean = scores.reduce(0, +) / count
    // With means taken away the ceiling takes no part.
    let centered = rows.map { row in columns.map { row[$0] - means[$0] } }
    var products = columns.map { _ in Array(repeating: 0.0, count: columns.count) }
    var slopes = Array(repeating: 0.0, count: columns.count)
    for (row, score) in zip(centered, scores) {
      for i in columns where row[i] != 0 {
        slopes[i] -= row[i] * (score - mean)
        for j in columns { products[i][j] += row[i] * row[j] }
      }
    }
    sensitivities = Array(repeating: 0, count: columns.count)
    for _ in 0..<1000 {
      var change = 0.0
      for i in columns where products[i][i] > 0 {
        let before = sensitivities[i]
        let others = zip(products[i], sensitivities).reduce(0) { $0 + $1.0 * $1.1 } - products[i][i] * before
        sensitivities[i] = max((slopes[i] - others) / products[i][i], 0)
        change = max(
          change, abs(sensitivities[i] - before) / max(sensitivities[i], before, .leastNormalMagnitude))
      }
      if change < 1e-6 { break }
    }
    ceiling = mean + zip(sensitivities, means).reduce(0) { $0 + $1.0 * $1.1 }
  }

  /// The noise of sites of sensitivity 1, beside that of the narrowest width.
  private static func features(_ space: ElasticSpace, _ subnet: [Int], _ decay: Double) -> [Double] {
    zip(space.sites, subnet).map { site, choice in
      guard site.role != .condition, !site.isPinned, let narrowest = site.choices.min() else { return 0 }
      return power(decay, narrowest - site.choices[choice])
    }
  }
}

/// Rounds alike on every machine, as `pow` need not.
private func power(_ base: Double, _ exponent: Int) -> Double {
  let product = (0..<abs(exponent)).reduce(1.0) { result, _ in result * base }
  return exponent < 0 ? 1 / product : product
}
