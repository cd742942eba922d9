/// Rules for graphs of every stage.
let structuralRules: [VerificationRule] = [
  // The order lists every living operation once, and results know their operation.
  VerificationRule("order", "every operation stands in the order exactly once", .imported ... .lowered) {
    graph, findings in
    var seen = Set<OpID>()
    for id in graph.order {
      guard id.index < graph.nodes.count, let node = graph.nodes[id.index] else {
        findings.report("\(id) stands in the order but was erased")
        continue
      }
      if !seen.insert(id).inserted { findings.report("stands in the order twice", at: node) }
      for (index, result) in node.results.enumerated()
      where result.index >= graph.values.count || graph[result].definition != .result(id, index) {
        findings.report("result \(index) does not know its operation", at: node)
      }
    }
    let living = graph.nodes.count { $0 != nil }
    if seen.count != living {
      findings.report("\(living - seen.count) operations are missing from the order")
    }
  },
  // Operands are inputs, constants or results of earlier operations.
  VerificationRule(
    "definition-before-use", "operands are defined before they are used", .imported ... .lowered
  ) {
    graph, findings in
    var defined = Set<OpID>()
    for id in graph.order {
      guard let node = graph.nodes[id.index] else { continue }
      for operand in node.operands where !graph.isDefined(operand, among: defined) {
        findings.report("operand \(operand) is not defined before this operation", at: node)
      }
      defined.insert(id)
    }
    for output in graph.outputs where !graph.isDefined(output, among: defined) {
      findings.report("output \(output) is defined nowhere")
    }
  },
  // Use lists mirror operand lists exactly.
  VerificationRule("uses", "use lists and operand lists agree", .imported ... .lowered) { graph, findings in
    var expected = Array(repeating: Set<Graph.Use>(), count: graph.values.count)
    for id in graph.order {
      for (index, operand) in (graph.nodes[id.index]?.operands ?? []).enumerated()
      where operand.index < expected.count {
        expected[operand.index].insert(Graph.Use(user: id, operand: index))
      }
    }
    for index in expected.indices {
      let uses = graph.uses(of: ValueID(index: index))
      if uses.count != expected[index].count || Set(uses) != expected[index] {
        findings.report("the use list of '%\(graph.values[index].name)' does not match the operands")
      }
    }
  },
  VerificationRule("names", "names of living values are unique and not empty", .imported ... .lowered) {
    graph, findings in
    var seen = Set<String>()
    for value in graph.livingValues {
      let name = graph[value].name
      if name.isEmpty { findings.report("\(value) has no name") }
      if !seen.insert(name).inserted { findings.report("the name '%\(name)' is taken twice") }
    }
  },
  // What a pass wrote must be what the operations say.
  VerificationRule("types", "result types are those that the operations infer", .imported ... .lowered) {
    graph, findings in
    for id in graph.order {
      guard let node = graph.nodes[id.index], node.operands.allSatisfy({ $0.index < graph.values.count })
      else { continue }
      do throws(VerificationError) {
        let types = try node.op.operation.resultTypes(of: node.operands.map { graph.operand($0) })
        guard types.count == node.results.count else {
          findings.report("has \(node.results.count) results, infers \(types.count)", at: node)
          continue
        }
        for (type, result) in zip(types, node.results) {
          let stored = graph[result].type
          if stored.shape != type.shape || stored.element != type.element {
            findings.report("the result '%\(graph[result].name)' is \(stored), inferred is \(type)", at: node)
          }
        }
      } catch {
        findings.report(error.description, at: node)
      }
    }
  },
  // Constants hold exactly their type's bytes, and quantized ones keep within their bits.
  VerificationRule(
    "constants", "constants fill their types and keep within their bits", .imported ... .lowered
  ) {
    graph, findings in
    for value in graph.usedConstants {
      guard let constant = graph.constant(value) else { continue }
      if constant.storage.bytes.count != constant.type.sizeInBytes {
        findings.report(
          "'%\(constant.name)' holds \(constant.storage.bytes.count) bytes, its type is \(constant.type)")
      } else if let q = constant.type.quantized, q.bits < 8, !constant.keepsWithin(q) {
        findings.report("'%\(constant.name)' holds integers beyond \(q)")
      }
    }
  },
]

extension Graph {
  /// Inputs, results of living operations and constants in use.
  fileprivate var livingValues: [ValueID] {
    values.indices.map { ValueID(index: $0) }.filter { value in
      switch self[value].definition {
      case .input: true
      case .constant: !uses(of: value).isEmpty || isOutput(value)
      case .result(let op, let index):
        nodes[op.index].map { index < $0.results.count && $0.results[index] == value } ?? false
      }
    }
  }
  fileprivate func isDefined(_ value: ValueID, among defined: Set<OpID>) -> Bool {
    guard value.index < values.count else { return false }
    switch self[value].definition {
    case .input(let index): return index < inputs.count && inputs[index] == value
    case .constant(let id): return id.index < constants.count
    case .result(let op, _): return defined.contains(op)
    }
  }
}

extension Constant {
  fileprivate func keepsWithin(_ q: QuantizedType) -> Bool {
    let bytes = storage.bytes
    if q.isSigned {
      if q.bits == 1 { return bytes.allSatisfy { $0 == 1 || Int8(bitPattern: $0) == -1 } }
      let limit = Int8(1) << (q.bits - 1)
      return bytes.allSatisfy { (-limit..<limit).contains(Int8(bitPattern: $0)) }
    }
    return bytes.allSatisfy { $0 < UInt8(1) << q.bits }
  }
}
