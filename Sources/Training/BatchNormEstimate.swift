import Evaluator
import IR
import Support

/// Running means and variances of batch normalizations for one choice of weights and quantizers, by averaging over batches
/// that are all counted alike (rather than an exponential average), as each sub-network of a supernet needs before it is
/// evaluated (Yu and Huang, arXiv 1903.05134).
package struct BatchNormEstimate: Sendable {
  package private(set) var operations: [OpID] = []
  private var means: [[Double]] = []
  private var squares: [[Double]] = []
  private var weight = 0.0

  package init() {}

  /// - Parameters:
  ///   - statistics: of one batch, always of the same plan.
  ///   - samples: in that batch.
  package mutating func add(_ statistics: [GradientPlan.BatchStatistics], samples: Int) {
    if operations.isEmpty {
      operations = statistics.map(\.operation)
      means = statistics.map { $0.means.map { _ in 0 } }
      squares = means
    }
    for (index, part) in statistics.enumerated() {
      for channel in part.means.indices {
        let mean = Double(part.means[channel])
        means[index][channel] += mean * Double(samples)
        squares[index][channel] += (Double(part.variances[channel]) + mean * mean) * Double(samples)
      }
    }
    weight += Double(samples)
  }

  /// The mean and variance operands of every normalization in `graph`.
  package func values(in graph: Graph) -> [ValueID: Tensor] {
    var values: [ValueID: Tensor] = [:]
    for (index, operation) in operations.enumerated() where weight > 0 {
      let operands = graph[operation].operands
      let mean = means[index].map { $0 / weight }
      let variance = zip(squares[index], mean).map { max($0 / weight - $1 * $1, 0) }
      values[operands[3]] = Tensor([mean.count], mean.map { Float($0) })
      values[operands[4]] = Tensor([mean.count], variance.map { Float($0) })
    }
    return values
  }
}
