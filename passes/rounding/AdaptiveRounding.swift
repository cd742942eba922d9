import Evaluator
import Glibc
import Numerics
import Support
import Training

/// AdaRound (Nagel et al., arXiv 2004.10568): learns for every weight whether it is rounded up or down, so that the layer's
/// outputs on sample inputs change least.
///
/// A weight w becomes s clip(floor(w / s) + h(v)), h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1), and v is learned by Adam from the
/// squared error of the outputs and a term Σ 1 - |2 h - 1|^β that drives h to 0 or 1 as β falls from 20 to 2. The error depends
/// on the inputs through their second moments H alone, (w - ŵ) H (w - ŵ)ᵀ, so that a step needs one product with H and no
/// sample. Errors count in steps of the weights and in units of H's mean diagonal: the same `regularization` fits all layers.
struct AdaptiveRounding: Sendable {
  var iterations = 1000
  var rate: Float = 0.01
  var regularization: Float = 1
  /// The share of the iterations before the term sets in.
  var warmUp: Float = 0.2
  /// The share of the mean diagonal that is added to H.
  var damping: Float = 0.05

  private static let stretch: Float = 1.2
  private static let lift: Float = 0.1

  /// Rounds the rows of a weight matrix [rows, size] in place to multiples of their steps.
  /// - Parameters:
  ///   - hessian: `xᵀ x` over sample inputs, row-major, `size` x `size`.
  ///   - parameters: of each row; steps are positive.
  /// - Returns: false when the inputs are all zero or not finite: then the weights are as they were.
  func round(
    _ weights: inout [Float], rows: Int, size: Int, hessian: [Float],
    _ parameters: (_ row: Int) -> AffineParameters, _ range: ClosedRange<Int32>
  ) throws(CompilerError) -> Bool {
    let mean = (0..<size).reduce(0.0) { $0 + Double(hessian[$1 * size + $1]) } / Double(max(size, 1))
    guard mean.isFinite, mean > 0 else { return false }
    var metric = hessian.map { $0 / Float(mean) }
    for k in 0..<size { metric[k * size + k] += damping }

    // In steps: where each weight lies above the level below it.
    let count = rows * size
    var floors = [Float](repeating: 0, count: count), exact = floors, position = floors
    for row in 0..<rows {
      let p = parameters(row)
      guard p.scale > 0 else { return false }
      let zero = Float(p.zeroPoint)
      for k in row * size..<(row + 1) * size {
        let level = weights[k] / p.scale + zero
        exact[k] = min(max(level, Float(range.lowerBound)), Float(range.upperBound))
        floors[k] = min(exact[k].rounded(.down), Float(range.upperBound) - 1)
        let share = min(max(exact[k] - floors[k], 0.001), 0.999)
        position[k] = -log(Self.stretch / (share + Self.lift) - 1)
        // What is cut off stays an error.
        exact[k] = level
      }
    }
    var optimizer = AdamOptimizer(count: count)
    var difference = [Float](repeating: 0, count: count), slope = difference
    for step in 0..<iterations {
      for k in 0..<count { difference[k] = floors[k] + Self.share(position[k]) - exact[k] }
      try multiply(difference, rows: rows, by: metric, size: size, into: &slope)
      let progress = (Float(step) / Float(max(iterations, 1)) - warmUp) / (1 - warmUp)
      let weight = progress < 0 ? 0 : regularization
      let sharpness = 2 + 18 * (1 - max(progress, 0))
      for k in 0..<count {
        let sigmoid = 1 / (1 + exp(-position[k])), share = Self.stretch * sigmoid - Self.lift
        guard share > 0, share < 1 else {
          slope[k] = 0
          continue
        }
        var total = 2 * slope[k]
        if weight > 0 {
          let centered = 2 * share - 1
          total -= weight * 2 * sharpness * copysign(pow(abs(centered), sharpness - 1), centered)
        }
        slope[k] = total * Self.stretch * sigmoid * (1 - sigmoid)
      }
      slope.withUnsafeBufferPointer { optimizer.update(&position, $0, learningRate: rate) }
    }
    for row in 0..<rows {
      let p = parameters(row)
      for k in row * size..<(row + 1) * size {
        let level = Int32(floors[k]) + (Self.share(position[k]) >= 0.5 ? 1 : 0)
        weights[k] = p.dequantize(min(max(level, range.lowerBound), range.upperBound))
      }
    }
    return true
  }

  private static func share(_ position: Float) -> Float {
    min(max(stretch / (1 + exp(-position)) - lift, 0), 1)
  }
}
