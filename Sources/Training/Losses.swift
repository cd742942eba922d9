import Evaluator
import Glibc
import IR

/// A shard's part of a loss that is a mean over the whole batch, and its gradient.
package struct LossPart: Sendable {
  package var value: Double
  package var gradient: Tensor

  package init(value: Double, gradient: Tensor) {
    self.value = value
    self.gradient = gradient
  }
}

/// The mean over all elements of the batch of `(y - target)^2`, each times its weight where there are any.
/// - Parameter count: elements of the whole batch.
/// - Requires: all shapes are the same.
package func meanSquaredError(
  _ y: Tensor, _ target: Tensor, weights: Tensor? = nil, count: Int
) -> LossPart {
  precondition(y.shape == target.shape && weights?.shape ?? y.shape == y.shape)
  var sum = 0.0
  let factor = 2 / Float(max(count, 1))
  let values = zip(y.floats, target.floats).map { $0 - $1 }
  let scale = weights?.floats
  var gradient = values
  for i in values.indices {
    let weight = scale?[i] ?? 1
    sum += Double(weight) * Double(values[i]) * Double(values[i])
    gradient[i] = factor * weight * values[i]
  }
  return LossPart(value: sum / Double(max(count, 1)), gradient: Tensor(y.shape, gradient))
}

/// The mean over the batch of the cross-entropy of softmax(logits) with the labels, of which `smoothing` is spread evenly
/// over all classes.
/// - Parameter batch: samples of the whole batch.
/// - Requires: logits [samples, classes], labels within the classes.
package func crossEntropy(
  _ logits: Tensor, labels: ArraySlice<Int>, smoothing: Float = 0, batch: Int
) -> LossPart {
  let classes = logits.shape[1]
  precondition(logits.shape == [labels.count, classes] && labels.allSatisfy { (0..<classes).contains($0) })
  return divergence(logits, batch: batch) { sample, target in
    for i in 0..<classes { target[i] = Double(smoothing) / Double(classes) }
    target[labels[labels.startIndex + sample]] += 1 - Double(smoothing)
    return 0
  }
}

/// The mean over the batch of the Kullback-Leibler divergence of softmax(logits / temperature) from the teacher's, times
/// the squared temperature, which keeps gradients of one size (Hinton and others 2015).
/// - Requires: both [samples, classes].
package func distillation(
  _ logits: Tensor, teacher: Tensor, temperature: Double = 1, batch: Int
) -> LossPart {
  precondition(logits.shape == teacher.shape && logits.shape.count == 2)
  let classes = logits.shape[1], teacher = teacher.floats
  return divergence(logits, temperature: temperature, batch: batch) { sample, target in
    let row = teacher[(sample * classes)..<((sample + 1) * classes)]
    let logarithms = logSoftmax(row.map { Double($0) / temperature })
    var negativeEntropy = 0.0
    for i in 0..<classes {
      target[i] = exp(logarithms[i])
      negativeEntropy += target[i] * logarithms[i]
    }
    return negativeEntropy
  }
}

/// The mean of `constant - sum(target * log softmax(logits / temperature))`, times the squared temperature; `target`
/// fills in the probabilities of one sample and returns the constant.
private func divergence(
  _ logits: Tensor, temperature: Double = 1, batch: Int, _ target: (Int, inout [Double]) -> Double
) -> LossPart {
  let classes = logits.shape[1], values = logits.floats, scale = 1 / Double(max(batch, 1))
  var gradient = [Float](repeating: 0, count: values.count)
  var wanted = [Double](repeating: 0, count: classes), loss = 0.0
  for sample in 0..<logits.shape[0] {
    loss += target(sample, &wanted) * temperature * temperature
    let row = values[(sample * classes)..<((sample + 1) * classes)]
    let logarithms = logSoftmax(row.map { Double($0) / temperature })
    let mass = wanted.reduce(0, +)
    for i in 0..<classes {
      loss -= wanted[i] * logarithms[i] * temperature * temperature
      gradient[sample * classes + i] = Float(
        (mass * exp(logarithms[i]) - wanted[i]) * temperature * scale)
    }
  }
  return LossPart(value: loss * scale, gradient: Tensor(logits.shape, gradient))
}

private func logSoftmax(_ x: [Double]) -> [Double] {
  let largest = x.max() ?? 0
  let logarithm = log(x.reduce(0) { $0 + exp($1 - largest) }) + largest
  return x.map { $0 - logarithm }
}
