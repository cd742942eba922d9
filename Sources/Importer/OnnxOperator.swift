import IR

/// One operator of ONNX as qcc imports it. The table of these drives the import, the report of unsupported
/// operators and `qcc ops`.
package struct OnnxOperator: Sendable {
  package let name: String
  /// The operator sets in which the operator's meaning or form changed, as far as they are handled, in order. The
  /// first is 1 where the operator has not changed since before the oldest operator set that is read.
  package let sinceVersions: [Int]
  /// What it becomes, or the limits of its support.
  package let summary: String
  let importer: @Sendable (GraphBuilder, OnnxCall) throws(ImportFailure) -> [ValueID]

  init(
    _ name: String, _ sinceVersions: [Int], _ summary: String,
    _ importer: @escaping @Sendable (GraphBuilder, OnnxCall) throws(ImportFailure) -> [ValueID]
  ) {
    self.name = name
    self.sinceVersions = sinceVersions
    self.summary = summary
    self.importer = importer
  }

  /// The operator sets of ONNX's own domain whose semantics are implemented: to the newest of ONNX 1.23.
  package static let operatorSets = 7...28

  /// All operators, by name.
  package static let all: [OnnxOperator] = [
    activationOperators, constantOperators, convolutionOperators, elementwiseOperators, linearOperators,
    normalizationOperators, poolingOperators, reductionOperators, resizeOperators, shapeComputationOperators,
    shapeManipulationOperators,
  ].joined().sorted { $0.name < $1.name }

  static let byName: [String: OnnxOperator] = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
}

/// Why one node cannot be imported.
struct ImportFailure: Error {
  let message: String
  let hint: String?
  init(_ message: String, hint: String? = nil) {
    self.message = message
    self.hint = hint
  }
}
