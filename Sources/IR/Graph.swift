/// A network as a flat, topologically ordered list of operations. A value type: copying is a snapshot.
package struct Graph: Sendable {
  package struct Node: Hashable, Sendable {
    package var op: Op
    package var operands: [ValueID]
    package var results: [ValueID]
    /// The name of the ONNX node, for diagnostics and reports.
    package var name: String
  }
  package struct Value: Hashable, Sendable {
    package var type: TensorType
    package var definition: Definition
    /// Unique within the graph.
    package var name: String
    /// Known contents of a small integer tensor (shape computations).
    package var fact: [Extent]?
    /// Where it lies in the arena, once planned.
    package var placement: Placement?
    /// Printed behind the type as `stats(mean = [...], deviation = [...])`.
    package var statistics: ChannelStatistics?
  }
  /// A place in the arena.
  package struct Placement: Hashable, Sendable {
    /// In bytes.
    package var offset: Int
    /// Bytes from pixel to pixel of a tensor that lies among the channels of a larger one; nil where its own pixels
    /// follow one another.
    package var pixelStride: Int?

    package init(_ offset: Int, pixelStride: Int? = nil) {
      self.offset = offset
      self.pixelStride = pixelStride
    }
  }
  package enum Definition: Hashable, Sendable { case input(Int), constant(ConstantID), result(OpID, Int) }
  package struct Use: Hashable, Sendable {
    package var user: OpID
    package var operand: Int
  }
  /// Integer constants up to this many elements take part in shape computations.
  package static let maximumFactCount = 1024

  package var name: String
  package var stage: Stage
  /// Facts about the origin, in order: source, opset, producer, target, arena size …
  package private(set) var metadata: [(key: String, value: String)] = []

  package private(set) var nodes: [Node?] = []
  package private(set) var values: [Value] = []
  private var useLists: [[Use]] = []
  package private(set) var order: [OpID] = []
  package private(set) var constants: [Constant] = []
  package private(set) var inputs: [ValueID] = []
  package private(set) var outputs: [ValueID] = []
  private var takenNames: Set<String> = []
  /// Where the order was last changed: passes rewrite from one end to the other, so the next change is near.
  private var recentPosition = 0

  package init(name: String = "main", stage: Stage = .imported) {
    self.name = name
    self.stage = stage
  }

  // MARK: Reading

  /// - Requires: the operation has not been erased.
  package subscript(op: OpID) -> Node {
    guard let node = nodes[op.index] else { preconditionFailure("\(op) was erased") }
    return node
  }
  package subscript(value: ValueID) -> Value { values[value.index] }
  package subscript(constant: ConstantID) -> Constant { constants[constant.index] }
  package func uses(of value: ValueID) -> [Use] { useLists[value.index] }
  package func isOutput(_ value: ValueID) -> Bool { outputs.contains(value) }
  package func constant(_ value: ValueID) -> Constant? {
    if case .constant(let id) = self[value].definition { constants[id.index] } else { nil }
  }
  package func definingOp(of value: ValueID) -> OpID? {
    if case .result(let op, _) = self[value].definition { op } else { nil }
  }
  package func operand(_ value: ValueID) -> Operand { Operand(self[value].type, fact: self[value].fact) }
  package func metadata(_ key: String) -> String? { metadata.first { $0.key == key }?.value }
  /// `name` made unique by a numeric suffix.
  package func freshName(_ name: String) -> String {
    guard takenNames.contains(name) else { return name }
    // Of many values of one name most suffixes are taken up to some point: doubling and halving finds a free one that
    // follows a taken one.
    var taken = 0, free = 1
    while takenNames.contains("\(name).\(free)") { (taken, free) = (free, 2 * free) }
    while free - taken > 1 {
      let middle = (taken + free) / 2
      if takenNames.contains("\(name).\(middle)") { taken = middle } else { free = middle }
    }
    return "\(name).\(free)"
  }

  /// The index of an operation in the order, searched for outwards from the last change.
  package func position(of op: OpID) -> Int? {
    var below = min(recentPosition, order.count) - 1, above = below + 1
    while below >= 0 || above < order.count {
      if above < order.count {
        if order[above] == op { return above }
        above += 1
      }
      if below >= 0 {
        if order[below] == op { return below }
        below -= 1
      }
    }
    return nil
  }

  // MARK: Building and changing: for the importer, the parser and the rewriter

  package mutating func setMetadata(_ key: String, _ value: String) {
    if let index = metadata.firstIndex(where: { $0.key == key }) {
      metadata[index].value = value
    } else {
      metadata.append((key, value))
    }
  }
  package mutating func removeMetadata(_ key: String) { metadata.removeAll { $0.key == key } }
  private mutating func makeValue(
    _ type: TensorType, _ definition: Definition, _ name: String, fact: [Extent]?
  ) -> ValueID {
    let unique = freshName(name.isEmpty ? "value" : name)
    takenNames.insert(unique)
    values.append(Value(type: type, definition: definition, name: unique, fact: fact))
    useLists.append([])
    return ValueID(index: values.count - 1)
  }
  package mutating func addInput(_ name: String, _ type: TensorType) -> ValueID {
    let value = makeValue(type, .input(inputs.count), name, fact: nil)
    inputs.append(value)
    return value
  }
  package mutating func addConstant(_ constant: Constant) -> ValueID {
    let isShapeLike = constant.type.shape.rank <= 1 && constant.elementCount <= Graph.maximumFactCount
    var fact =
      isShapeLike && constant.type.quantized == nil ? constant.integers?.map { Extent.known($0) } : nil
    if isShapeLike, constant.type.element == .f32, constant.elementCount <= 8 {
      // Resize scales and casts of shapes: whole floats count as integers.
      let floats = constant.floats
      if floats.allSatisfy({ $0 == $0.rounded(.towardZero) && abs($0) < 16_777_216 }) {
        fact = floats.map { .known(Int($0)) }
      }
    }
    constants.append(constant)
    let value = makeValue(
      constant.type, .constant(ConstantID(index: constants.count - 1)), constant.name, fact: fact)
    constants[constants.count - 1].name = self[value].name
    return value
  }
  package mutating func addOutput(_ value: ValueID) { outputs.append(value) }
  package mutating func replaceOutput(_ index: Int, with value: ValueID) { outputs[index] = value }

  /// Adds an operation at the end. Result names default to the node's.
  /// - Throws: what the operation finds wrong with its operands.
  @discardableResult
  package mutating func append(
    _ op: Op, _ operands: [ValueID], name: String, resultNames: [String] = []
  ) throws(VerificationError) -> OpID {
    try insert(op, operands, name: name, resultNames: resultNames, at: order.count)
  }
  @discardableResult
  package mutating func insert(
    _ op: Op, _ operands: [ValueID], name: String, resultNames: [String] = [], at position: Int
  ) throws(VerificationError) -> OpID {
    let seen = operands.map { operand($0) }
    let types = try Graph.resultTypes(of: op, seen)
    let facts = op.operation.resultFacts(of: seen)
    let id = OpID(index: nodes.count)
    nodes.append(Node(op: op, operands: operands, results: [], name: name))
    for (index, value) in operands.enumerated() {
      useLists[value.index].append(Use(user: id, operand: index))
    }
    var results: [ValueID] = []
    for (index, type) in types.enumerated() {
      let resultName =
        index < resultNames.count ? resultNames[index] : types.count == 1 ? name : "\(name).\(index)"
      results.append(makeValue(type, .result(id, index), resultName, fact: Graph.kept(facts, index)))
    }
    nodes[id.index]?.results = results
    order.insert(id, at: position)
    recentPosition = position
    return id
  }
  /// What the operation infers, when sizes stay far from overflow.
  private static func resultTypes(of op: Op, _ operands: [Operand]) throws(VerificationError) -> [TensorType]
  {
    let types = try op.operation.resultTypes(of: operands)
    for type in types where !type.isRepresentable {
      throw VerificationError(
        "\(op.mnemonic): the result \(type) is too large, has a negative extent or too many axes")
    }
    return types
  }
  /// The fact of result `index`, unless it is too long.
  private static func kept(_ facts: [[Extent]?], _ index: Int) -> [Extent]? {
    guard index < facts.count, let fact = facts[index], fact.count <= maximumFactCount else { return nil }
    return fact
  }
  package mutating func replaceUses(of old: ValueID, with new: ValueID, except: OpID? = nil) {
    for use in useLists[old.index] where use.user != except {
      nodes[use.user.index]?.operands[use.operand] = new
      useLists[new.index].append(use)
    }
    useLists[old.index].removeAll { $0.user != except }
    for index in outputs.indices where outputs[index] == old { outputs[index] = new }
  }
  package mutating func setOperand(_ op: OpID, _ index: Int, to value: ValueID) {
    let old = self[op].operands[index]
    useLists[old.index].removeAll { $0 == Use(user: op, operand: index) }
    nodes[op.index]?.operands[index] = value
    useLists[value.index].append(Use(user: op, operand: index))
  }
  /// - Requires: no result is used.
  package mutating func erase(_ op: OpID) {
    let node = self[op]
    precondition(
      node.results.allSatisfy { uses(of: $0).isEmpty && !isOutput($0) },
      "erasing \(node.name), which is still used")
    for (index, value) in node.operands.enumerated() {
      useLists[value.index].removeAll { $0 == Use(user: op, operand: index) }
    }
    for result in node.results { takenNames.remove(self[result].name) }
    if let position = position(of: op) {
      order.remove(at: position)
      recentPosition = position
    }
    nodes[op.index] = nil
  }
  /// Gives a result the name of a value that it replaces.
  package mutating func rename(_ value: ValueID, _ name: String) {
    takenNames.remove(values[value.index].name)
    let unique = freshName(name)
    takenNames.insert(unique)
    values[value.index].name = unique
    if case .constant(let id) = values[value.index].definition { constants[id.index].name = unique }
  }
  package mutating func setLayout(_ value: ValueID, _ layout: Layout) {
    values[value.index].type.layout = layout
  }
  package mutating func setStatistics(_ value: ValueID, _ statistics: ChannelStatistics?) {
    values[value.index].statistics = statistics
  }
  package mutating func setPlacement(_ value: ValueID, _ placement: Placement?) {
    values[value.index].placement = placement
  }
  /// Replaces the input's shape; results are stale until `inferTypes`.
  package mutating func setInputType(_ value: ValueID, _ type: TensorType) { values[value.index].type = type }

  /// Infers every result type and fact again, in order (layouts are kept).
  package mutating func inferTypes() throws(VerificationError) {
    for id in order {
      let node = self[id], seen = node.operands.map { operand($0) }
      let types = try Graph.resultTypes(of: node.op, seen)
      let facts = node.op.operation.resultFacts(of: seen)
      for (index, result) in node.results.enumerated() {
        let layout = values[result.index].type.layout
        values[result.index].type = types[index]
        values[result.index].type.layout = layout
        values[result.index].fact = Graph.kept(facts, index)
      }
    }
  }

  /// The constants that some operation or output still reads, in order of their first use by value id.
  package var usedConstants: [ValueID] {
    values.indices.map { ValueID(index: $0) }.filter {
      if case .constant = self[$0].definition { !uses(of: $0).isEmpty || isOutput($0) } else { false }
    }
  }
}

extension Graph {
  /// Whether nothing was touched between the two: a quick comparison of ids, names and storage, not of contents. An
  /// undone change still counts as one.
  package func isIdentical(to other: Graph) -> Bool {
    name == other.name && stage == other.stage && order == other.order && inputs == other.inputs
      && outputs == other.outputs
      && metadata.elementsEqual(other.metadata, by: ==)
      && order.allSatisfy { nodes[$0.index] == other.nodes[$0.index] }
      && values.count == other.values.count && zip(values, other.values).allSatisfy { $0 == $1 }
      && constants.elementsEqual(other.constants) { $0.storage === $1.storage }
  }
}
