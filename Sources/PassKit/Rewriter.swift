import IR

/// The only way a pass may change a graph: keeps order and uses right, names, counts and bounds every change.
package struct Rewriter: Sendable {
  package private(set) var graph: Graph
  /// What the pass did, in order of first occurrence.
  package private(set) var statistics: [(name: String, count: Int)] = []
  /// Rewrites left under `--stop-after`; bisecting it finds the rewrite that breaks a model.
  package private(set) var stepsLeft: Int

  package init(_ graph: Graph, maximumSteps: Int = .max) {
    self.graph = graph
    stepsLeft = maximumSteps
  }

  /// A snapshot of the operations in order: safe to iterate while rewriting (erased ones fail `isAlive`).
  package var ops: [OpID] { graph.order }
  package func isAlive(_ op: OpID) -> Bool { graph.nodes[op.index] != nil }

  package mutating func count(_ what: String, _ amount: Int = 1) {
    if let index = statistics.firstIndex(where: { $0.name == what }) {
      statistics[index].count += amount
    } else {
      statistics.append((what, amount))
    }
  }
  /// Takes one step of the rewrite budget; false once it is spent. Optional rewrites ask first.
  package mutating func takeStep() -> Bool {
    guard stepsLeft > 0 else { return false }
    stepsLeft -= 1
    return true
  }

  package mutating func constant(_ constant: Constant) -> ValueID { graph.addConstant(constant) }

  /// Inserts an operation before `position` and returns its results.
  @discardableResult
  package mutating func insert(
    _ op: Op, _ operands: [ValueID], name: String, before position: OpID
  ) throws(VerificationError) -> [ValueID] {
    let index = graph.position(of: position) ?? graph.order.count
    let id = try graph.insert(op, operands, name: name, at: index)
    return graph[id].results
  }
  /// Inserts an operation right after the definition of `value` (at the front for inputs and constants).
  @discardableResult
  package mutating func insert(
    _ op: Op, _ operands: [ValueID], name: String, after value: ValueID
  ) throws(VerificationError) -> [ValueID] {
    let index = graph.definingOp(of: value).flatMap { graph.position(of: $0) }.map { $0 + 1 } ?? 0
    let id = try graph.insert(op, operands, name: name, at: index)
    return graph[id].results
  }

  /// Puts `op` in the place of `old`: its results take over uses and names; `old` and producers that die with it go.
  @discardableResult
  package mutating func replace(
    _ old: OpID, with op: Op, _ operands: [ValueID], name: String? = nil
  ) throws(VerificationError) -> [ValueID] {
    let node = graph[old]
    let results = try insert(op, operands, name: name ?? node.name, before: old)
    replaceResults(of: old, with: results)
    return results
  }
  /// Lets `values` take over the uses and names of the results of `old`, then erases it and what dies with it.
  package mutating func replaceResults(of old: OpID, with values: [ValueID]) {
    let node = graph[old]
    for (result, value) in zip(node.results, values) {
      graph.replaceUses(of: result, with: value)
      if let statistics = graph[result].statistics, graph[value].statistics == nil {
        graph.setStatistics(value, statistics)
      }
      if graph[result].type.shape == graph[value].type.shape {
        graph.setLayout(value, graph[result].type.layout)
      }
    }
    let names = node.results.map { graph[$0].name }
    eraseWithDeadProducers(old)
    for (name, value) in zip(names, values)
    where graph.definingOp(of: value) != nil && !node.operands.contains(value) {
      graph.rename(value, name)
    }
  }
  /// Erases an operation without users and every producer that thereby loses its last user.
  package mutating func eraseWithDeadProducers(_ op: OpID) {
    var pending = [op]
    while let next = pending.popLast() {
      guard isAlive(next) else { continue }
      let node = graph[next]
      guard node.results.allSatisfy({ graph.uses(of: $0).isEmpty && !graph.isOutput($0) }) else { continue }
      graph.erase(next)
      pending += node.operands.compactMap { graph.definingOp(of: $0) }
    }
  }
  package mutating func setOperand(_ op: OpID, _ index: Int, to value: ValueID) {
    graph.setOperand(op, index, to: value)
  }
  /// All uses of `old` except those by `user` become uses of `new`.
  package mutating func replaceUses(of old: ValueID, with new: ValueID, except user: OpID? = nil) {
    graph.replaceUses(of: old, with: new, except: user)
  }
  package mutating func setLayout(_ value: ValueID, _ layout: Layout) { graph.setLayout(value, layout) }
  package mutating func setPlacement(_ value: ValueID, _ placement: Graph.Placement?) {
    graph.setPlacement(value, placement)
  }
  package mutating func setStatistics(_ value: ValueID, _ statistics: ChannelStatistics?) {
    graph.setStatistics(value, statistics)
  }
  package mutating func rename(_ value: ValueID, _ name: String) { graph.rename(value, name) }
  package mutating func setMetadata(_ key: String, _ text: String) { graph.setMetadata(key, text) }
  package mutating func setInputType(_ value: ValueID, _ type: TensorType) { graph.setInputType(value, type) }
  package mutating func inferTypes() throws(VerificationError) { try graph.inferTypes() }
  /// Puts a graph that a lowering built beside the old one in its place.
  package mutating func replaceGraph(_ new: Graph) { graph = new }
  package mutating func setStage(_ stage: Stage) { graph.stage = stage }
}
