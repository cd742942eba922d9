import IR
import Support

/// A sequence of passes with their options, read from text:
///
///     fold-constants, canonicalize,              # comments run to the end of the line
///     insert-quantizers{target = arm-int4},      # options; `k=v` works as well
///     repeat(canonicalize, fold-batch-norm),     # until nothing changes, at most 16 times
///     default                                    # the name of another pipeline
package struct Pipeline: Sendable {
  package indirect enum Element: Sendable {
    case pass(Pass, options: [(name: String, text: String)])
    case repeated([Element])
  }
  package var elements: [Element]

  package init(_ elements: [Element]) { self.elements = elements }

  /// Reads a pipeline.
  /// - Parameters:
  ///   - passes: what names may stand for.
  ///   - named: other pipelines by name.
  /// - Throws: `usage` with every unknown name and malformed option.
  package init(
    text: String, passes: [Pass], named: [(name: String, text: String)] = []
  ) throws(CompilerError) {
    var reader = PipelineReader(passes: passes, named: named)
    elements = reader.elements(text, depth: 0)
    if elements.isEmpty, reader.problems.isEmpty { reader.report("the pipeline is empty") }
    if !reader.problems.isEmpty { throw CompilerError(reader.problems, status: .usage) }
  }

  /// Reads back as the same pipeline.
  package var text: String { elements.map(\.text).joined(separator: ", ") }

  /// The names of the passes in order, repeated ones once.
  package var passNames: [String] { elements.flatMap(\.passNames) }
}

extension Pipeline.Element {
  package var text: String {
    switch self {
    case .pass(let pass, let options):
      options.isEmpty
        ? pass.name
        : pass.name + "{" + options.map { "\($0.name) = \($0.text)" }.joined(separator: ", ") + "}"
    case .repeated(let elements): "repeat(" + elements.map(\.text).joined(separator: ", ") + ")"
    }
  }
  fileprivate var passNames: [String] {
    switch self {
    case .pass(let pass, _): [pass.name]
    case .repeated(let elements): elements.flatMap(\.passNames)
    }
  }
}

private struct PipelineReader {
  let passes: [Pass]
  let named: [(name: String, text: String)]
  var problems: [Diagnostic] = []
  /// Named pipelines and `repeat` may nest this deep; also stops a pipeline that names itself.
  private static let maximumDepth = 16

  init(passes: [Pass], named: [(name: String, text: String)]) {
    self.passes = passes
    self.named = named
  }

  mutating func report(_ message: String) { problems.append(.error(message, at: "pipeline")) }

  mutating func elements(_ text: String, depth: Int) -> [Pipeline.Element] {
    guard depth <= PipelineReader.maximumDepth else {
      report("pipelines nest deeper than \(PipelineReader.maximumDepth)")
      return []
    }
    return splitOutsideBrackets(withoutComments(text)).filter { !$0.isEmpty }.flatMap {
      element($0, depth: depth)
    }
  }

  private mutating func element(_ text: String, depth: Int) -> [Pipeline.Element] {
    let end = text.firstIndex { !$0.isASCII || !isWordByte($0.asciiValue ?? 0) } ?? text.endIndex
    let name = String(text[..<end]), rest = text[end...].drop { $0.isWhitespace }
    if name == "repeat", rest.first == "(", rest.last == ")" {
      return [.repeated(elements(String(rest.dropFirst().dropLast()), depth: depth + 1))]
    }
    guard rest.isEmpty || (rest.first == "{" && rest.last == "}") else {
      report("expected 'pass', 'pass{option = value}' or 'repeat(passes)', found '\(text)'")
      return []
    }
    if let pass = passes.first(where: { $0.name == name }) {
      let options = options(String(rest.dropFirst().dropLast()), of: name)
      do throws(CompilerError) { try pass.checkOptions(options) } catch { problems += error.diagnostics }
      return [.pass(pass, options: options)]
    }
    guard let pipeline = named.first(where: { $0.name == name }) else {
      let nearest = (passes.map(\.name) + named.map(\.name)).min {
        editDistance($0, name) < editDistance($1, name)
      }
      report(
        "there is no pass '\(name)'\(nearest.map { "; did you mean '\($0)'?" } ?? ";") 'qcc passes' lists them"
      )
      return []
    }
    if !rest.isEmpty { report("pipeline '\(name)' has no options") }
    return elements(pipeline.text, depth: depth + 1)
  }

  private mutating func options(_ text: String, of pass: String) -> [(name: String, text: String)] {
    var result: [(name: String, text: String)] = []
    for part in splitOutsideBrackets(text) where !part.isEmpty {
      guard let equals = part.firstIndex(of: "=") else {
        report("pass '\(pass)': expected 'option = value', found '\(part)'")
        continue
      }
      let name = part[..<equals].trimmed, value = part[part.index(after: equals)...].trimmed
      if !value.isEmpty { result.append((name, value)) }
    }
    return result
  }

  private func withoutComments(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      var isQuoted = false
      let comment = line.firstIndex { character in
        if character == "\"" { isQuoted.toggle() }
        return character == "#" && !isQuoted
      }
      return String(line[..<(comment ?? line.endIndex)])
    }.joined(separator: "\n")
  }
}

extension Substring {
  fileprivate var trimmed: String {
    var view = self
    while view.first?.isWhitespace == true { view.removeFirst() }
    while view.last?.isWhitespace == true { view.removeLast() }
    return String(view)
  }
}

/// The Levenshtein distance: for suggestions.
private func editDistance(_ a: String, _ b: String) -> Int {
  let a = Array(a.utf8), b = Array(b.utf8.prefix(100))
  var row = Array(0...b.count)
  for i in a.indices {
    var diagonal = row[0]
    row[0] = i + 1
    for j in b.indices {
      let next = min(row[j] + 1, row[j + 1] + 1, diagonal + (a[i] == b[j] ? 0 : 1))
      diagonal = row[j + 1]
      row[j + 1] = next
    }
  }
  return row[b.count]
}
