import IR

/// What the pass manager checks and shows while it runs.
package struct Instrumentation: Sendable {
  /// Passes before or after which the graph is printed.
  package var printBefore: [String] = []
  package var printAfter: [String] = []
  package var printBeforeAll = false
  package var printAfterAll = false
  /// Prints after passes that changed the graph.
  package var printAfterChange = false
  /// Prints the graph that a failing pass was given, and the one it left if that breaks a rule.
  package var printAfterFailure = false
  /// Prints what each pass changed, line by line, instead of whole graphs.
  package var printDiff = false
  /// Numbered files of the graph after every pass go here: `00-input.qir`, `01-fold-constants.qir` …
  package var irDirectory: String?
  /// How large constants appear in what is printed.
  package var weights = WeightText.hashed
  /// Checks the rules of the graph's stage after every pass.
  package var verifiesEach = true
  /// Rewrites that passes may do in all; bisecting this number finds the one that breaks a model.
  package var maximumSteps = Int.max
  package var reproducer = Reproducer.onDefect("qcc-reproducer.qir")
  /// Where printed graphs go.
  package var print: @Sendable (String) -> Void

  package enum Reproducer: Hashable, Sendable {
    case never
    /// Written when qcc itself is at fault.
    case onDefect(String)
    /// Written before every pass and removed behind the last, so that it survives even a crash.
    case always(String)

    var path: String? {
      switch self {
      case .never: nil
      case .onDefect(let path), .always(let path): path
      }
    }
  }

  package init(print: @escaping @Sendable (String) -> Void = { _ in }) { self.print = print }

  /// The names in `printBefore` and `printAfter` that `pipeline` does not run.
  func unknownNames(in pipeline: Pipeline) -> [String] {
    let names = pipeline.passNames
    return (printBefore + printAfter).filter { !names.contains($0) }
  }
}

/// The lines that differ between two texts, marked `-` and `+`, with up to three equal lines around them.
package func lineDifference(_ old: String, _ new: String) -> String {
  let old = old.split(separator: "\n"), new = new.split(separator: "\n")
  var removed = Set<Int>(), inserted = Set<Int>()
  for change in new.difference(from: old) {
    switch change {
    case .remove(let offset, _, _): removed.insert(offset)
    case .insert(let offset, _, _): inserted.insert(offset)
    }
  }
  var lines: [(mark: Character, text: Substring)] = [], i = 0, j = 0
  while i < old.count || j < new.count {
    if i < old.count, removed.contains(i) {
      lines.append(("-", old[i]))
      i += 1
    } else if j < new.count, inserted.contains(j) {
      lines.append(("+", new[j]))
      j += 1
    } else {
      lines.append((" ", new[j]))
      i += 1
      j += 1
    }
  }
  let context = 3
  let changes = lines.indices.filter { lines[$0].mark != " " }
  var shown = Set<Int>()
  for index in changes { shown.formUnion(max(index - context, 0)...min(index + context, lines.count - 1)) }
  var result = "", last = -1
  for index in shown.sorted() {
    if index != last + 1 { result += "  …\n" }
    result += "\(lines[index].mark) \(lines[index].text)\n"
    last = index
  }
  return result
}
