import Dispatch
import Glibc
import IR
import Support
import Synchronization

/// Runs a graph of any stage on real tensors: float operations by oneDNN and plain loops, quantizers by rounding,
/// integer operations exactly as `Numerics` defines them.
///
/// Preparing folds what depends on constants alone. A run cuts the batch into chunks whose size depends on the graph
/// alone and hands them to threads, so that results are the same bits for any number of threads. An evaluator may be
/// used from several threads at once.
package final class Evaluator: Sendable {
  package enum Mode: Sendable {
    /// Quantizers pass their operand on: the float network.
    case float
    /// Calibrated quantizers round to the levels of their current form.
    case quantized
  }
  /// What an observer sees: one value's tensor for some samples of the batch.
  package struct Observation: Sendable {
    package let value: ValueID
    package let tensor: Tensor
    /// The samples of the batch that the tensor holds; all of them when the value has no batch axis.
    package let samples: Range<Int>
  }
  package typealias Observer = @Sendable (Observation) -> Void

  /// One operation of a graph, ready to run.
  package struct Step: Sendable {
    package let id: OpID
    package var op: Op
    package let name: String
    package var operands: [ValueID]
    package var results: [ValueID]
    package var operandTypes: [Operand]
    package var resultTypes: [TensorType]
    /// Which operands do not depend on any input.
    package var isConstant: [Bool]
    /// Whether no later step and no output reads the operand: its memory may be reused.
    package var isLastUse: [Bool]
    /// Results that nobody reads.
    var deadResults: [ValueID] = []
    /// Of convolutions and products of quantized numbers: their sums are rounded to multiples of these; of batch
    /// normalizations behind them: their shifts.
    package var accumulatorSteps: [Double]?

    /// The operation `id` of `graph`, whose sums stay unrounded.
    package init(_ graph: Graph, _ id: OpID, isConstant: (ValueID) -> Bool) {
      let node = graph[id]
      self.id = id
      op = node.op
      name = node.name
      operands = node.operands
      results = node.results
      operandTypes = node.operands.map { graph.operand($0) }
      resultTypes = node.results.map { graph[$0].type }
      self.isConstant = node.operands.map(isConstant)
      isLastUse = node.operands.map { _ in false }
    }
  }

  package let graph: Graph
  package let mode: Mode
  package let threads: Int
  /// Samples evaluated at once.
  package let chunkSize: Int
  let steps: [Step]
  let constants: [Tensor?]
  let pool = BufferPool()
  let primitives = PrimitiveCache()

  /// - Parameter threads: how many threads a run uses; nil: one per processor.
  /// - Throws: when a constant subgraph cannot be evaluated.
  package init(_ graph: Graph, mode: Mode = .quantized, threads: Int? = nil) throws(CompilerError) {
    self.graph = graph
    self.mode = mode
    self.threads = max(threads ?? processorCount(), 1)
    chunkSize = Evaluator.chunkSize(graph)
    var tensors = [Tensor?](repeating: nil, count: graph.values.count)
    for index in graph.values.indices {
      let value = ValueID(index: index)
      if let constant = graph.constant(value), !graph.uses(of: value).isEmpty || graph.isOutput(value) {
        tensors[index] = Tensor(constant)
      }
    }
    var steps: [Step] = []
    let context = try EvaluationContext(batch: 1, mode: mode, pool: pool, primitives: PrimitiveCache())
    for id in graph.order {
      let node = graph[id]
      var step = Step(graph, id) { tensors[$0.index] != nil }
      step.accumulatorSteps = graph.accumulatorSteps(of: node)
      var operands = node.operands.compactMap { tensors[$0.index] }
      let isConstant =
        operands.count == step.operands.count && step.resultTypes.allSatisfy { $0.shape.isStatic }
      guard isConstant, !operands.isEmpty else {
        steps.append(step)
        continue
      }
      for (result, tensor) in zip(step.results, try context.evaluate(step, &operands)) {
        tensors[result.index] = tensor
      }
    }
    Evaluator.markLastUses(&steps, graph)
    var isNeeded = Set(graph.outputs)
    for step in steps { isNeeded.formUnion(step.operands) }
    for index in tensors.indices where !isNeeded.contains(ValueID(index: index)) { tensors[index] = nil }
    self.steps = steps
    constants = tensors
  }

  private static func markLastUses(_ steps: inout [Step], _ graph: Graph) {
    var isLive = Set(graph.outputs)
    for index in steps.indices.reversed() {
      steps[index].deadResults = steps[index].results.filter { !isLive.contains($0) }
      for operand in steps[index].operands.indices.reversed()
      where isLive.insert(steps[index].operands[operand]).inserted {
        steps[index].isLastUse[operand] = true
      }
    }
  }

  /// So many samples that the largest activation takes about half a megabyte: within a core's second-level cache.
  private static func chunkSize(_ graph: Graph) -> Int {
    guard isChunkable(graph) else { return Int.max }
    var largest = 1
    for value in graph.values where value.type.shape.isBatched {
      largest = max(largest, checkedProduct(value.type.shape.bound(batch: 1)) ?? Int.max)
    }
    return min(max((1 << 17) / largest, 1), 64)
  }

  /// Whether samples do not depend on one another, as far as the operations tell.
  package static func isChunkable(_ graph: Graph) -> Bool {
    func leadsWithBatch(_ value: ValueID) -> Bool {
      graph[value].type.shape.extents.firstIndex(of: .batch) == 0
    }
    guard graph.inputs.allSatisfy({ leadsWithBatch($0) || !graph[$0].type.shape.isBatched }),
      graph.outputs.allSatisfy(leadsWithBatch),
      graph.values.allSatisfy({ value in value.type.shape.extents.count { $0 == .batch } <= 1 })
    else { return false }
    return graph.order.allSatisfy { id in
      graph[id].operands.indices.allSatisfy { keepsSamplesApart(graph, graph[id], operand: $0) }
    }
  }

  private static func keepsSamplesApart(_ graph: Graph, _ node: Graph.Node, operand: Int) -> Bool {
    let shape = graph[node.operands[operand]].type.shape
    guard let batch = shape.extents.firstIndex(of: .batch) else { return true }
    switch node.op {
    case .reduce(let reduce): return reduce.resolvedAxes(rank: shape.rank)?.contains(batch) == false
    case .softmax(let softmax):
      let axis = resolvedAxis(softmax.axis, rank: shape.rank) ?? 0
      return softmax.flatten ? batch < axis : batch != axis
    case .layerNorm(let norm): return batch < resolvedAxis(norm.axis, rank: shape.rank) ?? 0
    case .gather(let gather): return operand > 0 || resolvedAxis(gather.axis, rank: shape.rank) != batch
    // A batch that is multiplied over: every sample would meet every other.
    case .matMul: return batch < shape.rank - 2 || (operand == 0 && batch == shape.rank - 2)
    case .gemm(let gemm): return operand == 2 || (operand == 0 && batch == (gemm.transposeA ? 1 : 0))
    case .conv2d, .convTranspose2d, .batchNorm, .unary, .binary, .select, .maxPool, .averagePool,
      .globalAveragePool,
      .identity, .reshape, .flatten, .transpose, .squeeze, .unsqueeze, .concat, .split, .slice, .pad, .expand,
      .resize,
      .shapeOf, .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear, .integerConv2d,
      .integerGemm,
      .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      return true
    }
  }

  // MARK: Running

  /// The outputs of a whole batch.
  package func run(_ inputs: [Tensor]) throws(CompilerError) -> [Tensor] {
    try run(inputs, concurrently: nil)
  }

  /// The outputs of a whole batch; `observe` sees every value that depends on an input, from several threads at once.
  package func run(_ inputs: [Tensor], concurrently observe: Observer?) throws(CompilerError) -> [Tensor] {
    let plan = try self.plan(inputs)
    return try run(
      sampleCount: plan.samples, chunkSize: plan.chunk, inputs: { plan.inputs($0) }, observe)
  }

  /// The outputs of a whole batch on the calling thread; `observe` sees every value that depends on an input, in order,
  /// chunk after chunk.
  package func run(_ inputs: [Tensor], observe: (ValueID, Tensor) -> Void) throws(CompilerError) -> [Tensor] {
    let plan = try self.plan(inputs)
    var parts: [[Tensor]] = []
    for range in Evaluator.chunks(plan.samples, plan.chunk) {
      parts.append(try runChunk(plan.inputs(range), batch: range.count) { observe($0, $1) })
    }
    return join(parts)
  }

  /// The outputs of `sampleCount` samples that `inputs` delivers chunk by chunk, so that a large data set need not be in
  /// memory. `inputs` and `observe` are called from several threads at once.
  package func run(
    sampleCount: Int, inputs: @Sendable (Range<Int>) throws(CompilerError) -> [Tensor],
    concurrently observe: Observer? = nil
  ) throws(CompilerError) -> [Tensor] {
    try run(
      sampleCount: sampleCount, chunkSize: fixedBatch ?? min(chunkSize, max(sampleCount, 1)), inputs: inputs,
      observe)
  }

  /// The same for what `observe` sees alone: outputs are not kept, so that memory does not grow with the samples.
  package func observe(
    sampleCount: Int, inputs: @Sendable (Range<Int>) throws(CompilerError) -> [Tensor],
    concurrently observe: @escaping Observer
  ) throws(CompilerError) {
    _ = try run(
      sampleCount: sampleCount, chunkSize: fixedBatch ?? min(chunkSize, max(sampleCount, 1)), inputs: inputs,
      observe, keepsOutputs: false)
  }

  private func run(
    sampleCount: Int, chunkSize: Int, inputs: @Sendable (Range<Int>) throws(CompilerError) -> [Tensor],
    _ observe: Observer?, keepsOutputs: Bool = true
  ) throws(CompilerError) -> [Tensor] {
    let chunks = Evaluator.chunks(sampleCount, chunkSize)
    let next = Atomic(0),
      results = Mutex([Result<[Tensor], CompilerError>?](repeating: nil, count: chunks.count))
    let hasFailed = Atomic(false), isFixed = fixedBatch != nil
    DispatchQueue.concurrentPerform(iterations: min(threads, chunks.count)) { _ in
      while !hasFailed.load(ordering: .relaxed) {
        let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard index < chunks.count else { return }
        let range = chunks[index], result: Result<[Tensor], CompilerError>
        do throws(CompilerError) {
          let tensors = try inputs(range)
          try check(tensors, batch: range.count)
          let outputs = try runChunk(tensors, batch: range.count) { value, tensor in
            guard let observe else { return }
            let isCut = graph[value].type.shape.isBatched || isFixed
            observe(Observation(value: value, tensor: tensor, samples: isCut ? range : 0..<sampleCount))
          }
          result = .success(keepsOutputs ? outputs : [])
        } catch {
          hasFailed.store(true, ordering: .relaxed)
          result = .failure(error)
        }
        results.withLock { $0[index] = result }
      }
    }
    var parts: [[Tensor]] = []
    for result in results.withLock({ $0 }) {
      // Chunks are taken in order, so that whatever precedes the first failure has run.
      if let result { parts.append(try result.get()) }
    }
    return keepsOutputs ? join(parts) : []
  }

  private static func chunks(_ count: Int, _ size: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: size).map {
      $0..<min($0.addingReportingOverflow(size).partialValue, count)
    }
  }

  /// The one batch a graph without a symbolic batch takes, which then runs group by group.
  private var fixedBatch: Int? {
    guard graph.inputs.allSatisfy({ !graph[$0].type.shape.isBatched }), let first = graph.inputs.first,
      let size = graph[first].type.shape.size(0), size > 0,
      (graph.inputs + graph.outputs).allSatisfy({ graph[$0].type.shape.size(0) == size })
    else { return nil }
    return size
  }

  private struct Plan: Sendable {
    var samples: Int
    var chunk: Int
    /// The tensors, and whether each is cut along axis 0.
    var tensors: [(tensor: Tensor, isBatched: Bool)]
    func inputs(_ range: Range<Int>) -> [Tensor] {
      tensors.map { $0.isBatched ? $0.tensor.samples(range) : $0.tensor }
    }
  }

  private func plan(_ inputs: [Tensor]) throws(CompilerError) -> Plan {
    try requireInputCount(inputs)
    for (tensor, value) in zip(inputs, graph.inputs) where tensor.shape.count != graph[value].type.shape.rank
    {
      throw inputError(value, tensor)
    }
    if let batch = fixedBatch {
      // A fixed batch: the samples must be a multiple of it.
      let samples = inputs[0].shape[0]
      guard samples % batch == 0, inputs.allSatisfy({ $0.shape[0] == samples }) else {
        throw inputError(graph.inputs[0], inputs[0])
      }
      let plan = Plan(samples: samples, chunk: batch, tensors: inputs.map { ($0, true) })
      if samples > 0 { try check(plan.inputs(0..<batch), batch: batch) }
      return plan
    }
    var batch: Int?
    for (tensor, value) in zip(inputs, graph.inputs) {
      for (size, extent) in zip(tensor.shape, graph[value].type.shape.extents) where extent == .batch {
        if batch ?? size != size { throw inputError(value, tensor) }
        batch = size
      }
    }
    try check(inputs, batch: batch ?? 1)
    let tensors = zip(inputs, graph.inputs).map {
      ($0, graph[$1].type.shape.extents.first == .batch && chunkSize < Int.max)
    }
    let samples = batch ?? 1
    return Plan(samples: samples, chunk: min(chunkSize, max(samples, 1)), tensors: tensors)
  }

  private func requireInputCount(_ inputs: [Tensor]) throws(CompilerError) {
    guard inputs.count == graph.inputs.count else {
      throw CompilerError("the graph takes \(graph.inputs.count) inputs, not \(inputs.count)")
    }
  }
  private func inputError(_ value: ValueID, _ tensor: Tensor) -> CompilerError {
    CompilerError(
      "input '\(graph[value].name)' must be \(graph[value].type), is \(Shape(tensor.shape)) \(tensor.element)"
    )
  }
  private func check(_ inputs: [Tensor], batch: Int) throws(CompilerError) {
    try requireInputCount(inputs)
    for (tensor, value) in zip(inputs, graph.inputs) {
      let type = graph[value].type
      let isSameElement = tensor.element == type.element || (type.quantized != nil && tensor.element == .u8)
      guard tensor.shape == type.shape.bound(batch: batch), isSameElement else {
        throw inputError(value, tensor)
      }
    }
  }

  /// Evaluates one chunk on the calling thread.
  private func runChunk(
    _ inputs: [Tensor], batch: Int, _ observe: (ValueID, Tensor) -> Void
  ) throws(CompilerError) -> [Tensor] {
    let context = try EvaluationContext(batch: batch, mode: mode, pool: pool, primitives: primitives)
    var slots = constants
    for (value, tensor) in zip(graph.inputs, inputs) {
      slots[value.index] = tensor
      slots[value.index]?.element = graph[value].type.element
      observe(value, tensor)
    }
    for step in steps {
      var operands: [Tensor] = []
      for (value, isLast) in zip(step.operands, step.isLastUse) {
        guard let tensor = slots[value.index] else {
          throw CompilerError(
            "the operand '\(graph[value].name)' has no value", at: "node '\(step.name)'",
            status: .internalError)
        }
        operands.append(tensor)
        if isLast, constants[value.index] == nil { slots[value.index] = nil }
      }
      let results = try context.evaluate(step, &operands)
      for (value, tensor) in zip(step.results, results) {
        observe(value, tensor)
        slots[value.index] = tensor
      }
      for value in step.deadResults { slots[value.index] = nil }
    }
    return try graph.outputs.map { value throws(CompilerError) in
      guard let tensor = slots[value.index] else {
        throw CompilerError("the output '\(graph[value].name)' has no value", status: .internalError)
      }
      return tensor
    }
  }

  /// The outputs of all chunks, joined along the batch, in memory of their own.
  private func join(_ parts: [[Tensor]]) -> [Tensor] {
    graph.outputs.indices.map { index in
      let type = graph[graph.outputs[index]].type
      let pieces = parts.map { $0[index].rowMajor() }
      guard pieces.count != 1 else { return pieces[0] }
      let shape = pieces.first?.shape ?? type.shape.bound(batch: 0)
      guard type.shape.isBatched || fixedBatch != nil else { return pieces[0] }
      let result = Tensor([pieces.reduce(0) { $0 + $1.shape[0] }] + shape.dropFirst(), type.element)
      var offset = 0
      for piece in pieces {
        result.rawPointer.advanced(by: offset).copyMemory(from: piece.rawPointer, byteCount: piece.byteCount)
        offset += piece.byteCount
      }
      return result
    }
  }
}

private func processorCount() -> Int { sysconf(Int32(_SC_NPROCESSORS_ONLN)) }
