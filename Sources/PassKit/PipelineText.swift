import IR
import Support

/// One pass of a pipeline with the options its text gives.
package struct PipelineStep: Sendable {
  package var pass: Pass
  package var options: [(name: String, text: String)]

  package init(_ pass: Pass, options: [(name: String, text: String)] = []) {
    self.pass = pass
    self.options = options
  }
  /// The text that parses to this step.
  package var text: String {
    options.isEmpty ? pass.name : "\(pass.name){\(options.map { "\($0.name) = \($0.text)" }.joined(separator: ", "))}"
  }
}

/// A list of passes as text: `fold-batch-norm, insert-quantizers{target = arm-int4}, assign`. Lines that start with `#` are
/// comments.
package struct Pipeline: Sendable {
  package var steps: [PipelineStep]

  package init(_ steps: [PipelineStep]) { self.steps = steps }

  /// - Throws: with every unknown pass and every malformed part.
  package init(text: String, passes: [Pass]) throws(CompilerError) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.drop { $0 == " " }.hasPrefix("#") }
    steps = []
    var problems: [Diagnostic] = []
    for part in splitOutsideBrackets(lines.joined(separator: "\n")) where !part.isEmpty {
      switch Pipeline.step(part, passes) {
      case .success(let step): steps.append(step)
      case .failure(let problem): problems.append(.error(problem.description, at: "pass pipeline"))
      }
    }
    if steps.isEmpty && problems.isEmpty { problems.append(.error("the pipeline is empty", at: "pass pipeline")) }
    if !problems.isEmpty { throw CompilerError(problems, status: .usage) }
  }

  private static func step(_ text: String, _ passes: [Pass]) -> Result<PipelineStep, AttributeError> {
    var name = Substring(text), options: [(name: String, text: String)] = []
    if let open = text.firstIndex(of: "{") {
      guard text.hasSuffix("}") else { return .failure(AttributeError("'\(text)' lacks its closing brace")) }
      name = text[..<open]
      for part in splitOutsideBrackets(String(text[text.index(after: open)...].dropLast())) where !part.isEmpty {
        guard let equals = part.firstIndex(of: "=") else {
          return .failure(AttributeError("option '\(part)' of '\(trim(name))' is not of the form name = value"))
        }
        options.append((trim(part[..<equals]), trim(part[part.index(after: equals)...])))
      }
    }
    guard let pass = passes.first(where: { $0.name == trim(name) }) else {
      let near = passes.map(\.name).min { distance($0, trim(name)) < distance($1, trim(name)) } ?? ""
      return .failure(AttributeError("there is no pass '\(trim(name))'; did you mean '\(near)'? 'qcc passes' lists them"))
    }
    return .success(PipelineStep(pass, options: options))
  }

  private static func trim(_ text: Substring) -> String {
    var text = text
    while let first = text.first, first == " " || first == "\n" { text.removeFirst() }
    while let last = text.last, last == " " || last == "\n" { text.removeLast() }
    return String(text)
  }

  package var text: String { steps.map(\.text).joined(separator: ", ") }
}

/// The Levenshtein distance: for suggestions.
private func distance(_ a: String, _ b: String) -> Int {
  let a = Array(a.utf8), b = Array(b.utf8.prefix(200))
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
