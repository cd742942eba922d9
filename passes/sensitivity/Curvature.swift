import Evaluator
import IR
import PassKit
import Support
import Training

/// What of a layer's second derivatives H predicts the divergence that errors v of its rounded weights and biases cause.
package enum Curvature: String, Sendable {
  /// vᵀ H v / 2: what these errors do, up to third order. HAWQ-V2 (arXiv 1911.03852) takes the mean eigenvalue times |v|²
  /// in its place, as if errors pointed nowhere in particular; those of GPTQ avoid what the layer's inputs have most of.
  case alongErrors = "along-errors"
  /// The largest eigenvalue times |v|² / 2: what the worst error of that size would do (HAWQ, arXiv 1905.03696).
  case largest
}

/// Second derivatives of the mean divergence of a float network's answers by the weights of single layers, on samples.
///
/// Samples are cut into chunks that depend on the network alone, threads take whole chunks, and sums are added in their
/// order: results are the same bits for any number of threads.
struct LayerCurvature: Sendable {
  /// Samples of one chunk at most: smaller chunks leave fewer cross terms in traces, larger ones take less time.
  static let largestChunk = 16

  /// The weights, behind their quantizers.
  let layers: [ValueID]
  let graph: Graph
  let seed: UInt64
  private let chunks: [Tensor]
  private let samples: Int
  private let threads: Int
  private let isInterrupted: @Sendable () -> Bool

  /// - Parameter layers: results of weight quantizers.
  init(_ graph: Graph, layers: [ValueID], samples: [Tensor], _ context: PassContext) {
    self.graph = graph
    self.layers = layers
    seed = context.seed
    chunks = samples
    self.samples = samples.reduce(0) { $0 + $1.shape[0] }
    threads = context.threads
    isInterrupted = context.isInterrupted
  }

  /// From the samples to the logits of all outputs.
  func plan(gradientsOf wanted: [ValueID], given: [ValueID] = []) throws(CompilerError) -> GradientPlan {
    try GradientPlan(
      graph, outputs: graph.outputs.map { .init(graph.logits(of: $0)) }, gradientsOf: wanted,
      overridable: given, mode: .float, shardSize: chunks.map { $0.shape[0] }.max() ?? 1, threads: 1)
  }

  /// What every chunk gives, in order.
  private func overChunks<R: Sendable>(
    _ body: @Sendable (_ index: Int, _ samples: Tensor) throws(CompilerError) -> R
  ) throws(CompilerError) -> [R] {
    let parts = parallelMap(Array(chunks.indices), threads: threads) { index -> Result<R, CompilerError> in
      if isInterrupted() { return .failure(interruption()) }
      do throws(CompilerError) { return .success(try body(index, chunks[index])) } catch {
        return .failure(error)
      }
    }
    var results: [R] = []
    for part in parts { results.append(try part.get()) }
    return results
  }

  /// Random gradients of every chunk, whose outer products have the second derivatives as their mean.
  /// - Parameters:
  ///   - plan: with any layers' weights as wanted values.
  ///   - reduce: of the gradients by the plan's wanted values.
  func randomGradients<R: Sendable>(
    _ plan: GradientPlan, probe: Int, given: [ValueID: Tensor] = [:],
    _ reduce: @Sendable ([Tensor]) -> R
  ) throws(CompilerError) -> [R] {
    try overChunks { index, inputs throws(CompilerError) in
      // Signs belong to a probe and a chunk.
      let stream = UInt64(probe) << 32 | UInt64(index)
      let result = try plan.run([inputs], overriding: given) { shard in
        var random = SeededRandom(seed: seed, stream: stream)
        let fisher = AnswerFisher(shard.outputs, samples: shard.samples.count)
        return GradientPlan.ShardLoss(0, fisher.randomRoot(&random))
      }
      return reduce(result.gradients)
    }
  }

  /// H v for one layer: J v by differences of the outputs along ±`step` v, then Jᵀ F of that by gradients.
  /// - Parameter plan: with the layer's weights as its one wanted and given value.
  func product(
    _ plan: GradientPlan, weights: Tensor, _ v: [Double], step: Double
  ) throws(CompilerError) -> [Double] {
    let value = plan.wanted[0], center = weights.floats
    func moved(_ step: Double) -> [ValueID: Tensor] {
      [value: Tensor(weights.shape, zip(center, v).map { Float(Double($0) + step * $1) })]
    }
    let ahead = moved(step), behind = moved(-step)
    let parts = try overChunks { _, inputs throws(CompilerError) in
      let (after, before) = (
        try plan.outputs([inputs], overriding: ahead), try plan.outputs([inputs], overriding: behind)
      )
      let slopes = zip(after, before).map { a, b in
        zip(a.floats, b.floats).map { (Double($0) - Double($1)) / (2 * step) }
      }
      let result = try plan.run([inputs], overriding: [value: weights]) { shard in
        let fisher = AnswerFisher(shard.outputs, samples: shard.samples.count)
        return GradientPlan.ShardLoss(0, fisher.product(slopes))
      }
      return result.gradients[0].floats
    }
    return mean(parts)
  }

  /// The sum over all chunks by the number of samples.
  func mean<Number: BinaryFloatingPoint>(_ parts: [[Number]]) -> [Double] {
    var sum = [Double](repeating: 0, count: parts.first?.count ?? 0)
    for part in parts { for index in sum.indices { sum[index] += Double(part[index]) } }
    return sum.map { $0 / Double(max(samples, 1)) }
  }
}
