import Glibc
import Support

/// Predicts the accuracy of a sub-network, for any quantization conditions (EQ-Net's conditional quantization-aware accuracy
/// predictor, on top of a model of noise that adds up).
///
/// The model of noise has one number a site to learn, and says most. What it leaves, conditions and sites that matter
/// together, the mean of a few perceptrons learns from encodings; they start and are trained differently.
/// What they learn is standardized. Inputs are not: zeros cost nothing, and ranks came out worse when they were.
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

  let space: ElasticSpace
  let noise: AdditiveNoise
  /// At least one, all of the same sizes.
  let members: [MultilayerPerceptron]
  /// Standard deviation of what the noise left of the accuracies that the members saw.
  let deviation: Double

  /// - Requires: sub-networks of the space that the predictor was trained on.
  package func predict(_ subnets: [[Int]]) -> [Double] {
    guard !subnets.isEmpty else { return [] }
    let inputs = Matrix(subnets.map(space.encode))
    var sums = Array(repeating: 0.0, count: inputs.rows)
    for member in members {
      for (index, output) in member.predict(inputs).enumerated() { sums[index] += output }
    }
    return zip(subnets, sums).map { noise.predict(space, $0) + deviation * $1 / Double(members.count) }
  }

  /// What every site takes from the score as far as noise adds up, which is most of it; 0 for conditions and pinned sites.
  package func losses(_ subnet: [Int]) -> [Double] { noise.losses(space, subnet) }
}

// MARK: Training

extension AccuracyPredictor {
  /// Trains on a random part of measurements; the quality is that on the rest, nil when there is none.
  /// - Requires: measurements.
  package static func train(
    _ space: ElasticSpace, _ subnets: [[Int]], _ accuracies: [Double], _ options: Options = Options()
  ) -> (predictor: AccuracyPredictor, quality: PredictionQuality?) {
    precondition(!subnets.isEmpty && subnets.count == accuracies.count)
    precondition(options.members > 0 && 0..<1 ~= options.heldOut)
    var random = SeededRandom(seed: options.seed)
    let order = Array(subnets.indices).shuffled(using: &random)
    let unseen = order.prefix(min(Int(Double(order.count) * options.heldOut), order.count - 1))
    let seen = order.dropFirst(unseen.count), known = seen.map { subnets[$0] }
    let noise = AdditiveNoise.fitted(space, known, seen.map { accuracies[$0] })
    let rest = seen.map { accuracies[$0] - noise.predict(space, subnets[$0]) }
    let variance = rest.reduce(0) { $0 + $1 * $1 } / Double(rest.count)
    let deviation = variance > 0 ? variance.squareRoot() : 1
    let matrix = Matrix(known.map(space.encode)), targets = rest.map { $0 / deviation }
    let members = parallelMap(Array(0..<options.members), threads: options.threads) { member in
      fitted(matrix, targets, options, SeededRandom(seed: options.seed, stream: UInt64(member)))
    }
    let predictor = AccuracyPredictor(space: space, noise: noise, members: members, deviation: deviation)
    let quality =
      unseen.isEmpty
      ? nil : PredictionQuality(predictor.predict(unseen.map { subnets[$0] }), unseen.map { accuracies[$0] })
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
