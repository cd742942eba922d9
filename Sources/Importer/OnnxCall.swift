import IR

/// One node as an operator's importer sees it: resolved inputs and typed attributes. Notes which attributes were
/// read, so that one that nobody understands is never passed over.
final class OnnxCall {
  let node: OnnxNode
  /// The version of the operator set that gives the node its meaning.
  let opset: Int
  /// In order; nil for omitted optional ones.
  let inputs: [ValueID?]
  private var read: Set<String> = []

  init(node: OnnxNode, opset: Int, inputs: [ValueID?]) {
    self.node = node
    self.opset = opset
    self.inputs = inputs
  }

  /// The node's name, or, where exporters leave it empty, that of its first result.
  var name: String {
    !node.name.isEmpty ? node.name : node.outputs.first { !$0.isEmpty } ?? node.operatorName
  }
  /// How many outputs the node has, trailing omitted ones not counted.
  var outputCount: Int { (node.outputs.lastIndex { !$0.isEmpty } ?? -1) + 1 }

  func requireInputs(_ range: ClosedRange<Int>) throws(ImportFailure) {
    guard range.contains(inputs.count) else {
      let expected = range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
      throw ImportFailure("has \(inputs.count) inputs, operator set \(opset) defines \(expected)")
    }
  }
  /// Fails when an output beyond the first `count` is used.
  func requireOutputs(_ count: Int) throws(ImportFailure) {
    guard outputCount <= count else { throw ImportFailure("its output \(count + 1) is not supported") }
  }
  func input(_ index: Int) throws(ImportFailure) -> ValueID {
    guard index < inputs.count, let value = inputs[index] else {
      throw ImportFailure("input \(index + 1) is missing")
    }
    return value
  }
  func optionalInput(_ index: Int) -> ValueID? { index < inputs.count ? inputs[index] : nil }
  func allInputs() throws(ImportFailure) -> [ValueID] {
    var result: [ValueID] = []
    for index in inputs.indices { result.append(try input(index)) }
    return result
  }

  // MARK: - Attributes

  func attribute(_ name: String) -> OnnxAttribute.Value? {
    read.insert(name)
    return node.attributes.first { $0.name == name }?.value
  }
  func has(_ name: String) -> Bool { node.attributes.contains { $0.name == name } }
  /// Declares an attribute to be without effect here.
  func ignore(_ name: String) { read.insert(name) }
  /// Attributes that the importer did not ask for, in order. Two underscores mark a tool's private notes.
  var unreadAttributes: [String] {
    node.attributes.map(\.name).filter { !read.contains($0) && !$0.hasPrefix("__") }
  }

  func int(_ name: String, default standard: Int) throws(ImportFailure) -> Int {
    switch attribute(name) {
    case nil: return standard
    case .int(let value): return value
    default: throw ImportFailure("attribute '\(name)' is not an integer")
    }
  }
  func flag(_ name: String, default standard: Bool = false) throws(ImportFailure) -> Bool {
    try int(name, default: standard ? 1 : 0) != 0
  }
  func float(_ name: String, default standard: Float) throws(ImportFailure) -> Float {
    switch attribute(name) {
    case nil: return standard
    case .float(let value): return value
    default: throw ImportFailure("attribute '\(name)' is not a number")
    }
  }
  func string(_ name: String, default standard: String) throws(ImportFailure) -> String {
    switch attribute(name) {
    case nil: return standard
    case .string(let value): return value
    default: throw ImportFailure("attribute '\(name)' is not a text")
    }
  }
  func ints(_ name: String) throws(ImportFailure) -> [Int]? {
    switch attribute(name) {
    case nil: return nil
    case .ints(let values): return values
    default: throw ImportFailure("attribute '\(name)' is not a list of integers")
    }
  }
  func floats(_ name: String) throws(ImportFailure) -> [Float]? {
    switch attribute(name) {
    case nil: return nil
    case .floats(let values): return values
    default: throw ImportFailure("attribute '\(name)' is not a list of numbers")
    }
  }
  /// Sizes of a window: `count` entries in 0 ... 2^24, so that later arithmetic cannot overflow.
  func sizes(_ name: String, count: Int, default standard: Int, minimum: Int) throws(ImportFailure) -> [Int] {
    guard let values = try ints(name) else { return Array(repeating: standard, count: count) }
    guard values.count == count, values.allSatisfy({ (minimum...(1 << 24)).contains($0) }) else {
      throw ImportFailure("attribute '\(name)' is \(values), expected \(count) sizes of at least \(minimum)")
    }
    return values
  }
}
