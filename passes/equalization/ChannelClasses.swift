import IR

/// Which channels of a network's values must be scaled together, and which cannot be.
///
/// Every channel of every value is an element; operations that commute with positive factors per channel join the
/// elements of their operands and results: relu, pooling, sums, slices and concatenations, whatever their number of readers
/// and producers. Layers with constants end a class on either side. Channels that anything else reads or computes, and
/// those of inputs and outputs, are fixed.
struct ChannelClasses {
  /// A value behind a clamp at `bound`, through which only channels that stay below it may be scaled.
  struct Clamp {
    var value: ValueID
    var bound: Float
  }
  private(set) var layers: [ScalableLayer] = []
  private(set) var clamps: [Clamp] = []
  private var first: [Int] = []
  private var parents: [Int] = []
  private var reasons: [Int: String] = [:]

  init(_ graph: Graph) {
    for index in graph.values.indices {
      first.append(parents.count)
      let value = ValueID(index: index)
      let isChannelled = graph.constant(value) == nil && graph[value].type.element == .f32
      let count = isChannelled ? graph.channelAxisSize(value) ?? 0 : 0
      parents += parents.count..<parents.count + count
    }
    first.append(parents.count)
    graph.inputs.forEach { fix($0, "inputs of the network") }
    graph.outputs.forEach { fix($0, "outputs of the network") }
    for id in graph.order { visit(id, graph) }
  }

  var elementCount: Int { parents.count }
  func elements(of value: ValueID) -> Range<Int> { first[value.index]..<first[value.index + 1] }
  /// The representative of an element's class.
  func root(_ element: Int) -> Int {
    var element = element
    while parents[element] != element { element = parents[element] }
    return element
  }
  /// Why the class of a representative cannot be scaled; nil where it can.
  func reason(_ root: Int) -> String? { reasons[root] }

  // MARK: Joining

  private mutating func find(_ element: Int) -> Int {
    var element = element
    while parents[element] != element {
      parents[element] = parents[parents[element]]
      element = parents[element]
    }
    return element
  }
  private mutating func join(_ a: Int, _ b: Int) {
    let (a, b) = (find(a), find(b))
    guard a != b else { return }
    parents[max(a, b)] = min(a, b)
    if let reason = reasons.removeValue(forKey: max(a, b)), reasons[min(a, b)] == nil {
      reasons[min(a, b)] = reason
    }
  }
  private mutating func fix(_ element: Int, _ reason: String) {
    let root = find(element)
    if reasons[root] == nil { reasons[root] = reason }
  }
  private mutating func fix(_ value: ValueID, _ reason: String) {
    for element in elements(of: value) { fix(element, reason) }
  }
  /// Joins the channels of two values one by one; fixes both where their numbers differ.
  private mutating func join(_ a: ValueID, _ b: ValueID, _ reason: String) {
    let (a, b) = (elements(of: a), elements(of: b))
    guard a.count == b.count else {
      for element in a { fix(element, reason) }
      for element in b { fix(element, reason) }
      return
    }
    for (x, y) in zip(a, b) { join(x, y) }
  }
  private mutating func fixAll(_ node: Graph.Node) {
    for value in node.operands + node.results { fix(value, node.op.mnemonic) }
  }

  // MARK: Operations

  private mutating func visit(_ id: OpID, _ graph: Graph) {
    let node = graph[id]
    guard let result = node.results.first, let operand = node.operands.first else { return fixAll(node) }
    switch node.op {
    case .conv2d, .convTranspose2d, .gemm:
      guard let layer = ScalableLayer(id, graph), add(layer, operand, result) else { return fixAll(node) }
      clamp(result, node.op.activation ?? .none)
    case .matMul:
      guard let layer = ScalableLayer(id, graph), add(layer, operand, result) else { return fixAll(node) }
    case .layerNorm(let norm):
      fix(operand, node.op.mnemonic)
      guard resolvedAxis(norm.axis, rank: graph.shape(result).rank) == graph.channelAxis(result),
        let layer = ScalableLayer(id, graph), add(layer, operand, result)
      else { return fix(result, node.op.mnemonic) }
    case .unary(let unary):
      switch unary.function {
      case .relu, .leakyRelu, .abs, .negate: join(operand, result, unary.mnemonic)
      case .clip:
        join(operand, result, unary.mnemonic)
        clamp(result, .clip(minimum: unary.alpha, maximum: unary.beta))
      case .elu, .sigmoid, .hardSigmoid, .hardSwish, .silu, .gelu, .tanh, .erf, .exp, .log, .sqrt,
        .reciprocal, .floor, .ceil, .sign, .softplus, .not:
        fixAll(node)
      }
    case .binary(let binary): visit(binary, id, graph)
    case .maxPool, .averagePool, .globalAveragePool, .identity: join(operand, result, node.op.mnemonic)
    case .flatten, .reshape, .squeeze, .unsqueeze: reshape(operand, result, graph, node)
    case .transpose(let transpose):
      guard let axis = graph.channelAxis(operand), transpose.permutation.count > axis,
        transpose.permutation[axis] == axis
      else { return fixAll(node) }
      join(operand, result, node.op.mnemonic)
    case .concat(let concat):
      guard let axis = resolvedAxis(concat.axis, rank: graph.shape(result).rank) else { return fixAll(node) }
      guard axis == graph.channelAxis(result) else {
        for part in node.operands { join(part, result, node.op.mnemonic) }
        return
      }
      var next = elements(of: result).lowerBound
      for part in node.operands {
        for element in elements(of: part) { join(element, next + element - elements(of: part).lowerBound) }
        next += graph.channelAxisSize(part) ?? 0
      }
    case .slice(let slice):
      guard let ranges = try? slice.ranges(of: graph.shape(operand)), node.operands.count == 1 else {
        return fixAll(node)
      }
      guard let range = ranges.first(where: { $0.axis == graph.channelAxis(operand) }) else {
        return join(operand, result, node.op.mnemonic)
      }
      for (offset, element) in elements(of: result).enumerated() {
        join(elements(of: operand).lowerBound + range.start + range.step * offset, element)
      }
    case .pad(let pad):
      guard pad.mode == .constant, pad.value == 0, node.operands.count == 1,
        let axis = graph.channelAxis(operand)
      else { return fixAll(node) }
      // New channels are zeros, which any factor keeps.
      for (offset, element) in elements(of: operand).enumerated() {
        let target = offset + pad.pads[axis]
        if elements(of: result).indices.contains(elements(of: result).lowerBound + target) {
          join(element, elements(of: result).lowerBound + target)
        }
      }
    case .batchNorm, .select, .reduce, .softmax, .split, .gather, .expand, .resize, .shapeOf, .cast,
      .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear, .integerConv2d, .integerGemm,
      .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      fixAll(node)
    }
  }

  private mutating func visit(_ binary: Binary, _ id: OpID, _ graph: Graph) {
    let node = graph[id], result = node.results[0], (a, b) = (node.operands[0], node.operands[1])
    let constant = graph.splitConstant(node)
    switch binary.function {
    case .add, .subtract, .minimum, .maximum:
      if let (value, _) = constant {
        guard let layer = ScalableLayer(id, graph), graph.shape(value) == graph.shape(result) else {
          return fixAll(node)
        }
        layers.append(layer)
        join(value, result, binary.mnemonic)
      } else {
        guard graph.shape(a) == graph.shape(b) else { return fixAll(node) }
        join(a, result, binary.mnemonic)
        join(b, result, binary.mnemonic)
      }
      clamp(result, binary.activation)
    case .multiply, .parametricRelu:
      // The second operand, a gate, stays as it is.
      let isSwapped = binary.function == .multiply && graph.shape(a) != graph.shape(result)
      let value = constant?.value ?? (isSwapped ? b : a)
      guard graph.shape(value) == graph.shape(result), graph.constant(value) == nil else {
        return fixAll(node)
      }
      for other in node.operands where other != value { fix(other, binary.mnemonic) }
      if a == b { fix(value, binary.mnemonic) }
      join(value, result, binary.mnemonic)
    case .divide, .power, .equal, .less, .greater, .and, .or: fixAll(node)
    }
  }

  private mutating func add(_ layer: ScalableLayer, _ operand: ValueID, _ result: ValueID) -> Bool {
    guard elements(of: result).count == layer.rows,
      layer.columns == 0 || elements(of: operand).count == layer.columns
    else { return false }
    layers.append(layer)
    return true
  }

  /// Lower bounds of 0 commute with factors, upper ones where they are never reached; other bounds fix their channels.
  private mutating func clamp(_ value: ValueID, _ activation: Activation) {
    let bounds = activation.bounds
    guard bounds.lowerBound == 0 || bounds.lowerBound == -.infinity, bounds.upperBound > 0 else {
      return fix(value, "clip")
    }
    if bounds.upperBound < .infinity { clamps.append(Clamp(value: value, bound: bounds.upperBound)) }
  }

  /// Runs of positions of one channel that become channels of their own, or the reverse.
  private mutating func reshape(_ operand: ValueID, _ result: ValueID, _ graph: Graph, _ node: Graph.Node) {
    let (x, y) = (graph.shape(operand), graph.shape(result))
    let from = elements(of: operand), to = elements(of: result)
    if x.rank == 3 || y.rank == 3 {
      guard from.count == to.count, x.rank <= 3, y.rank <= 3 else { return fixAll(node) }
      return join(operand, result, node.op.mnemonic)
    }
    guard x.rank > 0, y.rank > 0, x[0] == y[0], !from.isEmpty, !to.isEmpty,
      max(from.count, to.count) % min(from.count, to.count) == 0
    else { return fixAll(node) }
    let many = from.count > to.count ? from : to, few = from.count > to.count ? to : from
    for (offset, element) in many.enumerated() {
      join(element, few.lowerBound + offset / (many.count / few.count))
    }
  }
}
