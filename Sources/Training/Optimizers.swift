import Glibc

/// Stochastic gradient descent with momentum, as PyTorch defines it: `v = momentum * v + g + decay * w`, `w -= rate * v`.
package struct MomentumOptimizer: Sendable {
  package var momentum: Float
  /// Pulls weights towards zero through the gradient.
  package var weightDecay: Float
  package var velocities: [Float]

  package init(count: Int, momentum: Float = 0.9, weightDecay: Float = 0) {
    self.momentum = momentum
    self.weightDecay = weightDecay
    velocities = Array(repeating: 0, count: count)
  }

  /// - Requires: as many weights and gradients as the optimizer was made for.
  package mutating func update(
    _ weights: inout [Float], _ gradients: UnsafeBufferPointer<Float>, learningRate: Float
  ) {
    precondition(weights.count == velocities.count && gradients.count == velocities.count)
    let momentum = momentum, decay = weightDecay
    weights.withUnsafeMutableBufferPointer { weights in
      velocities.withUnsafeMutableBufferPointer { velocities in
        for i in 0..<weights.count {
          velocities[i] = momentum * velocities[i] + gradients[i] + decay * weights[i]
          weights[i] -= learningRate * velocities[i]
        }
      }
    }
  }
}

/// Adam (Kingma and Ba 2015) with decay through the gradient, or decoupled from it (AdamW, Loshchilov and Hutter 2019).
package struct AdamOptimizer: Sendable {
  package enum Decay: Sendable {
    case none
    case coupled(Float)
    case decoupled(Float)
  }
  package var firstDecay: Float
  package var secondDecay: Float
  package var epsilon: Float
  package var decay: Decay
  package var firstMoments: [Float]
  package var secondMoments: [Float]
  package var updates = 0

  package init(
    count: Int, firstDecay: Float = 0.9, secondDecay: Float = 0.999, epsilon: Float = 1e-8,
    decay: Decay = .none
  ) {
    self.firstDecay = firstDecay
    self.secondDecay = secondDecay
    self.epsilon = epsilon
    self.decay = decay
    firstMoments = Array(repeating: 0, count: count)
    secondMoments = firstMoments
  }

  /// - Requires: as many weights and gradients as the optimizer was made for.
  package mutating func update(
    _ weights: inout [Float], _ gradients: UnsafeBufferPointer<Float>, learningRate: Float
  ) {
    precondition(weights.count == firstMoments.count && gradients.count == firstMoments.count)
    updates += 1
    let rate = Float(Double(learningRate) / (1 - pow(Double(firstDecay), Double(updates))))
    let correction = Float(1 / (1 - pow(Double(secondDecay), Double(updates))).squareRoot())
    let first = firstDecay, second = secondDecay, epsilon = epsilon
    let coupled: Float, shrink: Float
    switch decay {
    case .none: (coupled, shrink) = (0, 1)
    case .coupled(let decay): (coupled, shrink) = (decay, 1)
    case .decoupled(let decay): (coupled, shrink) = (0, 1 - learningRate * decay)
    }
    weights.withUnsafeMutableBufferPointer { weights in
      firstMoments.withUnsafeMutableBufferPointer { firstMoments in
        secondMoments.withUnsafeMutableBufferPointer { secondMoments in
          for i in 0..<weights.count {
            let gradient = gradients[i] + coupled * weights[i]
            firstMoments[i] = first * firstMoments[i] + (1 - first) * gradient
            secondMoments[i] = second * secondMoments[i] + (1 - second) * gradient * gradient
            let step = rate * firstMoments[i] / (secondMoments[i].squareRoot() * correction + epsilon)
            weights[i] = shrink * weights[i] - step
          }
        }
      }
    }
  }
}
