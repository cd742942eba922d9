import Support

/// Replaces calls of functions that the model defines itself (as PyTorch's newer exporter writes them) by the
/// functions' bodies.
struct FunctionInlining {
  /// Bodies may call other functions, but never themselves.
  private static let maximumDepth = 16
  /// A function that calls another twice, which calls a third twice, … doubles at every level.
  private static let maximumNodeCount = 1_000_000
  /// Bytes of new names; they repeat with every call.
  private static let maximumNameBytes = 1 << 28

  private struct Key: Hashable {
    let domain: String
    let name: String
  }
  private let functions: [Key: OnnxFunction]
  private let location: String
  private var result: [OnnxNode] = []
  private var calls = 0
  private var nameBytes = 0

  /// The nodes of the model's graph without calls of its functions.
  static func inlined(_ model: OnnxModel, location: String) throws(CompilerError) -> [OnnxNode] {
    guard !model.functions.isEmpty else { return model.graph.nodes }
    var inlining = FunctionInlining(model, location: location)
    for node in model.graph.nodes { try inlining.add(node, depth: 0) }
    return inlining.result
  }

  private init(_ model: OnnxModel, location: String) {
    functions = Dictionary(
      model.functions.map { (Key(domain: $0.domain, name: $0.name), $0) },
      uniquingKeysWith: { first, _ in first })
    self.location = location
  }

  private mutating func add(_ node: OnnxNode, depth: Int) throws(CompilerError) {
    guard let function = functions[Key(domain: node.domain, name: node.operatorName)] else {
      guard result.count < Self.maximumNodeCount else {
        throw .malformed("its functions expand to more than \(Self.maximumNodeCount) nodes", at: location)
      }
      result.append(node)
      return
    }
    guard depth < Self.maximumDepth else {
      let limit = Self.maximumDepth
      throw .malformed("function '\(function.name)' calls itself or nests deeper than \(limit)", at: location)
    }
    // Calls that add no nodes count too.
    calls += 1
    guard calls <= Self.maximumNodeCount else {
      throw .malformed("its functions call each other more than \(Self.maximumNodeCount) times", at: location)
    }
    let prefix = "\(function.name)#\(calls)"
    var names: [String: String] = [:]
    for (index, name) in function.inputs.enumerated() {
      names[name] = index < node.inputs.count ? node.inputs[index] : ""
    }
    for (name, outer) in zip(function.outputs, node.outputs) where !outer.isEmpty { names[name] = outer }
    func renamed(_ name: String) -> String {
      if name.isEmpty { return "" }
      let result = names[name] ?? "\(prefix)/\(name)"
      nameBytes += result.utf8.count
      return result
    }
    for inner in function.nodes {
      var copy = inner
      copy.name = "\(prefix)/\(inner.name.isEmpty ? inner.operatorName : inner.name)"
      copy.inputs = inner.inputs.map(renamed)
      copy.outputs = inner.outputs.map(renamed)
      copy.attributes = inner.attributes.compactMap { attribute in
        guard case .reference(let outer) = attribute.value else { return attribute }
        // An attribute that the call leaves out is left out inside, too.
        return node.attributes.first { $0.name == outer }.map {
          OnnxAttribute(name: attribute.name, value: $0.value)
        }
      }
      guard nameBytes <= Self.maximumNameBytes else {
        throw .malformed("its functions expand to too much text", at: location)
      }
      try add(copy, depth: depth + 1)
    }
  }
}
