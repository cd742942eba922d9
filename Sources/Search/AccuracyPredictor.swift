import Glibc
import Support

/// Predicts the accuracy of a sub-network from its encoding, for any quantization conditions (EQ-Net's conditional
/// quantization-aware accuracy predictor): the mean of a few perceptrons that start and are trained differently.
///
/// Accuracies are standardized for training. Inputs are not: zeros cost nothing, and ranks came out worse when they were.
package struct AccuracyPredictor: Hashable, Sendable {
  /// What training takes; sized for a few hundred measurements.
  package struct Options: Hashable, Sendable {
    /// Widths of the hidden layers.
    package var hidden = [64, 64]
    package var members = 3
    package var epochs = 100
    package var batch = 32
    /// At the start, then down to 0 by half a cosine.
    package var learningRate = 3e-3
    package var weightDecay = 1.0
    /// The share of the measurements that training does not see.
    package var heldOut = 0.2
    package var seed: UInt64 = 0
    package var threads = 1

    package init() {}
  }

  /// At least one, all of the same sizes.
  let members: [MultilayerPerceptron]
  /// Mean and standard deviation of the accuracies that the members saw.
  let mean: Double
  let deviation: Double

  /// - Requires: encodings by the space whose sub-networks the predictor was trained on.
  package func predict(_ inputs: [[Double]]) -> [Double] {
    guard !inputs.isEmpty else { return [] }
    let inputs = Matrix(inputs)
    precondition(inputs.columns == members[0].inputs)
    var sums = Array(repeating: 0.0, count: inputs.rows)
    for member in members {
      for (index, output) in member.predict(inputs).enumerated() { sums[index] += output }
    }
    return sums.map { mean + deviation * $0 / Double(members.count) }
  }
}

// MARK: Training

extension AccuracyPredictor {
  /// Trains on a random part of measurements; the quality is that on the rest, nil when there is none.
  /// - Requires: measurements, with inputs of one length.
  package static func train(
    _ inputs: [[Double]], _ accuracies: [Double], _ options: Options = Options()
  ) -> (predictor: AccuracyPredictor, quality: PredictionQuality?) {
    precondition(!inputs.isEmpty && inputs.count == accuracies.count)
    precondition(options.members > 0 && 0..<1 ~= options.heldOut)
    var random = SeededRandom(seed: options.seed)
    let order = Array(inputs.indices).shuffled(using: &random)
    let unseen = order.prefix(min(Int(Double(order.count) * options.heldOut), order.count - 1))
    let seen = order.dropFirst(unseen.count)
    let mean = seen.reduce(0) { $0 + accuracies[$1] } / Double(seen.count)
    let variance =
      seen.reduce(0) { $0 + (accuracies[$1] - mean) * (accuracies[$1] - mean) } / Double(seen.count)
    let deviation = variance > 0 ? variance.squareRoot() : 1
    let matrix = Matrix(seen.map { inputs[$0] }), targets = seen.map { (accuracies[$0] - mean) / deviation }
    let members = parallelMap(Array(0..<options.members), threads: options.threads) { member in
      fitted(matrix, targets, options, SeededRandom(seed: options.seed, stream: UInt64(member)))
    }
    let predictor = AccuracyPredictor(members: members, mean: mean, deviation: deviation)
    let quality =
      unseen.isEmpty
      ? nil : PredictionQuality(predictor.predict(unseen.map { inputs[$0] }), unseen.map { accuracies[$0] })
    return (predictor, quality)
  }

  private static func fitted(
    _ inputs: Matrix, _ targets: [Double], _ options: Options, _ random: SeededRandom
  ) -> MultilayerPerceptron {
    var random = random
    var network = MultilayerPerceptron(
      inputs: inputs.columns, hidden: options.hidden, random: &random)
    var optimizers = network.layers.map { Adam(count: $0.values.count) }
    let batch = max(options.batch, 1)
    let steps = options.epochs * ((inputs.rows + batch - 1) / batch)
    var step = 0
    for _ in 0..<options.epochs {
      let order = Array(0..<inputs.rows).shuffled(using: &random)
      for start in stride(from: 0, to: order.count, by: batch) {
        let rows = order[start..<min(start + batch, order.count)]
        let gradients = network.lossAndGradients(inputs.rows(rows), rows.map { targets[$0] }).gradients
        let rate = options.learningRate * (1 + cos(.pi * Double(step) / Double(steps))) / 2
        for layer in network.layers.indices {
          optimizers[layer].update(
            &network.layers[layer].values, gradients[layer].values, rate: rate,
            weightDecay: options.weightDecay)
        }
        step += 1
      }
    }
    return network
  }
}
