import Evaluator
import Glibc
import Support

/// The Fisher matrix F of a network's answers by its outputs, taken as logits: for each sample and output diag(p) - p pᵀ
/// with p their softmax, over all elements as the score `kl` takes it.
///
/// It is the second derivative of the divergence from p, whose first is zero at p itself. By the weights w the second
/// derivative there is therefore Jᵀ F J without a rest, with J = dz/dw of the outputs z: no second derivative of the
/// network is needed, no value is negative, and v moves the answers by vᵀ Jᵀ F J v / 2 nats, up to third order.
struct AnswerFisher {
  private let shapes: [[Int]]
  private let samples: Int
  /// By output, row-major.
  private let probabilities: [[Double]]

  /// - Parameter outputs: one row for each sample, whatever their rank.
  init(_ outputs: [Tensor], samples: Int) {
    shapes = outputs.map(\.shape)
    self.samples = samples
    probabilities = outputs.map { logarithmsOfSoftmax($0, samples: samples).map { exp($0) } }
  }

  /// A u of random signs u, where A Aᵀ = F: its outer product with itself is F in the mean.
  ///
  /// A = diag(√p) - p √pᵀ, since √pᵀ √p = 1.
  func randomRoot(_ random: inout SeededRandom) -> [Tensor] {
    rows { p, _ in
      var signs: UInt64 = 0
      var result: [Double] = []
      result.reserveCapacity(p.count)
      var sum = 0.0
      for (index, value) in p.enumerated() {
        if index % 64 == 0 { signs = random.next() }
        let root = (signs >> UInt64(index % 64)) & 1 == 0 ? value.squareRoot() : -value.squareRoot()
        sum += root
        result.append(root)
      }
      for (index, value) in p.enumerated() { result[index] -= value * sum }
      return result
    }
  }

  /// F x.
  /// - Parameter x: by output, row-major.
  func product(_ x: [[Double]]) -> [Tensor] {
    rows { p, position in
      let row = x[position.output][position.start..<position.start + p.count]
      let mean = zip(p, row).reduce(0) { $0 + $1.0 * $1.1 }
      return zip(p, row).map { $0 * ($1 - mean) }
    }
  }

  private func rows(
    _ transform: (_ p: ArraySlice<Double>, _ position: (output: Int, start: Int)) -> [Double]
  ) -> [Tensor] {
    probabilities.indices.map { output in
      let p = probabilities[output], width = p.count / max(samples, 1)
      var result: [Float] = []
      result.reserveCapacity(p.count)
      for sample in 0..<samples where width > 0 {
        let start = sample * width
        result += transform(p[start..<start + width], (output, start)).map { Float($0) }
      }
      return Tensor(shapes[output], result)
    }
  }
}
