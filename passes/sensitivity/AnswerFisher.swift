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
  /// A is the Cholesky factor of F, answers sorted by falling probability: its columns set each answer against all less
  /// likely ones. Mostly two answers compete, so that the first column is nearly all of F and signs leave little to chance:
  /// on ResNet-20 and 256 samples one draw tells traces within 2 to 8 %, one of the root diag(√p) - p √pᵀ within 30 to 40.
  func randomRoot(_ random: inout SeededRandom) -> [Tensor] {
    rows { p, _ in
      let order = p.indices.sorted { (-p[$0], $0) < (-p[$1], $1) }
      // What all less likely answers have together; summed from the smallest, for none to be lost.
      var rests = [Double](repeating: 0, count: order.count)
      for rank in order.indices.dropLast().reversed() { rests[rank] = rests[rank + 1] + p[order[rank + 1]] }
      var result = [Double](repeating: 0, count: p.count), drift = 0.0, signs: UInt64 = 0
      for (rank, index) in order.enumerated() {
        if rank % 64 == 0 { signs = random.next() }
        let sign: Double = (signs >> UInt64(rank % 64)) & 1 == 0 ? 1 : -1
        let own = p[index], rest = rests[rank], whole = own + rest
        result[index - p.startIndex] = -own * drift
        // Nothing is left to be set against: the column is zero.
        guard rest >= .leastNormalMagnitude else { continue }
        result[index - p.startIndex] += sign * (own / whole * rest).squareRoot()
        drift += sign * (own / whole / rest).squareRoot()
      }
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
