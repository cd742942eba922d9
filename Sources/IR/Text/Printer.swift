import CXXHash

/// Where the contents of large constants go when a graph becomes text.
package enum WeightText: Sendable {
  /// Into a file beside the text; the text holds their hash. Also right for dumps: hashes show what changed.
  case hashed
  /// Into the text, as base64: for pipes.
  case embedded
  /// Nowhere: a comment sums them up.
  case elided
  /// As `hashed`, but contents that `seededContents` would make again need no hash.
  case seeded
}

extension Graph {
  /// The version that the first line, `qir 1`, states.
  package static let textVersion = 1
  /// Constants of up to this many elements print their values.
  package static let maximumInlineCount = 16

  /// The text form. Constants stand before the first operation that reads them; unused ones are left out.
  /// Law: `print(parse(print(g))) == print(g)`.
  package func text(_ weights: WeightText = .hashed) -> String {
    var printer = Printer(graph: self, weights: weights)
    printer.print()
    return printer.text
  }
  /// The constants whose contents the text form leaves out.
  package var outOfLineConstants: [Constant] {
    usedConstants.compactMap { constant($0) }.filter { !$0.isInline }
  }
}

private struct Printer {
  let graph: Graph
  let weights: WeightText
  var text = "qir \(Graph.textVersion)\n"
  var printedConstants: Set<ValueID> = []

  init(graph: Graph, weights: WeightText) {
    self.graph = graph
    self.weights = weights
  }

  mutating func print() {
    text += "graph @\(nameText(graph.name)) stage \(graph.stage.text)"
    if !graph.metadata.isEmpty {
      text += " {" + graph.metadata.map { "\($0.key.text) = \($0.value.text)" }.joined(separator: ", ") + "}"
    }
    let inputs = graph.inputs.map { "\(name($0)): \(type($0))" }
    text += " (" + inputs.joined(separator: ", ") + ") {\n"
    for op in graph.order {
      let node = graph[op]
      printConstants(node.operands)
      printOperation(node)
    }
    printConstants(graph.outputs)
    text +=
      "  return" + (graph.outputs.isEmpty ? "" : " ") + graph.outputs.map(name).joined(separator: ", ")
      + "\n}\n"
  }

  private func name(_ value: ValueID) -> String { "%" + nameText(graph[value].name) }
  private func type(_ value: ValueID) -> String {
    "\(graph[value].type)" + (graph[value].placement.map { " \($0)" } ?? "")
      + (graph[value].statistics.map { " stats(mean = \($0.means.text), deviation = \($0.deviations.text))" }
        ?? "")
  }
  private mutating func printOperation(_ node: Graph.Node) {
    text += "  " + node.results.map(name).joined(separator: ", ") + " = \(node.op.mnemonic)("
    text += node.operands.map(name).joined(separator: ", ") + ")"
    let attributes = node.op.operation.attributeText
    if !attributes.isEmpty { text += " {\(attributes)}" }
    text += " : " + node.results.map(type).joined(separator: ", ")
    if node.name != graph[node.results[0]].name { text += " loc \(node.name.quotedText)" }
    text += "\n"
  }
  private mutating func printConstants(_ values: [ValueID]) {
    for value in values where !printedConstants.contains(value) {
      guard let constant = graph.constant(value) else { continue }
      printedConstants.insert(value)
      text += "  \(name(value)) = constant \(contents(constant)) : \(type(value))"
      if !constant.isInline, case .elided = weights { text += "  // \(constant.summary)" }
      text += "\n"
    }
  }
  private func contents(_ constant: Constant) -> String {
    if let values = constant.inlineText { return "dense [\(values)]" }
    let reference = "@\(nameText(constant.name))"
    let hashed = "\(reference) xxh3 \"\(hexadecimal(constant.storage.hash))\""
    switch weights {
    case .hashed: return hashed
    case .embedded: return "base64 \"\(Base64.encode(constant.storage.bytes))\""
    case .elided: return reference
    case .seeded:
      let seeded = seededContents(constant.name, constant.type)
      return seeded.map { $0.bytes.elementsEqual(constant.storage.bytes) } == true ? reference : hashed
    }
  }
}

/// A name behind a sigil: quoted unless it is a plain word that the scanner reads whole.
private func nameText(_ name: String) -> String {
  name.isPlainWord && name.utf8.last != UInt8(ascii: ":") ? name : name.quotedText
}

func hexadecimal(_ hash: UInt64) -> String {
  let digits = String(hash, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}

extension TensorStorage {
  /// XXH3-64 of the bytes.
  package var hash: UInt64 { withExtendedLifetime(self) { qcc_xxh3_64(bytes.baseAddress, bytes.count) } }
}

extension Constant {
  var isInline: Bool { inlineText != nil }

  /// The elements as text when there are few and their text reads back exactly (not for signalling or odd NaNs).
  fileprivate var inlineText: String? {
    guard elementCount <= Graph.maximumInlineCount else { return nil }
    guard type.element == .f32 else { return (integers ?? []).map(\.description).joined(separator: ", ") }
    let values = floats
    guard values.allSatisfy({ !$0.isNaN || $0.bitPattern == Float.nan.bitPattern }) else { return nil }
    return values.map(\.description).joined(separator: ", ")
  }
  /// Number, range and hash of the elements.
  fileprivate var summary: String {
    var result = "\(elementCount) elements"
    if type.element == .f32 {
      let values = floats
      if let low = values.min(), let high = values.max() { result += " in \(low) ... \(high)" }
    } else if let values = integers, let low = values.min(), let high = values.max() {
      result += " in \(low) ... \(high)"
    }
    return result + ", xxh3 \(hexadecimal(storage.hash))"
  }
}

extension Graph.Placement: CustomStringConvertible {
  package var description: String { "at \(offset)" + (pixelStride.map { " stride \($0)" } ?? "") }
}
