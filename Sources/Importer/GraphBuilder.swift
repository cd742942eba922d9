import IR

/// The graph under construction and what importers need to add to it.
final class GraphBuilder {
  private(set) var graph: Graph
  /// A model for batches of one is being read for any batch: its operations must treat samples independently.
  let generalizesBatch: Bool
  private var call: OnnxCall?

  /// Larger tensors have no place in memory; the bound also keeps size arithmetic from overflowing.
  private static let maximumElementCount = 1 << 31
  private static let maximumRank = 16

  init(graph: Graph, generalizesBatch: Bool) {
    self.graph = graph
    self.generalizesBatch = generalizesBatch
  }

  /// Adds what `body` emits in the name of `call`.
  func importing(
    _ call: OnnxCall, _ body: (GraphBuilder, OnnxCall) throws(ImportFailure) -> [ValueID]
  ) throws(ImportFailure) -> [ValueID] {
    self.call = call
    defer { self.call = nil }
    return try body(self, call)
  }

  // MARK: - Emitting

  /// Appends the operation that yields the node's own results, under their names.
  func emit(_ op: Op, _ operands: [ValueID]) throws(ImportFailure) -> [ValueID] {
    let name = call?.name ?? ""
    let names = (call?.node.outputs ?? []).enumerated().map { $1.isEmpty ? "\(name).\($0)" : $1 }
    return try append(op, operands, name: name, resultNames: names)
  }
  /// Appends an operation on the way to the node's results.
  func step(_ op: Op, _ operands: [ValueID], _ suffix: String) throws(ImportFailure) -> ValueID {
    let name = "\(call?.name ?? "").\(suffix)"
    return try append(op, operands, name: name, resultNames: [name])[0]
  }
  private func append(
    _ op: Op, _ operands: [ValueID], name: String, resultNames: [String]
  ) throws(ImportFailure) -> [ValueID] {
    if generalizesBatch, let reason = batchMixing(op, operands) { throw ImportFailure(reason) }
    if case .binary = op, operands.count == 2, type(operands[0]).element != type(operands[1]).element {
      throw ImportFailure("it combines types \(type(operands[0]).element) and \(type(operands[1]).element)")
    }
    let id: OpID
    do throws(VerificationError) {
      id = try graph.append(op, operands, name: name, resultNames: resultNames)
    } catch {
      throw ImportFailure(error.description)
    }
    let results = graph[id].results
    for result in results { try requireReasonable(shape(result)) }
    return results
  }

  func addInput(_ name: String, _ type: TensorType) throws(ImportFailure) -> ValueID {
    try requireReasonable(type.shape)
    return graph.addInput(name, type)
  }
  func addOutput(_ value: ValueID) { graph.addOutput(value) }
  func setMetadata(_ key: String, _ value: String) { graph.setMetadata(key, value) }
  func addConstant(_ constant: Constant) throws(ImportFailure) -> ValueID {
    try requireReasonable(constant.type.shape)
    return graph.addConstant(constant)
  }
  /// A constant of the current node.
  func floatConstant(_ values: [Float], shape: [Int] = [], _ suffix: String) -> ValueID {
    graph.addConstant(Constant("\(call?.name ?? "").\(suffix)", shape, values))
  }
  func integerConstant(_ values: [Int], _ suffix: String) -> ValueID {
    graph.addConstant(Constant("\(call?.name ?? "").\(suffix)", [values.count], values.map { Int64($0) }))
  }

  private func requireReasonable(_ shape: Shape) throws(ImportFailure) {
    guard shape.rank <= Self.maximumRank else {
      throw ImportFailure("a tensor of shape \(shape) has more than \(Self.maximumRank) axes")
    }
    guard let count = checkedProduct(shape.bound(batch: 1)), count <= Self.maximumElementCount else {
      throw ImportFailure("a tensor of shape \(shape) does not fit in memory")
    }
  }

  // MARK: - Looking

  func type(_ value: ValueID) -> TensorType { graph[value].type }
  func shape(_ value: ValueID) -> Shape { graph[value].type.shape }
  func rank(_ value: ValueID) -> Int { shape(value).rank }

  /// The contents of an integer tensor, known through constants and shape computations.
  func integers(_ value: ValueID, _ what: String) throws(ImportFailure) -> [Int] {
    if let integers = graph.operand(value).integers { return integers }
    if let constant = graph.constant(value), let integers = constant.integers { return integers }
    throw ImportFailure(
      "its \(what) are computed from the input's values",
      hint: "only values known at compile time are supported there")
  }
  /// The contents of a float constant, or of a value that is one after shape computations and copies; nil when the
  /// value is computed otherwise.
  func constantFloats(_ value: ValueID) -> [Float]? {
    guard type(value).element == .f32 else { return nil }
    var value = value
    while let producer = graph.definingOp(of: value), case .identity = graph[producer].op {
      value = graph[producer].operands[0]
    }
    return graph.constant(value)?.floats ?? graph.operand(value).integers.map { $0.map { Float($0) } }
  }
  func axis(_ axis: Int, _ value: ValueID) throws(ImportFailure) -> Int {
    guard let resolved = resolvedAxis(axis, rank: rank(value)) else {
      throw ImportFailure("axis \(axis) is out of range for shape \(shape(value))")
    }
    return resolved
  }

  // MARK: - Batch of one read as any batch

  /// Why `op` would give samples of a batch to one another, or nil. What stays are operations whose result for one
  /// sample is the same whatever else is in the batch.
  private func batchMixing(_ op: Op, _ operands: [ValueID]) -> String? {
    let reason = "the operation joins the samples of a batch"
    func isBatched(_ index: Int, _ axis: Int) -> Bool {
      guard index < operands.count, let axis = resolvedAxis(axis, rank: rank(operands[index])) else {
        return false
      }
      return shape(operands[index])[axis] == .batch
    }
    switch op {
    case .reduce(let reduce):
      let axes = reduce.resolvedAxes(rank: rank(operands[0])) ?? []
      return axes.contains { isBatched(0, $0) } ? reason : nil
    case .softmax(let softmax):
      let axis = resolvedAxis(softmax.axis, rank: rank(operands[0])) ?? 0
      let last = softmax.flatten ? max(rank(operands[0]) - 1, axis) : axis
      return (axis...last).contains { isBatched(0, $0) } ? reason : nil
    case .layerNorm(let norm):
      let axis = resolvedAxis(norm.axis, rank: rank(operands[0])) ?? 0
      return (axis..<max(rank(operands[0]), axis)).contains { isBatched(0, $0) } ? reason : nil
    case .gather(let gather): return isBatched(0, gather.axis) ? reason : nil
    case .gemm(let gemm):
      let joins = isBatched(0, gemm.transposeA ? 0 : 1) || isBatched(1, gemm.transposeB ? 1 : 0)
      return joins ? reason : nil
    case .matMul: return isBatched(0, -1) || isBatched(1, -2) ? reason : nil
    case .conv2d, .convTranspose2d, .batchNorm, .maxPool, .averagePool, .globalAveragePool, .resize:
      return isBatched(0, 0) || !shape(operands[0]).isBatched ? nil : reason
    case .unary, .binary, .select, .identity, .reshape, .flatten, .transpose, .squeeze, .unsqueeze, .concat,
      .split,
      .slice, .pad, .expand, .shapeOf, .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear,
      .integerConv2d,
      .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      return nil
    }
  }
}
