import IR
import PassKit

/// Rules for functions of one variable.
///
///     subtract(%x, %c), divide(%x, %c)                     ->  add(%x, -c), multiply(%x, 1/c)
///     maximum(%x, 0), minimum(%x, 6), clip{0, inf}         ->  relu, clip{-inf, 6}, relu
///     clip{0, 6}(relu(%x))                                 ->  clip{0, 6}(%x)
///     multiply(%x, sigmoid(%x))                            ->  silu(%x)
///     multiply(clip{0, 6}(add(%x, 3)), 1/6)                ->  hard-sigmoid{1/6, 1/2}(%x)
///     multiply(%x, hard-sigmoid{1/6, 1/2}(%x))             ->  hard-swish(%x)
///     multiply(multiply(%x, 0.5), add(erf(%x / √2), 1))    ->  gelu(%x)
///     parametric-relu(%x, constant slope)                  ->  leaky-relu(%x)
///     softmax{axis = 1, flatten = true}(%x : [N, C])       ->  softmax{axis = -1}(%x)
///
/// Products match in any order and grouping. Results differ by the rounding of a few operations.
let activationRules = [
  Simplification("subtract or divide by a constant to add or multiply", invertConstant),
  Simplification("maximum, minimum or clip in canonical form", normalizeClamp),
  Simplification("clamps merged", mergeClamps),
  Simplification("hard-sigmoid recognized", recognizeHardSigmoid),
  Simplification("product recognized as silu, hard-swish or gelu", recognizeGate),
  Simplification("parametric-relu of one slope to leaky-relu", uniformSlope),
  Simplification("softmax over the last axis", normalizeSoftmax),
]

private func invertConstant(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .binary(let binary) = node.op, binary.function == .subtract || binary.function == .divide,
    rewriter.graph.constant(node.operands[0]) == nil, let floats = rewriter.graph.floats(node.operands[1]),
    let sizes = rewriter.graph.shape(node.operands[1]).sizes
  else { return false }
  let inverse = binary.function == .subtract ? floats.map { -$0 } : floats.map { Float(1 / Double($0)) }
  guard inverse.allSatisfy(\.isFinite), rewriter.takeStep() else { return false }
  let constant = Constant(rewriter.graph[node.operands[1]].name, sizes, inverse)
  let operand = rewriter.constant(constant, replacing: node.operands[1], of: op)
  try rewriter.replace(
    op, with: .binary(Binary(binary.function == .subtract ? .add : .multiply)), [node.operands[0], operand])
  return true
}

private func normalizeClamp(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op], value: ValueID, clamp: Activation
  if case .unary(let unary) = node.op, unary.function == .clip, let activation = unary.activation {
    (value, clamp) = (node.operands[0], activation)
  } else if case .binary(let binary) = node.op, binary.function == .maximum || binary.function == .minimum,
    let (operand, constant) = rewriter.graph.splitConstant(node),
    let bound = rewriter.graph.uniformFloat(constant),
    !bound.isNaN, rewriter.graph[operand].type == rewriter.graph[node.results[0]].type
  {
    value = operand
    clamp =
      binary.function == .maximum
      ? .clip(minimum: bound, maximum: .infinity) : .clip(minimum: -.infinity, maximum: bound)
  } else {
    return false
  }
  let canonical = Op.unary(Unary(clamp: Activation(bounds: clamp.bounds)))
  guard canonical != node.op, rewriter.takeStep() else { return false }
  try rewriter.replace(op, with: canonical, [value])
  return true
}

private func mergeClamps(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .unary(let outer) = node.op, let outerClamp = outer.activation,
    let producer = rewriter.graph.node(defining: node.operands[0]), case .unary(let inner) = producer.op,
    let innerClamp = inner.activation, rewriter.takeStep()
  else { return false }
  try rewriter.replace(op, with: .unary(Unary(clamp: innerClamp.followed(by: outerClamp))), producer.operands)
  return true
}

private func isClose(_ x: Float, _ y: Double) -> Bool { abs(Double(x) - y) <= 1e-5 * abs(y) }

/// `%y + shift` where `%y` is no constant and shift is one number.
private func shifted(_ value: ValueID, _ graph: Graph) -> (value: ValueID, shift: Float)? {
  guard let node = graph.node(defining: value), case .binary(let binary) = node.op, binary.function == .add,
    binary.activation == .none, let (operand, constant) = graph.splitConstant(node),
    let shift = graph.uniformFloat(constant)
  else { return nil }
  return (operand, shift)
}

/// The factors of a product, constants of one number multiplied together. Opens up nested products that
/// nothing else reads, to a depth that no gate exceeds.
private func factors(_ value: ValueID, _ graph: Graph, depth: Int = 0) -> (values: [ValueID], scale: Double) {
  if let uniform = graph.uniformFloat(value) { return ([], Double(uniform)) }
  guard depth == 0 || (depth < 4 && graph.soleUser(of: value) != nil), let node = graph.node(defining: value),
    case .binary(let binary) = node.op, binary.function == .multiply
  else { return ([value], 1) }
  let parts = node.operands.map { factors($0, graph, depth: depth + 1) }
  return (parts.flatMap(\.values), parts.reduce(1) { $0 * $1.scale })
}

/// The x of `clip{0, 6}(x + 3)`.
private func shiftedRelu6(_ value: ValueID, _ graph: Graph) -> ValueID? {
  guard let node = graph.node(defining: value), case .unary(let unary) = node.op,
    unary.activation?.bounds == 0...6, let (operand, shift) = shifted(node.operands[0], graph), shift == 3
  else { return nil }
  return operand
}

private func recognizeHardSigmoid(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .binary(let binary) = node.op, binary.function == .multiply,
    let (value, constant) = rewriter.graph.splitConstant(node),
    let scale = rewriter.graph.uniformFloat(constant),
    isClose(scale, 1 / 6), let operand = shiftedRelu6(value, rewriter.graph),
    rewriter.graph[operand].type == rewriter.graph[node.results[0]].type, rewriter.takeStep()
  else { return false }
  try rewriter.replace(op, with: .unary(Unary(.hardSigmoid, alpha: 1 / 6, beta: 0.5)), [operand])
  return true
}

private func recognizeGate(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op], graph = rewriter.graph
  guard case .binary(let binary) = node.op, binary.function == .multiply else { return false }
  let (values, scale) = factors(node.results[0], graph)
  guard values.count == 2 else { return false }
  for (x, gate) in [(values[0], values[1]), (values[1], values[0])] {
    guard let function = gateFunction(of: x, gate, scale, graph),
      graph[x].type == graph[node.results[0]].type,
      rewriter.takeStep()
    else { continue }
    try rewriter.replace(op, with: .unary(Unary(function)), [x])
    return true
  }
  return false
}

/// The function that equals `scale * x * gate`.
private func gateFunction(of x: ValueID, _ gate: ValueID, _ scale: Double, _ graph: Graph) -> Unary.Function?
{
  if shiftedRelu6(gate, graph) == x { return isClose(Float(scale), 1 / 6) ? .hardSwish : nil }
  guard let node = graph.node(defining: gate) else { return nil }
  if case .unary(let unary) = node.op, node.operands[0] == x, scale == 1 {
    if unary.function == .sigmoid { return .silu }
    if unary.function == .hardSigmoid, isClose(unary.alpha, 1 / 6), isClose(unary.beta, 0.5) {
      return .hardSwish
    }
  }
  guard isClose(Float(scale), 0.5), let (inner, shift) = shifted(gate, graph), shift == 1,
    let erf = graph.node(defining: inner), case .unary(let unary) = erf.op, unary.function == .erf
  else { return nil }
  let argument = factors(erf.operands[0], graph)
  return argument.values == [x] && isClose(Float(argument.scale), 0.5.squareRoot()) ? .gelu : nil
}

private func uniformSlope(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .binary(let binary) = node.op, binary.function == .parametricRelu,
    let slope = rewriter.graph.uniformFloat(node.operands[1]),
    rewriter.graph[node.operands[0]].type == rewriter.graph[node.results[0]].type, rewriter.takeStep()
  else { return false }
  try rewriter.replace(op, with: .unary(Unary(.leakyRelu, alpha: slope)), [node.operands[0]])
  return true
}

private func normalizeSoftmax(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .softmax(var softmax) = node.op else { return false }
  let rank = rewriter.graph.shape(node.operands[0]).rank
  guard resolvedAxis(softmax.axis, rank: rank) == rank - 1, softmax.axis != -1 || softmax.flatten,
    rewriter.takeStep()
  else { return false }
  softmax.axis = -1
  softmax.flatten = false
  try rewriter.replace(op, with: .softmax(softmax), node.operands)
  return true
}

extension Unary {
  /// The function that clamps like `activation`.
  init(clamp activation: Activation) {
    switch activation {
    case .none: self.init(.clip)
    case .relu: self.init(.relu)
    case .clip(let minimum, let maximum): self.init(.clip, alpha: minimum, beta: maximum)
    }
  }
}
