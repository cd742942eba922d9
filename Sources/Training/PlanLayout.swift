import Evaluator
import IR
import Support

/// The operations between given values and taps, in order; operations whose value before the activation is tapped come
/// apart into two.
struct PlanLayout {
  private(set) var steps: [Evaluator.Step] = []
  /// Constants that some step or tap reads.
  private(set) var constants: [ValueID] = []
  /// Graph inputs that are needed but not given.
  private(set) var missing: [ValueID] = []
  private let graph: Graph
  /// The values before activations that taps look at, by the value after.
  private var untouched: [ValueID: ValueID] = [:]
  private var extraTypes: [TensorType] = []
  private var computed: Set<ValueID> = []

  init(_ graph: Graph, given: Set<ValueID>, taps: [GradientPlan.Tap]) {
    self.graph = graph
    for tap in taps where tap.isBeforeActivation && untouched[tap.value] == nil {
      guard let op = graph.definingOp(of: tap.value), let activation = graph[op].op.fusedActivation,
        activation != .none
      else { continue }
      untouched[tap.value] = ValueID(index: graph.values.count + extraTypes.count)
      extraTypes.append(graph[tap.value].type)
    }
    var needed = Set(taps.map(\.value))
    var chosen: [OpID] = []
    for id in graph.order.reversed() {
      let node = graph[id]
      guard
        node.results.contains(where: { result in
          needed.contains(result) && (!given.contains(result) || untouched[result] != nil)
        })
      else { continue }
      chosen.append(id)
      needed.formUnion(node.operands)
    }
    for id in chosen.reversed() { append(Evaluator.Step(graph, id) { _ in false }) }
    for index in graph.values.indices {
      let value = ValueID(index: index)
      guard needed.contains(value), !given.contains(value) else { continue }
      switch graph[value].definition {
      case .constant: constants.append(value)
      case .input: missing.append(value)
      case .result: break
      }
    }
  }

  private mutating func append(_ step: Evaluator.Step) {
    computed.formUnion(step.results)
    guard let result = step.results.first, let before = untouched[result],
      let activation = step.op.fusedActivation
    else {
      steps.append(step)
      return
    }
    var first = step, second = step
    first.op = step.op.withoutActivation
    first.results = [before]
    steps.append(first)
    second.op = .unary(Unary(activation))
    second.operands = [before]
    second.operandTypes = [Operand(step.resultTypes[0])]
    second.isConstant = [false]
    second.isLastUse = [false]
    steps.append(second)
    computed.insert(before)
  }

  var valueCount: Int { graph.values.count + extraTypes.count }
  func type(of value: ValueID) -> TensorType {
    value.index < graph.values.count ? graph[value].type : extraTypes[value.index - graph.values.count]
  }
  func value(of tap: GradientPlan.Tap) -> ValueID {
    tap.isBeforeActivation ? untouched[tap.value] ?? tap.value : tap.value
  }
  func isComputed(_ value: ValueID) -> Bool { computed.contains(value) }

  /// Marks where memory is free again: in the forward pass behind the last reader of a value that the backward pass
  /// does not need, in the backward pass behind the last step that does.
  static func markLifetimes(
    _ steps: inout [GradientStep], outputs: [ValueID], constants: [Tensor?]
  ) throws(CompilerError) {
    var keeper: [ValueID: Int] = [:]
    for index in steps.indices {
      for value in steps[index].keptValues where keeper[value] == nil { keeper[value] = index }
    }
    for (value, index) in keeper.sorted(by: { $0.key < $1.key }) where constants[value.index] == nil {
      steps[index].releasedValues.append(value)
    }
    var isLive = Set(outputs).union(keeper.keys)
    for index in steps.indices.reversed() {
      let step = steps[index].step
      steps[index].deadResults = step.results.filter { !isLive.contains($0) }
      for operand in step.operands.indices.reversed() where constants[step.operands[operand].index] == nil {
        if isLive.insert(step.operands[operand]).inserted { steps[index].step.isLastUse[operand] = true }
      }
    }
  }
}

extension Op {
  /// The activation fused into the operation; nil for operations that have none.
  var fusedActivation: Activation? {
    if case .conv2d(let op) = self { return op.activation }
    if case .convTranspose2d(let op) = self { return op.activation }
    if case .gemm(let op) = self { return op.activation }
    if case .binary(let op) = self { return op.activation }
    return nil
  }
  /// The operation with no fused activation.
  var withoutActivation: Op {
    if case .conv2d(var op) = self {
      op.activation = .none
      return .conv2d(op)
    }
    if case .convTranspose2d(var op) = self {
      op.activation = .none
      return .convTranspose2d(op)
    }
    if case .gemm(var op) = self {
      op.activation = .none
      return .gemm(op)
    }
    if case .binary(var op) = self {
      op.activation = .none
      return .binary(op)
    }
    return self
  }
}

extension Unary {
  fileprivate init(_ activation: Activation) {
    switch activation {
    case .relu: self.init(Function.relu)
    case .none, .clip:
      self.init(Function.clip, alpha: activation.bounds.lowerBound, beta: activation.bounds.upperBound)
    }
  }
}
