import Dispatch
import Evaluator
import IR
import Support
import Synchronization

extension GradientPlan {
  /// What the loss sees of one shard.
  package struct Shard: Sendable {
    /// The samples of the batch that the outputs hold.
    package let samples: Range<Int>
    /// Samples of the whole batch.
    package let batch: Int
    /// The plan's outputs, in order.
    package let outputs: [Tensor]
  }
  /// A shard's part of the loss and its gradients by the plan's outputs, in order; nil: the loss does not depend on it.
  package struct ShardLoss: Sendable {
    package var value: Double
    package var gradients: [Tensor?]
    package init(_ value: Double, _ gradients: [Tensor?]) {
      self.value = value
      self.gradients = gradients
    }
  }
  package typealias Loss = @Sendable (Shard) throws(CompilerError) -> ShardLoss

  /// Lets elements of activations pass their quantizers as they are (QDrop), chosen by the seed.
  package struct Dropping: Sendable {
    package var seed: UInt64
    /// The share of elements that stay as they are.
    package var probability: Float
    package init(seed: UInt64, probability: Float = 0.5) {
      self.seed = seed
      self.probability = probability
    }
  }

  package struct Result: Sendable {
    /// The sum over all shards.
    package var loss: Double
    /// The gradients of the wanted values, in order, row-major: per sample for what depends on inputs, else summed.
    package var gradients: [Tensor]
    /// Of the batch normalizations that used statistics of the batch, in the graph's order.
    package var statistics: [BatchStatistics]
  }
  /// Means and (biased) variances per channel within shards, averaged over the shards.
  package struct BatchStatistics: Sendable {
    package let operation: OpID
    package var means: [Float]
    package var variances: [Float]
  }

  /// Computes the loss of a batch and its gradients.
  /// - Parameters:
  ///   - inputs: the whole batch, by the plan's inputs.
  ///   - values: contents of overridable values; constants not named keep theirs.
  ///   - forms: for quantizers that do not take their current form, the index of that they take.
  ///   - ranks: share the work, and get the same result. Shards are dealt to them in turn; of inputs only the samples of a
  ///     rank's own shards are read.
  ///   - loss: called once for each (own) shard, from several threads at once.
  package func run(
    _ inputs: [Tensor], overriding values: [ValueID: Tensor] = [:], forms: [OpID: Int] = [:],
    dropping: Dropping? = nil, among ranks: any Communicator = SingleProcess(), loss: Loss
  ) throws(CompilerError) -> Result {
    let given = try parameters(values)
    let variant = try variant(forms, dropping)
    let merged = Mutex(ShardMerge(self, ranks))
    try forEachShard(inputs, of: ranks) { index, samples, batch, parts throws(CompilerError) in
      let pass = try ShardPass(self, batch: samples.count, firstSample: samples.lowerBound, variant)
      let outputs = try pass.forward(parts, given)
      let shardLoss = try loss(Shard(samples: samples, batch: batch, outputs: outputs))
      let gradients = try pass.backward(shardLoss.gradients)
      let part = ShardPart(
        loss: shardLoss.value, sampleCount: samples.count, gradients: gradients, statistics: pass.statistics)
      merged.withLock { $0.add(part, at: index) }
    }
    let shards = try shards(of: inputs)
    return try merged.withLock { merge throws(CompilerError) in
      try merge.exchange(shards)
      return merge.result()
    }
  }

  /// The plan's outputs for a whole batch, without gradients.
  package func outputs(
    _ inputs: [Tensor], overriding values: [ValueID: Tensor] = [:], forms: [OpID: Int] = [:],
    dropping: Dropping? = nil
  ) throws(CompilerError) -> [Tensor] {
    let given = try parameters(values)
    let variant = try variant(forms, dropping)
    let parts = Mutex<[Int: [Tensor]]>([:])
    try forEachShard(inputs) { index, samples, _, tensors throws(CompilerError) in
      let pass = try ShardPass(self, batch: samples.count, firstSample: samples.lowerBound, variant)
      let outputs = try pass.forward(tensors, given)
      parts.withLock { $0[index] = outputs }
    }
    let shards = parts.withLock { $0 }
    return outputValues.indices.map { output in
      let pieces = (0..<shards.count).compactMap { shards[$0]?[output].rowMajor() }
      return isPerSample[outputValues[output].index] ? joined(pieces) : pieces[0]
    }
  }

  /// The statistics of the batch normalizations that use those of the batch, without a loss.
  package func statistics(
    _ inputs: [Tensor], overriding values: [ValueID: Tensor] = [:], forms: [OpID: Int] = [:]
  ) throws(CompilerError) -> [BatchStatistics] {
    let given = try parameters(values)
    let variant = try variant(forms, nil)
    let merged = Mutex(ShardMerge(self, SingleProcess()))
    try forEachShard(inputs) { index, samples, _, tensors throws(CompilerError) in
      let pass = try ShardPass(self, batch: samples.count, firstSample: samples.lowerBound, variant)
      _ = try pass.forward(tensors, given)
      let part = ShardPart(
        loss: 0, sampleCount: samples.count, gradients: wanted.map { _ in Tensor([0], [Float]()) },
        statistics: pass.statistics)
      merged.withLock { $0.add(part, at: index) }
    }
    return merged.withLock { $0.statistics }
  }

  // MARK: Shards

  /// The contents of overridable values by value.
  private func parameters(_ values: [ValueID: Tensor]) throws(CompilerError) -> [Tensor?] {
    var slots = constants
    for value in overridable.sorted() {
      let type = graph[value].type
      if let tensor = values[value] {
        guard tensor.shape == type.shape.sizes, tensor.element == type.element else {
          throw CompilerError("'\(graph[value].name)' must be \(type), is \(tensor.shape) \(tensor.element)")
        }
        slots[value.index] = tensor
      } else if let constant = graph.constant(value) {
        slots[value.index] = Tensor(constant)
      } else {
        throw CompilerError("a run must be given '\(graph[value].name)', which its plan does not compute")
      }
    }
    for value in values.keys.sorted() where !overridable.contains(value) {
      throw CompilerError("the plan cannot override '\(graph[value].name)'")
    }
    return slots
  }

  /// What quantizers do in a run.
  struct Variant: Sendable {
    var forms: [OpID: Int]
    var dropping: Dropping?
  }
  private func variant(
    _ forms: [OpID: Int], _ dropping: Dropping?
  ) throws(CompilerError) -> Variant {
    for (id, index) in forms.sorted(by: { $0.key < $1.key }) {
      guard let step = steps.first(where: { $0.step.id == id })?.step, case .quantize(let op) = step.op,
        op.forms.all.indices.contains(index)
      else { throw CompilerError("the plan has no quantizer \(id) with a form \(index) left to choose") }
    }
    return Variant(forms: forms, dropping: dropping)
  }

  /// The samples of each shard of a batch.
  /// - Throws: when they do not fit the plan.
  package func shards(ofBatch batch: Int) throws(CompilerError) -> [Range<Int>] {
    let size = min(shardSize ?? batch, batch)
    guard size > 0, fixedBatch == nil || batch % size == 0 else {
      throw CompilerError("\(batch) samples do not fit batches of \(fixedBatch ?? 1)")
    }
    return stride(from: 0, to: batch, by: size).map { $0..<min($0 + size, batch) }
  }
  private func shards(of inputs: [Tensor]) throws(CompilerError) -> [Range<Int>] {
    guard inputs.count == self.inputs.count else {
      throw CompilerError("the plan takes \(self.inputs.count) inputs, not \(inputs.count)")
    }
    var leading = 1
    for (tensor, value) in zip(inputs, self.inputs) {
      let shape = graph[value].type.shape
      let axis = fixedBatch != nil ? 0 : shape.extents.firstIndex(of: .batch)
      if let axis, axis < tensor.shape.count { leading = tensor.shape[axis] }
    }
    return try shards(ofBatch: leading)
  }

  private func forEachShard(
    _ inputs: [Tensor], of ranks: any Communicator = SingleProcess(),
    _ body:
      @Sendable (_ index: Int, _ samples: Range<Int>, _ batch: Int, [Tensor]) throws(CompilerError) -> Void
  ) throws(CompilerError) {
    let ranges = try shards(of: inputs), batch = ranges.last?.upperBound ?? 0
    let parts = ranges.map { range in
      zip(inputs, self.inputs).map { tensor, value in
        let isCut = shardSize != nil && (fixedBatch != nil || graph[value].type.shape.isBatched)
        return isCut ? tensor.samples(range) : tensor
      }
    }
    for (range, tensors) in zip(ranges, parts) {
      for (tensor, value) in zip(tensors, self.inputs) {
        let type = graph[value].type
        guard tensor.shape == type.shape.bound(batch: range.count), tensor.element == type.element else {
          throw CompilerError("'\(graph[value].name)' must be \(type), is \(tensor.shape) \(tensor.element)")
        }
      }
    }
    let next = Atomic(0), failure = Mutex<(index: Int, error: CompilerError)?>(nil)
    let own = ranges.indices.filter(ranks.owns)
    DispatchQueue.concurrentPerform(iterations: min(threads, own.count)) { _ in
      while failure.withLock({ $0 == nil }) {
        let turn = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard turn < own.count else { return }
        let index = own[turn]
        do throws(CompilerError) {
          try body(index, ranges[index], batch, parts[index])
        } catch {
          failure.withLock { if index < $0?.index ?? .max { $0 = (index, error) } }
        }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure.error }
  }

  /// Row-major tensors, one after the other along axis 0.
  func joined(_ pieces: [Tensor]) -> Tensor {
    guard pieces.count != 1, let first = pieces.first else { return pieces[0] }
    let shape = [pieces.reduce(0) { $0 + $1.shape[0] }] + first.shape.dropFirst()
    let result = Tensor(shape, first.element, pool: pool)
    var offset = 0
    for piece in pieces {
      result.rawPointer.advanced(by: offset).copyMemory(from: piece.rawPointer, byteCount: piece.byteCount)
      offset += piece.byteCount
      keepAlive(piece)
    }
    return result
  }
}
