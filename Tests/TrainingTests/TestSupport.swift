import Evaluator
import IR
import Support
import Testing

@testable import Training

extension SeededRandom {
  mutating func floats(_ count: Int, _ range: ClosedRange<Float> = -2...2) -> [Float] {
    (0..<count).map { _ in range.lowerBound + Float(unit()) * (range.upperBound - range.lowerBound) }
  }
  mutating func tensor(_ shape: [Int], _ range: ClosedRange<Float> = -2...2) -> Tensor {
    Tensor(shape, floats(shape.reduce(1, *), range))
  }
  /// All values at least `2 range / count` apart, so that small changes do not reorder them.
  mutating func distinct(_ shape: [Int], _ range: Float = 2) -> Tensor {
    let count = shape.reduce(1, *)
    var order = Array(0..<count)
    order.shuffle(using: &self)
    return Tensor(shape, order.map { (2 * Float($0) + 1 - Float(count)) * range / Float(count) })
  }
}

extension Graph {
  /// Appends an operation of one result.
  mutating func result(_ op: Op, _ operands: [ValueID], _ name: String = "y") throws -> ValueID {
    let id = try append(op, operands, name: name)
    return self[id].results[0]
  }
}

/// A graph of one operation on `operands`: the first `inputs` as inputs, the others as constants.
/// - Parameter channelsLast: inputs go through a pooling that only changes their memory order.
func singleOperation(
  _ op: Op, _ operands: [Tensor], inputs: Int = 1, channelsLast: Bool = false
) throws -> Graph {
  var graph = Graph()
  let values = try operands.enumerated().map { index, tensor in
    let type = TensorType(Shape(tensor.shape), tensor.element)
    guard index < inputs else {
      return graph.addConstant(
        Constant(name: "c\(index)", type: type, storage: TensorStorage(copying: tensor.bytes)))
    }
    let input = graph.addInput("x\(index)", type)
    guard channelsLast, tensor.shape.count == 4 else { return input }
    return try graph.result(.maxPool(MaxPool()), [input], "pooled\(index)")
  }
  let id = try graph.append(op, values, name: "y")
  for result in graph[id].results {
    let isReordered = channelsLast && graph[result].type.shape.rank == 4
    graph.addOutput(isReordered ? try graph.result(.maxPool(MaxPool()), [result], "last") : result)
  }
  return graph
}

/// Random weights for every output element, so that a weighted sum is a loss that sees all of them.
func projection(_ outputs: [Tensor], seed: UInt64) -> [Tensor] {
  var random = SeededRandom(seed: seed)
  return outputs.map { random.tensor($0.shape, -1...1) }
}

func weightedSum(_ outputs: [Tensor], _ weights: [Tensor]) -> Double {
  var sum = 0.0
  for (output, weight) in zip(outputs, weights) {
    for (y, w) in zip(output.floats, weight.floats) { sum += Double(y) * Double(w) }
  }
  return sum
}

/// The largest difference, relative to the largest magnitude expected.
func relativeError(_ actual: [Float], _ expected: [Float]) -> Float {
  guard actual.count == expected.count else { return .infinity }
  let magnitude = expected.map(\.magnitude).max() ?? 0
  let difference = zip(actual, expected).map { ($0 - $1).magnitude }.max() ?? 0
  return difference.isNaN ? .infinity : difference / max(magnitude, 1e-3)
}

/// Compares the gradients of all float operands of `op` with central differences of its forward pass, for operands
/// row-major and channels last, and the forward pass with the evaluator's. Weights of outputs that `isSmooth` refuses
/// are zero.
func checkGradients(
  _ op: Op, _ operands: [Tensor], inputs: Int = 1, step: Float = 1e-2, tolerance: Float = 4e-3,
  batchNormalization: GradientPlan.BatchNormalization = .running,
  isSmooth: (Float) -> Bool = { _ in true }, sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let graph = try singleOperation(op, operands, inputs: inputs)
  let values = graph.inputs + graph.usedConstants
  let floats = operands.indices.filter { operands[$0].element == .f32 }
  let plan = try GradientPlan(
    graph, gradientsOf: floats.map { values[$0] }, batchNormalization: batchNormalization, threads: 1)
  func outputs(_ operands: [Tensor]) throws -> [Tensor] {
    var overrides: [ValueID: Tensor] = [:]
    for index in floats where index >= inputs { overrides[values[index]] = operands[index] }
    return try plan.outputs(Array(operands.prefix(inputs)), overriding: overrides)
  }
  let results = try outputs(operands)
  if batchNormalization == .running {
    let expected = try Evaluator(graph, threads: 1).run(Array(operands.prefix(inputs)))
    for (result, expected) in zip(results, expected) {
      #expect(result.bytes == expected.bytes, "forward", sourceLocation: sourceLocation)
    }
  }
  let weights = zip(projection(results, seed: 99), results).map { weights, result in
    Tensor(result.shape, zip(weights.floats, result.floats).map { isSmooth($1) ? $0 : 0 })
  }
  let run = try plan.run(Array(operands.prefix(inputs))) { shard in
    GradientPlan.ShardLoss(weightedSum(shard.outputs, weights), weights)
  }
  if operands.prefix(inputs).contains(where: { $0.shape.count == 4 && $0.element == .f32 }) {
    let reordered = try singleOperation(op, operands, inputs: inputs, channelsLast: true)
    let values = reordered.inputs + reordered.usedConstants
    let plan = try GradientPlan(
      reordered, gradientsOf: floats.map { values[$0] }, batchNormalization: batchNormalization, threads: 1)
    let other = try plan.run(Array(operands.prefix(inputs))) { shard in
      GradientPlan.ShardLoss(weightedSum(shard.outputs, weights), weights)
    }
    for (gradient, expected) in zip(other.gradients, run.gradients) {
      #expect(
        relativeError(gradient.floats, expected.floats) < 1e-4, "channels last",
        sourceLocation: sourceLocation)
    }
  }
  for (position, index) in floats.enumerated() {
    var differences: [Float] = []
    let contents = operands[index].floats
    for element in contents.indices {
      var sums: [Double] = []
      for sign in [Float(1), -1] {
        var changed = contents
        changed[element] += sign * step
        var all = operands
        all[index] = Tensor(operands[index].shape, changed)
        sums.append(weightedSum(try outputs(all), weights))
      }
      let upper = contents[element] + step, lower = contents[element] - step
      differences.append(Float((sums[0] - sums[1]) / (Double(upper) - Double(lower))))
    }
    let error = relativeError(run.gradients[position].floats, differences)
    #expect(
      error < tolerance, "\(op.mnemonic), operand \(index): relative error \(error)",
      sourceLocation: sourceLocation)
  }
}
