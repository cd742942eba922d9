import IR
import Support

/// One walk over an ONNX graph that builds the graph of operations. Faults are collected: a node that fails leaves
/// its results unknown, and nodes that read them are passed over in silence.
struct GraphImport {
  let model: OnnxModel
  /// Without functions, in order, and without results that nobody reads beyond each node's first.
  private let nodes: [OnnxNode]
  let location: String
  /// Shapes that the user gave for inputs.
  let inputShapes: [String: Shape]
  private let builder: GraphBuilder
  private let opset: Int
  private var values: [String: ValueID] = [:]
  private var initializers: [String: OnnxTensor] = [:]
  private var broken: Set<String> = []
  private var errors: [Diagnostic] = []
  private var isMalformed = false

  /// - Parameter generalizesBatch: whether inputs whose first extent is 1 become batched.
  init(
    model: OnnxModel, nodes: [OnnxNode], opset: Int, inputShapes: [String: Shape], generalizesBatch: Bool,
    location: String
  ) {
    self.model = model
    self.nodes = nodes
    self.opset = opset
    self.inputShapes = inputShapes
    self.location = location
    builder = GraphBuilder(
      graph: Graph(name: model.graph.name.isEmpty ? "main" : model.graph.name),
      generalizesBatch: generalizesBatch)
  }

  /// - Throws: all faults of the model at once.
  mutating func run() throws(CompilerError) -> Graph {
    for tensor in model.graph.initializers { initializers[tensor.name] = tensor }
    builder.setMetadata("opset", "\(opset)")
    if !model.producer.isEmpty { builder.setMetadata("producer", model.producer) }
    if model.graph.sparseInitializerCount > 0 {
      errors.append(.error("sparse initializers are not supported", at: location))
    }
    errors += unsupportedOperators()
    addInputs()
    for node in nodes { add(node) }
    addOutputs()
    if !errors.isEmpty { throw CompilerError(errors, status: isMalformed ? .malformedInput : .rejected) }
    return builder.graph
  }

  // MARK: - Operators

  /// One message per operator that has no importer, in order of first occurrence.
  private func unsupportedOperators() -> [Diagnostic] {
    struct Kind: Hashable { let domain: String, name: String }
    var order: [Kind] = [], counts: [Kind: Int] = [:], first: [Kind: String] = [:]
    for node in nodes where importer(of: node) == nil {
      let kind = Kind(domain: node.domain, name: node.operatorName)
      if counts[kind] == nil {
        order.append(kind)
        first[kind] = OnnxCall(node: node, opset: opset, inputs: []).name
      }
      counts[kind, default: 0] += 1
    }
    return order.map { kind in
      let count = counts[kind] ?? 0, domain = kind.domain.isEmpty ? "ai.onnx" : kind.domain
      let version = model.operatorSets.first { $0.domain == kind.domain }.map { " \($0.version)" } ?? ""
      return .error(
        "operator '\(kind.name)' of \(domain)\(version) is not supported: \(count) node\(count == 1 ? "" : "s"), the first is '\(first[kind] ?? "")'",
        at: location, notes: [hint(domain: kind.domain, name: kind.name)])
    }
  }

  private func hint(domain: String, name: String) -> String {
    if let known = OnnxOperator.byName[name], domain.isEmpty, let since = known.sinceVersions.first,
      since > opset
    {
      return "operator set \(since) introduced it, the model declares \(opset)"
    }
    switch name {
    case "If", "Loop", "Scan":
      return "control flow is not supported; export with it resolved (fixed options, unrolled)"
    case "LSTM", "GRU", "RNN": return "recurrent layers are not supported"
    case "QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger",
      "DynamicQuantizeLinear":
      return "the model is already quantized; start from the float model"
    default: break
    }
    return domain.isEmpty
      ? "'qcc ops' lists the operators that are supported"
      : "only operators of ai.onnx are supported; export without fused or custom operators"
  }

  private func importer(of node: OnnxNode) -> OnnxOperator? {
    guard node.domain.isEmpty, let found = OnnxOperator.byName[node.operatorName],
      let since = found.sinceVersions.first, since <= opset
    else { return nil }
    return found
  }

  // MARK: - Inputs and outputs

  /// Initializers listed as inputs are constants. The first axis of an input without a fixed size is the batch, and
  /// so is every axis that bears its name.
  private mutating func addInputs() {
    let inputs = model.graph.inputs.filter { initializers[$0.name] == nil }
    let batchNames = Set(
      inputs.compactMap { input -> String? in
        if case .symbol(let name)? = input.dimensions?.first, !name.isEmpty, name != "?" { name } else { nil }
      })
    for input in inputs {
      guard values[input.name] == nil else {
        malformed("input '\(input.name)' is declared twice")
        continue
      }
      broken.insert(input.name)
      let place = "\(location): input '\(input.name)'"
      guard let element = input.type?.element else {
        let type = input.type.map { "type \($0.name)" } ?? "its type"
        errors.append(.error("\(type) is not supported", at: place))
        continue
      }
      guard let shape = shape(of: input, batchNames) else {
        errors.append(openShape(input, at: place))
        continue
      }
      do throws(ImportFailure) {
        values[input.name] = try builder.addInput(input.name, TensorType(shape, element))
        broken.remove(input.name)
      } catch {
        errors.append(.error(error.message, at: place))
      }
    }
    for name in inputShapes.keys.sorted() where !inputs.contains(where: { $0.name == name }) {
      let known = inputs.map(\.name).joined(separator: ", ")
      errors.append(
        .error(
          "there is no input '\(name)' to give a shape to", at: location, notes: ["inputs are: \(known)"]))
    }
  }

  private func shape(of input: OnnxValueInfo, _ batchNames: Set<String>) -> Shape? {
    if let given = inputShapes[input.name] { return given }
    guard let dimensions = input.dimensions else { return nil }
    var extents: [Extent] = []
    for (axis, dimension) in dimensions.enumerated() {
      switch dimension {
      case .fixed(let size):
        extents.append(axis == 0 && size == 1 && builder.generalizesBatch ? .batch : .known(size))
      case .symbol(let name) where axis == 0 || batchNames.contains(name): extents.append(.batch)
      case .unknown where axis == 0: extents.append(.batch)
      case .symbol, .unknown: return nil
      }
    }
    return Shape(extents)
  }

  /// Names the open axes and shows how to close them.
  private func openShape(_ input: OnnxValueInfo, at place: String) -> Diagnostic {
    guard let dimensions = input.dimensions else {
      return .error(
        "its shape is unknown", at: place,
        notes: ["give it, for example --input-shape '\(input.name)=[N, 3, 224, 224]'"])
    }
    var declared: [String] = [], example: [String] = []
    for (axis, dimension) in dimensions.enumerated() {
      switch dimension {
      case .fixed(let size):
        declared.append("\(size)")
        example.append("\(size)")
      case .symbol(let name):
        declared.append(name.isEmpty ? "?" : name)
        example.append(axis == 0 ? "N" : "224")
      case .unknown:
        declared.append("?")
        example.append(axis == 0 ? "N" : "224")
      }
    }
    return .error(
      "shape [\(declared.joined(separator: ", "))] is open beyond the batch", at: place,
      notes: ["fix it, for example --input-shape '\(input.name)=[\(example.joined(separator: ", "))]'"])
  }

  private mutating func addOutputs() {
    if model.graph.outputs.isEmpty { malformed("the graph has no outputs") }
    for output in model.graph.outputs {
      guard !broken.contains(output.name) else { continue }
      guard let value = value(named: output.name) else {
        if !broken.contains(output.name) { malformed("output '\(output.name)' is made by no node") }
        continue
      }
      if builder.generalizesBatch, builder.shape(value).extents.first != .batch {
        errors.append(.error("output '\(output.name)' has no batch", at: location))
      }
      builder.addOutput(value)
    }
  }

  // MARK: - Nodes

  /// A value made before, or the initializer of that name, which becomes a constant on first use.
  private mutating func value(named name: String) -> ValueID? {
    if let known = values[name] { return known }
    guard let tensor = initializers[name] else { return nil }
    guard let constant = tensor.constant(named: name) else {
      errors.append(
        .error("initializer '\(name)' of type \(tensor.type.name) is not supported", at: location))
      broken.insert(name)
      return nil
    }
    do throws(ImportFailure) {
      let value = try builder.addConstant(constant)
      values[name] = value
      return value
    } catch {
      errors.append(.error("initializer '\(name)': \(error.message)", at: location))
      broken.insert(name)
      return nil
    }
  }

  private mutating func add(_ node: OnnxNode) {
    let results = node.outputs.filter { !$0.isEmpty }
    for name in results where values[name] != nil || initializers[name] != nil {
      malformed("'\(name)' is made twice, the second time by node '\(node.name)' (\(node.operatorName))")
      return
    }
    var inputs: [ValueID?] = [], isBroken = false
    for name in node.inputs {
      if name.isEmpty {
        inputs.append(nil)
      } else if let value = value(named: name) {
        inputs.append(value)
      } else {
        if !broken.contains(name) {
          malformed("node '\(node.name)' (\(node.operatorName)) reads '\(name)', which no earlier node makes")
        }
        isBroken = true
      }
    }
    guard !isBroken, let found = importer(of: node) else {
      broken.formUnion(results)
      return
    }
    let call = OnnxCall(node: node, opset: opset, inputs: inputs)
    let place = "\(location): node '\(call.name)' (\(node.operatorName))"
    do throws(ImportFailure) {
      let made = try builder.importing(call, found.importer)
      let unread = call.unreadAttributes
      guard unread.isEmpty else {
        let list = unread.map { "'\($0)'" }.joined(separator: ", ")
        throw ImportFailure("attribute \(list) is unknown in operator set \(opset)")
      }
      guard made.count >= call.outputCount else {
        throw ImportFailure("its output \(made.count + 1) is not supported")
      }
      for (name, value) in zip(node.outputs, made) where !name.isEmpty { values[name] = value }
    } catch {
      errors.append(.error(error.message, at: place, notes: error.hint.map { [$0] } ?? []))
      broken.formUnion(results)
    }
  }

  private mutating func malformed(_ message: String) {
    errors.append(.error(message, at: location))
    isMalformed = true
  }
}
