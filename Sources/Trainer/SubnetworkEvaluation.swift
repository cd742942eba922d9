import Evaluator
import Glibc
import IR
import Support
import Training

/// How well a sub-network answers, in percent.
package struct SubnetworkQuality: Hashable, BitwiseCopyable, Sendable {
  /// The share of right answers.
  package var accuracy: Double
  /// `100 exp(-d)`, d the mean Kullback-Leibler divergence, in nats, of its probabilities from those of another one; counts
  /// also what changes answers without changing which class is first.
  package var fidelity: Double
  package init(accuracy: Double, fidelity: Double) { (self.accuracy, self.fidelity) = (accuracy, fidelity) }
}

/// Measures sub-networks of one network: normalizations estimated anew for each, then the share of right answers.
package struct SubnetworkEvaluation: Sendable {
  private let graph: Graph
  private let values: [ValueID: Tensor]
  private let running: [ValueID: Tensor]
  private let estimating: GradientPlan
  private let answering: GradientPlan
  private let batch: Int
  private let threads: Int

  package init(_ network: TrainableGraph, batch: Int = 128, threads: Int) throws(CompilerError) {
    graph = network.graph
    values = network.values
    running = network.runningValues
    self.batch = batch
    self.threads = threads
    let parameters = network.parameters.map(\.value)
    estimating = try GradientPlan(
      graph, gradientsOf: [], overridable: parameters, batchNormalization: .batch, shardSize: batch / 2,
      threads: threads)
    answering = try GradientPlan(
      graph, outputs: [.init(try graph.logits())], gradientsOf: [],
      overridable: parameters + Array(network.running.keys).sorted(),
      shardSize: batch / 2, threads: threads)
  }

  /// Means and variances of normalizations in a sub-network, over samples without augmentation.
  package func statistics(
    _ subnetwork: Subnetwork, _ samples: TrainingSamples, count: Int
  ) throws(CompilerError) -> [ValueID: Tensor] {
    guard !running.isEmpty else { return [:] }
    var estimate = BatchNormEstimate()
    // Spread over the samples, which may be sorted by class.
    let chosen = (0..<min(count, samples.count)).map { $0 * samples.count / min(count, samples.count) }
    let stride = max(chosen.count / batch, 1)
    for first in 0..<stride {
      let indices = Swift.stride(from: first, to: chosen.count, by: stride).map { chosen[$0] }
      let inputs = try samples.batch(indices, nil, seed: 0, number: 0, threads: threads).inputs
      estimate.add(
        try estimating.statistics([inputs], overriding: values, forms: subnetwork), samples: indices.count)
    }
    return estimate.values(in: graph)
  }

  /// The share of right answers in percent.
  /// - Parameter statistics: of normalizations; nil: those averaged in training.
  package func accuracy(
    _ subnetwork: Subnetwork, statistics: [ValueID: Tensor]?, on samples: TrainingSamples
  ) throws(CompilerError) -> Double {
    var right = 0
    try forEachAnswer(subnetwork, statistics, samples) { _, label, logits in
      if isRight(logits, label) { right += 1 }
    }
    return 100 * Double(right) / Double(max(samples.count, 1))
  }

  /// - Parameter reference: `logProbabilities` of another sub-network on the same samples.
  package func quality(
    _ subnetwork: Subnetwork, statistics: [ValueID: Tensor]?, on samples: TrainingSamples,
    beside reference: [Float]
  ) throws(CompilerError) -> SubnetworkQuality {
    var right = 0, divergence = 0.0
    try forEachAnswer(subnetwork, statistics, samples) { sample, label, logits in
      if isRight(logits, label) { right += 1 }
      let normalizer = logSumOfExponentials(logits)
      for (index, logit) in logits.enumerated() {
        let other = Double(reference[sample * logits.count + index])
        divergence += exp(other) * (other - (Double(logit) - normalizer))
      }
    }
    let count = Double(max(samples.count, 1))
    // Rounding may leave a hair less than no divergence; a network that answers no numbers has no fidelity.
    let fidelity = divergence.isNaN ? 0 : 100 * min(exp(-divergence / count), 1)
    return .init(accuracy: 100 * Double(right) / count, fidelity: fidelity)
  }

  /// The logarithms of the probabilities of classes, sample after sample.
  package func logProbabilities(
    _ subnetwork: Subnetwork, statistics: [ValueID: Tensor]?, on samples: TrainingSamples
  ) throws(CompilerError) -> [Float] {
    var result: [Float] = []
    try forEachAnswer(subnetwork, statistics, samples) { _, _, logits in
      let normalizer = logSumOfExponentials(logits)
      for logit in logits { result.append(Float(Double(logit) - normalizer)) }
    }
    return result
  }

  private func forEachAnswer(
    _ subnetwork: Subnetwork, _ statistics: [ValueID: Tensor]?, _ samples: TrainingSamples,
    _ body: (_ sample: Int, _ label: Int, _ logits: ArraySlice<Float>) -> Void
  ) throws(CompilerError) {
    let overriding = values.merging(statistics ?? running) { $1 }
    for first in stride(from: 0, to: samples.count, by: 2 * batch) {
      let indices = Array(first..<min(first + 2 * batch, samples.count))
      let (inputs, labels) = try samples.batch(indices, nil, seed: 0, number: 0, threads: threads)
      let logits = try answering.outputs([inputs], overriding: overriding, forms: subnetwork)[0]
      let classes = logits.shape[1], values = logits.floats
      for (row, label) in labels.enumerated() {
        body(first + row, label, values[row * classes..<(row + 1) * classes])
      }
    }
  }
}

private func isRight(_ logits: ArraySlice<Float>, _ label: Int) -> Bool {
  logits.firstIndex(of: logits.max() ?? 0) == logits.startIndex + label
}

private func logSumOfExponentials(_ logits: ArraySlice<Float>) -> Double {
  let largest = Double(logits.max() ?? 0)
  return largest + log(logits.reduce(0) { $0 + exp(Double($1) - largest) })
}
