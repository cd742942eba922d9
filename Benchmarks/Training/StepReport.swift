import Evaluator
import Foundation
import IR
import Importer
import Support
import Training

/// One line: the least time of a training step, images a second, the rate, and its share of that of a matrix product.
func stepReport(path: String, batch: Int, shard: Int, threads: Int, runs: Int) throws -> String {
  let graph = try importModel(path: path).graph
  let weights = graph.usedConstants.filter { value in
    graph[value].type.element == .f32
      && graph.uses(of: value).allSatisfy { hasGradient(graph[$0.user].op, operand: $0.operand) }
  }
  let plan = try GradientPlan(
    graph, gradientsOf: weights, mode: .float, batchNormalization: .batch, shardSize: shard, threads: threads)
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
  let seconds = try leastSeconds(runs, step), forwardSeconds = try leastSeconds(runs, forward)
  // Forward, the gradient of the input and that of the weights are as many operations each.
  let operations = 3 * Double(batch) * Double(multiplyAdditions(graph)) * 2
  let peak = try matrixProductRate() * Double(threads)
  return String(
    format:
      "%@: batch %d, %d threads: %.1f ms a step (forward %.1f), %.0f images/s, %.0f GFLOPS, %.0f %% of %@",
    URL(fileURLWithPath: path).lastPathComponent, batch, threads, seconds * 1e3, forwardSeconds * 1e3,
    Double(batch) / seconds, operations / seconds * 1e-9, 100 * operations / seconds / peak,
    "a large matrix product")
}

private func hasGradient(_ op: Op, operand: Int) -> Bool {
  switch op {
  case .conv2d, .gemm: true
  case .batchNorm: operand < 3
  default: false
  }
}

private func leastSeconds(_ runs: Int, _ body: () throws -> Void) rethrows -> Double {
  var least = Double.infinity
  for _ in 0..<runs {
    let start = DispatchTime.now().uptimeNanoseconds
    try body()
    least = min(least, Double(DispatchTime.now().uptimeNanoseconds - start) * 1e-9)
  }
  return least
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
  let seconds = try leastSeconds(10) {
    try context.multiply(
      a.pointer(), isTransposed: false, a.pointer(), isTransposed: true, y.pointer(), rows: size,
      columns: size, depth: size, alpha: 1, beta: 0)
  }
  return withExtendedLifetime((a, y)) { 2 * Double(size * size * size) / seconds }
}
