import Evaluator
import IR
import PassKit
import Support
import Training

/// How a unit's parameters are learned.
struct UnitTraining: Sendable {
  enum Loss: Sendable {
    /// Mean squared error of the unit's output.
    case output
    /// Kullback-Leibler divergence of the answers, for units that end in logits.
    case answers
  }
  var loss: Loss
  var iterations: Int
  var batch: Int
  /// Of weights, in steps; scales and biases take `parameterRate`.
  var weightRate: Float
  var parameterRate: Float
  /// The share of activations that stay unquantized in a step (QDrop, arXiv 2203.05740).
  var dropping: Float
  /// Samples at the end that training does not see.
  private(set) var heldOut = 0
  var seed: UInt64

  /// An eighth; none of fewer samples than that a share of them says something.
  mutating func holdOut(of samples: Int) { heldOut = samples >= 64 ? samples / 8 : 0 }

  init(
    loss: Loss, iterations: Int, batch: Int, weightRate: Float, parameterRate: Float, dropping: Float,
    seed: UInt64
  ) {
    (self.loss, self.iterations, self.batch, self.seed) = (loss, iterations, batch, seed)
    (self.weightRate, self.parameterRate, self.dropping) = (weightRate, parameterRate, dropping)
  }

  /// Lowers the loss of the plan's output, by Adam with a learning rate that falls to zero by half a cosine.
  /// - Parameters:
  ///   - trainables: in the order of the plan's wanted values.
  ///   - inputs: as the network before the unit gives them once quantized.
  ///   - targets: the float network's outputs of the unit.
  func run(
    _ plan: GradientPlan, _ trainables: inout [Trainable], inputs: SampleBank, targets: SampleBank,
    progress: (_ step: Int) -> Void
  ) throws(CompilerError) {
    var random = SeededRandom(seed: seed)
    var order: [Int] = []
    for step in 0..<iterations {
      let count = inputs.count - heldOut, size = min(batch, count)
      if order.count < size {
        order = Array(0..<count)
        order.shuffle(using: &random)
      }
      let samples = Array(order.suffix(size))
      order.removeLast(size)
      let target = targets.batch(samples), loss = self.loss
      let factor = Float(Schedule.cosine(floor: 0).factor(step: step, of: iterations))
      let result = try plan.run(
        [inputs.batch(samples)],
        overriding: Dictionary(uniqueKeysWithValues: trainables.map { ($0.value, $0.tensor) }),
        dropping: dropping > 0
          ? GradientPlan.Dropping(seed: seed &+ UInt64(step) &* 0x9E37, probability: dropping) : nil
      ) { shard throws(CompilerError) in
        let wanted = target.samples(shard.samples)
        let part = loss.part(shard.outputs[0], wanted, count: target.count, batch: shard.batch)
        return GradientPlan.ShardLoss(part.value, [part.gradient])
      }
      for index in trainables.indices {
        let rate =
          switch trainables[index].kind {
          case .weights: weightRate
          case .scale, .bias: parameterRate
          }
        trainables[index].update(result.gradients[index], learningRate: factor * rate)
      }
      progress(step + 1)
    }
  }

  /// The loss on the samples that training does not see, with every activation quantized.
  func heldOutLoss(
    _ plan: GradientPlan, _ values: [ValueID: Tensor], inputs: SampleBank, targets: SampleBank
  ) throws(CompilerError) -> Double {
    var sum = 0.0
    for first in stride(from: inputs.count - heldOut, to: inputs.count, by: 32) {
      let samples = Array(first..<min(first + 32, inputs.count)), target = targets.batch(samples)
      let outputs = try plan.outputs([inputs.batch(samples)], overriding: values)
      sum += loss.part(outputs[0], target, count: 1, batch: 1).value
    }
    return sum
  }
}

extension UnitTraining.Loss {
  /// - Parameters:
  ///   - count: elements of the whole batch's outputs.
  ///   - batch: samples of the whole batch.
  fileprivate func part(_ output: Tensor, _ target: Tensor, count: Int, batch: Int) -> LossPart {
    switch self {
    case .output: meanSquaredError(output, target, count: count)
    case .answers: distillation(output, teacher: target, batch: batch)
    }
  }
}
