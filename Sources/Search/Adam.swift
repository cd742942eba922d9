/// Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019).
struct Adam {
  private let firstDecay = 0.9
  private let secondDecay = 0.999
  private var firstMoments: [Double]
  private var secondMoments: [Double]
  /// The decays to the power of the updates done.
  private var firstPower = 1.0
  private var secondPower = 1.0

  init(count: Int) {
    firstMoments = Array(repeating: 0, count: count)
    secondMoments = firstMoments
  }

  /// - Requires: as many values and gradients as it was made for.
  mutating func update(_ values: inout [Double], _ gradients: [Double], rate: Double, weightDecay: Double = 0)
  {
    precondition(values.count == firstMoments.count && gradients.count == firstMoments.count)
    firstPower *= firstDecay
    secondPower *= secondDecay
    let step = rate / (1 - firstPower), correction = 1 / (1 - secondPower).squareRoot()
    let first = firstDecay, second = secondDecay, kept = 1 - rate * weightDecay
    values.withUnsafeMutableBufferPointer { values in
      firstMoments.withUnsafeMutableBufferPointer { firstMoments in
        secondMoments.withUnsafeMutableBufferPointer { secondMoments in
          for i in gradients.indices {
            firstMoments[i] = first * firstMoments[i] + (1 - first) * gradients[i]
            secondMoments[i] = second * secondMoments[i] + (1 - second) * gradients[i] * gradients[i]
            let change = step * firstMoments[i] / (secondMoments[i].squareRoot() * correction + 1e-8)
            values[i] = kept * values[i] - change
          }
        }
      }
    }
  }
}
