import IR
import PassKit

extension Graph {
  /// The only operation that reads `value`, through one operand; nil when the value is also an output.
  func soleUser(of value: ValueID) -> OpID? {
    let uses = uses(of: value)
    return uses.count == 1 && !isOutput(value) ? uses[0].user : nil
  }
  /// The producer of `value` when nothing else reads it, so that a rewrite may swallow it.
  func soleProducer(of value: ValueID) -> OpID? { soleUser(of: value) == nil ? nil : definingOp(of: value) }
  func shape(_ value: ValueID) -> Shape { self[value].type.shape }
  func node(defining value: ValueID) -> Node? { definingOp(of: value).map { self[$0] } }

  /// The elements of an f32 constant.
  func floats(_ value: ValueID) -> [Float]? {
    guard let constant = constant(value), constant.type.element == .f32 else { return nil }
    return constant.floats
  }
  /// The value that all elements of an f32 constant share.
  func uniformFloat(_ value: ValueID) -> Float? {
    guard let floats = floats(value), let first = floats.first, floats.allSatisfy({ $0 == first }) else {
      return nil
    }
    return first
  }
  /// One number per channel of an f32 constant that broadcasts along all axes but axis 1 of a tensor like
  /// `value`, without widening it.
  func channelFloats(_ constant: ValueID, alongside value: ValueID) -> [Float]? {
    let rank = shape(value).rank, sizes = shape(constant).extents
    guard rank >= 2, sizes.count <= rank, let channels = shape(value).size(1), let floats = floats(constant)
    else { return nil }
    for (axis, extent) in sizes.enumerated() where extent != .known(1) {
      guard axis + rank - sizes.count == 1, extent == .known(channels) else { return nil }
    }
    return floats.count == 1 ? Array(repeating: floats[0], count: channels) : floats
  }
  /// The operand that is no constant and the one that is, of a two-operand operation.
  func splitConstant(_ node: Node) -> (value: ValueID, constant: ValueID)? {
    guard node.operands.count == 2 else { return nil }
    let (a, b) = (node.operands[0], node.operands[1])
    switch (constant(a) != nil, constant(b) != nil) {
    case (false, true): return (a, b)
    case (true, false): return (b, a)
    case (true, true), (false, false): return nil
    }
  }
  /// A bound that no element of `value` falls below, as far as its producer tells.
  func lowerBound(of value: ValueID) -> Float {
    var value = value
    while let node = node(defining: value) {
      if case .maxPool = node.op {
        value = node.operands[0]
        continue
      }
      guard case .unary(let op) = node.op else { return node.op.activation?.bounds.lowerBound ?? -.infinity }
      return op.function == .sigmoid || op.function == .hardSigmoid
        ? 0 : op.activation?.bounds.lowerBound ?? -.infinity
    }
    return -.infinity
  }
}

extension Op {
  /// The activation fused into an operation that can hold one; nil for all others.
  var activation: Activation? {
    if case .conv2d(let op) = self { return op.activation }
    if case .convTranspose2d(let op) = self { return op.activation }
    if case .gemm(let op) = self { return op.activation }
    if case .binary(let op) = self, op.function == .add { return op.activation }
    return nil
  }
  /// The same operation with another activation.
  func with(activation: Activation) -> Op {
    if case .conv2d(var op) = self {
      op.activation = activation
      return .conv2d(op)
    }
    if case .convTranspose2d(var op) = self {
      op.activation = activation
      return .convTranspose2d(op)
    }
    if case .gemm(var op) = self {
      op.activation = activation
      return .gemm(op)
    }
    if case .binary(var op) = self {
      op.activation = activation
      return .binary(op)
    }
    return self
  }
}

extension Activation {
  /// The clamp that equals this one followed by `outer`.
  func followed(by outer: Activation) -> Activation {
    Activation(bounds: outer(bounds.lowerBound)...outer(bounds.upperBound))
  }
  init(bounds: ClosedRange<Float>) {
    switch (bounds.lowerBound, bounds.upperBound) {
    case (-Float.infinity, Float.infinity): self = .none
    case (0, Float.infinity): self = .relu
    default: self = .clip(minimum: bounds.lowerBound, maximum: bounds.upperBound)
    }
  }
}

extension Rewriter {
  /// Lets `value`, which equals the result of `op`, take its place. An output keeps its name, so it stays
  /// where `value` is an input, a constant or an output itself. An `isOptional` rewrite takes a step.
  mutating func forward(_ op: OpID, to value: ValueID, isOptional: Bool = true) -> Bool {
    let result = graph[op].results[0]
    guard graph[op].results.count == 1, graph[result].type == graph[value].type else { return false }
    guard graph.isOutput(result) else {
      guard !isOptional || takeStep() else { return false }
      replaceUses(of: result, with: value)
      eraseWithDeadProducers(op)
      return true
    }
    guard graph.definingOp(of: value) != nil, !graph.isOutput(value), !isOptional || takeStep() else {
      return false
    }
    let name = graph[result].name
    replaceUses(of: result, with: value)
    eraseWithDeadProducers(op)
    rename(value, name)
    return true
  }

  /// A constant in the place of `old`, which `user` reads; it takes over the name when nothing else reads
  /// `old`.
  mutating func constant(_ constant: Constant, replacing old: ValueID, of user: OpID) -> ValueID {
    let isLastUse = graph.uses(of: old).allSatisfy { $0.user == user } && !graph.isOutput(old)
    let new = self.constant(constant)
    if isLastUse {
      let name = graph[old].name
      rename(old, name + ".replaced")
      rename(new, name)
    }
    return new
  }
}
