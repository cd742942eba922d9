import Evaluator
import Foundation
import IR
import Importer
import Support
import Training

/// One line: the least time of a training step, images a second, and the share of what a matrix product reaches.
func stepReport(path: String, batch: Int, shard: Int, threads: Int, runs: Int) throws -> String {
  let graph = path.hasSuffix(".qir") ? try Graph.load(path) : try importModel(path: path).graph
  let weights = graph.usedConstants.filter { value in
    graph[value].type.element == .f32
      && graph.uses(of: value).allSatisfy { hasGradient(graph[$0.user].op, operand: $0.operand) }
  }
  let plan = try GradientPlan(
    graph, gradientsOf: weights, batchNormalization: .batch, shardSize: shard, threads: threads)
  var random = SeededRandom(seed: 1)
  let inputs = graph.inputs.map { value in
    let shape = graph[value].type.shape.bound(batch: batch)
    return Tensor(shape, (0..<shape.reduce(1, *)).map { _ in Float(random.unit()) })
  }
  let classes = graph[graph.outputs[0]].type.shape.extents.last?.value ?? 1
  let labels = (0..<batch).map { $0 % classes }
  func step() throws {
    _ = try plan.run(inputs) { shard in
      let part = crossEntropy(shard.outputs[0], labels: labels[shard.samples], batch: shard.batch)
      return GradientPlan.ShardLoss(part.value, [part.gradient])
    }
  }
  func forward() throws { _ = try plan.outputs(inputs) }
  try step()
  let whole = try leastSeconds(runs, step), front = try leastSeconds(runs, forward)
  // Forward, the gradient of the input and that of the weights are as many operations each.
  let operations = 3 * Double(batch) * Double(multiplyAdditions(graph)) * 2
  let peak = try matrixProductRate()
  return String(
    format: """
      %@: batch %d, %d threads: %.1f ms a step (forward %.1f), %.0f images/s, %.0f GFLOPS; \
      %.1f ms of processor time (forward %.1f), %.0f %% of the rate of a large matrix product
      """,
    URL(fileURLWithPath: path).lastPathComponent, batch, threads, whole.wall * 1e3, front.wall * 1e3,
    Double(batch) / whole.wall, operations / whole.wall * 1e-9, whole.processor * 1e3,
    front.processor * 1e3, 100 * operations / whole.processor / peak)
}

private func hasGradient(_ op: Op, operand: Int) -> Bool {
  switch op {
  case .conv2d, .gemm, .quantize: true
  case .batchNorm: operand < 3
  default: false
  }
}

/// The least time of many runs, and the least time that they kept processors busy: the latter tells more on machines
/// that others use too.
private func leastSeconds(
  _ runs: Int, _ body: () throws -> Void
) rethrows -> (wall: Double, processor: Double) {
  var least = (wall: Double.infinity, processor: Double.infinity)
  for _ in 0..<runs {
    let start = (seconds(CLOCK_MONOTONIC), seconds(CLOCK_PROCESS_CPUTIME_ID))
    try body()
    least.wall = min(least.wall, seconds(CLOCK_MONOTONIC) - start.0)
    least.processor = min(least.processor, seconds(CLOCK_PROCESS_CPUTIME_ID) - start.1)
  }
  return least
}
private func seconds(_ clock: clockid_t) -> Double {
  var time = timespec()
  clock_gettime(clock, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Multiply-additions of the convolutions and products for one sample.
private func multiplyAdditions(_ graph: Graph) -> Int {
  graph.order.reduce(0) { total, id in
    let node = graph[id]
    switch node.op {
    case .conv2d, .gemm:
      let weights = graph[node.operands[1]].type.shape.bound(batch: 1)
      let result = graph[node.results[0]].type.shape.bound(batch: 1)
      // Each element of the result takes one output channel's weights.
      return total + result.reduce(1, *) * weights.reduce(1, *) / result[1]
    default: return total
    }
  }
}

/// Floating-point operations a second of a large matrix product on one thread.
private func matrixProductRate() throws -> Double {
  let size = 1024
  let context = try EvaluationContext(
    batch: 1, mode: .float, pool: BufferPool(), primitives: PrimitiveCache())
  let a = Tensor([size, size], [Float](repeating: 0.5, count: size * size))
  let y = Tensor([size, size], .f32)
  let time = try leastSeconds(10) {
    try context.multiply(
      a.pointer(), isTransposed: false, a.pointer(), isTransposed: true, y.pointer(), rows: size,
      columns: size, depth: size, alpha: 1, beta: 0)
  }
  return withExtendedLifetime((a, y)) { 2 * Double(size * size * size) / time.processor }
}
