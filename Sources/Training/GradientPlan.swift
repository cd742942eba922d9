import Evaluator
import Glibc
import IR
import Support

/// How to compute some values of a graph from others, and the gradients of a loss on them: made once, run many times.
///
/// A plan covers the whole graph or the part between any values. A run cuts the batch into shards of a fixed number of
/// samples, which threads take one by one: forward through the evaluator's own operations, the loss, and back. What
/// shards contribute is summed in their order, so that results are the same bits for any number of threads. Sums of
/// quantized products stay unrounded; shifts of batch normalizations behind them are rounded to what the bias of a folded
/// convolution can hold, so that few-bit networks learn with the biases they will have. A plan may be used from several
/// threads at once.
package final class GradientPlan: Sendable {
  package enum BatchNormalization: Sendable {
    /// By the mean and variance operands.
    case running
    /// By each shard's own mean and variance; the operands take no part.
    case batch
  }
  /// A value to look at: after the activation fused into the operation that computes it, or before.
  package struct Tap: Hashable, Sendable {
    package var value: ValueID
    package var isBeforeActivation: Bool
    package init(_ value: ValueID, beforeActivation: Bool = false) {
      self.value = value
      isBeforeActivation = beforeActivation
    }
  }

  package let graph: Graph
  package let mode: Evaluator.Mode
  package let batchNormalization: BatchNormalization
  package let threads: Int
  /// The values that a run is given a batch of, in order.
  package let inputs: [ValueID]
  /// What the loss sees, in order.
  package let outputs: [Tap]
  /// The values whose gradients a run returns, in order.
  package let wanted: [ValueID]
  /// Samples of one shard; nil: the whole batch, since its samples depend on one another.
  package let shardSize: Int?
  let fixedBatch: Int?
  /// The values that a run may be given in place of constants or computed values.
  let overridable: Set<ValueID>
  let steps: [GradientStep]
  /// By value: what does not depend on inputs or overridable values.
  let constants: [Tensor?]
  /// By value: whether a run may need its gradient.
  let needsGradient: [Bool]
  /// By value: whether it has a part for each sample.
  let isPerSample: [Bool]
  /// The values of `outputs`, where values before activations have numbers of their own.
  let outputValues: [ValueID]
  let pool = BufferPool()
  let primitives = PrimitiveCache()
  let gradientPrimitives = GradientPrimitives()

  /// - Parameters:
  ///   - inputs: values that runs are given; nil: the graph's inputs.
  ///   - outputs: what the loss sees; nil: the graph's outputs.
  ///   - wanted: values whose gradients runs return; constants among them may be overridden in runs.
  ///   - overridable: further constants, and computed values, that runs may or must be given.
  /// - Throws: when an output does not follow from the inputs, or a gradient has to pass an operation that has none.
  package init(
    _ graph: Graph, inputs: [ValueID]? = nil, outputs: [Tap]? = nil, gradientsOf wanted: [ValueID],
    overridable: [ValueID] = [], mode: Evaluator.Mode = .quantized,
    batchNormalization: BatchNormalization = .running,
    shardSize: Int = 32, threads: Int? = nil
  ) throws(CompilerError) {
    self.graph = graph
    self.mode = mode
    self.batchNormalization = batchNormalization
    self.threads = max(threads ?? sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1)
    self.inputs = inputs ?? graph.inputs
    self.outputs = outputs ?? graph.outputs.map { Tap($0) }
    self.wanted = wanted
    self.overridable = Set(overridable + wanted.filter { graph.constant($0) != nil })
    let given = Set(self.inputs).union(overridable)
    let layout = PlanLayout(graph, given: given, taps: self.outputs)
    outputValues = self.outputs.map { layout.value(of: $0) }

    var tensors = [Tensor?](repeating: nil, count: layout.valueCount)
    for value in layout.constants where !self.overridable.contains(value) {
      tensors[value.index] = graph.constant(value).map { Tensor($0) }
    }
    var isPerSample = [Bool](repeating: false, count: layout.valueCount)
    for input in self.inputs { isPerSample[input.index] = true }
    var needs = [Bool](repeating: false, count: layout.valueCount)
    for value in wanted { needs[value.index] = true }
    let folding = try EvaluationContext(batch: 1, mode: mode, pool: pool, primitives: PrimitiveCache())
    var steps: [GradientStep] = []
    for var step in layout.steps {
      step.isConstant = step.operands.map { tensors[$0.index] != nil }
      if step.isConstant.allSatisfy({ $0 }), step.resultTypes.allSatisfy({ $0.shape.isStatic }),
        !step.results.contains(where: { needs[$0.index] })
      {
        var operands = step.operands.compactMap { tensors[$0.index] }
        for (result, tensor) in zip(step.results, try folding.evaluate(step, &operands)) {
          tensors[result.index] = tensor
        }
        continue
      }
      let depends = step.operands.contains { isPerSample[$0.index] }
      let flows = step.operands.map { needs[$0.index] }
      for result in step.results where !given.contains(result) {
        isPerSample[result.index] = depends
        if flows.contains(true), layout.type(of: result).element == .f32 { needs[result.index] = true }
      }
      let isDifferentiated = step.results.contains { needs[$0.index] && !given.contains($0) }
      steps.append(
        GradientStep(
          step, graph, given: given,
          operandNeedsGradient: isDifferentiated ? flows : flows.map { _ in false }, mode: mode,
          batchNormalization))
    }
    for step in steps { try step.requireGradient() }
    try PlanLayout.markLifetimes(&steps, outputs: outputValues, constants: tensors)
    for value in outputValues where tensors[value.index] == nil && !given.contains(value) {
      guard layout.isComputed(value) || graph.constant(value) != nil else {
        throw CompilerError("an output of the plan does not follow from its inputs")
      }
    }
    for value in layout.missing {
      throw CompilerError("the value '\(graph[value].name)' is needed, but is no input of the plan")
    }
    let needed = Set(steps.flatMap(\.step.operands) + outputValues)
    for index in tensors.indices where !needed.contains(ValueID(index: index)) { tensors[index] = nil }
    self.steps = steps
    constants = tensors
    needsGradient = needs
    self.isPerSample = isPerSample

    let leading = self.inputs.map { graph[$0].type.shape }
    if leading.contains(where: \.isBatched) {
      fixedBatch = nil
      self.shardSize = Evaluator.isChunkable(graph) ? max(shardSize, 1) : nil
    } else {
      let joined = (outputValues.map { layout.type(of: $0).shape } + wanted.map { graph[$0].type.shape })
      let perSample = zip(joined, (outputValues + wanted).map { isPerSample[$0.index] })
      let size = leading.first?.size(0)
      let isCut =
        leading.allSatisfy { $0.size(0) == size }
        && perSample.allSatisfy { shape, isPerSample in !isPerSample || shape.size(0) == size }
      fixedBatch = isCut ? size : nil
      self.shardSize = fixedBatch
    }
  }
}
