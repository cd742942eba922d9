import IR
import Support

package struct ImportOptions: Sendable {
  package var check = OnnxCheck.auto
  /// Shapes for inputs by name, in place of those in the file: `[N, 3, 224, 224]`.
  package var inputShapes: [String: Shape] = [:]
  /// Reads a model for batches of one as one for any batch, where its operations allow that.
  package var generalizesBatch = true
  package init() {}
}

package struct ImportedModel: Sendable {
  package var graph: Graph
  package var warnings: [Diagnostic]
}

/// Reads an ONNX file into a graph of stage `imported`.
/// - Throws: every fault of the model at once; `malformedInput` when it is no well-formed ONNX file.
package func importModel(
  path: String, options: ImportOptions = ImportOptions()
) throws(CompilerError) -> ImportedModel {
  let file = try MappedFile(path: path)
  let directory = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  return try withExtendedLifetime(file) { () throws(CompilerError) in
    try importModel(bytes: file.bytes, location: path, directory: directory, options: options)
  }
}

/// As above, from bytes in memory. `location` names them in messages, `directory` is where external data may lie.
package func importModel(
  bytes: UnsafeRawBufferPointer, location: String, directory: String?,
  options: ImportOptions = ImportOptions()
) throws(CompilerError) -> ImportedModel {
  let model = try OnnxReader.model(bytes, location: location, directory: directory)
  let opset = try operatorSet(of: model, location)
  var warnings = OnnxAdviser.opinions(on: model, bytes, mode: options.check, location: location)

  let nodes = try flattenedNodes(of: model, location)
  func graph(generalizingBatch: Bool) throws(CompilerError) -> Graph {
    var walk = GraphImport(
      model: model, nodes: nodes, opset: opset, inputShapes: options.inputShapes,
      generalizesBatch: generalizingBatch,
      location: location)
    return try walk.run()
  }
  if options.generalizesBatch, options.inputShapes.isEmpty, isForBatchOfOne(model) {
    if let general = try? graph(generalizingBatch: true) {
      return ImportedModel(graph: general, warnings: warnings)
    }
    let fixed = try graph(generalizingBatch: false)
    warnings.append(
      Diagnostic(
        .note, "the model is for batches of 1 and is kept so: some operation joins the samples of a batch",
        at: location))
    return ImportedModel(graph: fixed, warnings: warnings)
  }
  return ImportedModel(graph: try graph(generalizingBatch: false), warnings: warnings)
}

/// The version of ONNX's own operators.
private func operatorSet(of model: OnnxModel, _ location: String) throws(CompilerError) -> Int {
  let supported = OnnxOperator.operatorSets
  guard let version = model.operatorSets.first(where: { $0.domain.isEmpty })?.version else {
    throw .malformed("the model declares no version of the ai.onnx operator set", at: location)
  }
  guard supported.contains(version) else {
    throw CompilerError(
      "operator set \(version) is not supported", at: location,
      notes: ["operator sets \(supported.lowerBound) to \(supported.upperBound) are; export with one of them"]
    )
  }
  return version
}

private func isForBatchOfOne(_ model: OnnxModel) -> Bool {
  let constants = Set(model.graph.initializers.map(\.name))
  let inputs = model.graph.inputs.filter { !constants.contains($0.name) }
  return !inputs.isEmpty && inputs.allSatisfy { $0.dimensions?.first == .fixed(1) }
}

/// The graph's nodes with functions inlined, sorted, and without optional results that nobody reads: exporters list
/// the masks of Dropout and the statistics of BatchNormalization without use.
func flattenedNodes(of model: OnnxModel, _ location: String) throws(CompilerError) -> [OnnxNode] {
  var nodes = topologicallySorted(try FunctionInlining.inlined(model, location: location))
  var isRead = Set(model.graph.outputs.map(\.name))
  for node in nodes { isRead.formUnion(node.inputs) }
  for index in nodes.indices {
    for output in nodes[index].outputs.indices.dropFirst()
    where !isRead.contains(nodes[index].outputs[output]) {
      nodes[index].outputs[output] = ""
    }
  }
  return nodes
}
