import Evaluator
import IR
import Support
import Training

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
    _ subnetwork: Subnetwork, statistics: [ValueID: Tensor]?, on samples: TrainingSamples,
    progress: (_ done: Int) -> Void = { _ in }
  ) throws(CompilerError) -> Double {
    var right = 0
    let overriding = values.merging(statistics ?? running) { $1 }
    for first in stride(from: 0, to: samples.count, by: 2 * batch) {
      let indices = Array(first..<min(first + 2 * batch, samples.count))
      let (inputs, labels) = try samples.batch(indices, nil, seed: 0, number: 0, threads: threads)
      let logits = try answering.outputs([inputs], overriding: overriding, forms: subnetwork)[0]
      let classes = logits.shape[1], values = logits.floats
      for (row, label) in labels.enumerated() {
        let answers = values[row * classes..<(row + 1) * classes]
        if answers.firstIndex(of: answers.max() ?? 0) == row * classes + label { right += 1 }
      }
      progress(first + indices.count)
    }
    return 100 * Double(right) / Double(max(samples.count, 1))
  }
}
