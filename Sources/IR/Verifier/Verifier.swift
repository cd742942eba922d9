import Support

/// One law that graphs of some stages obey.
package struct VerificationRule: Sendable {
  package let name: String
  /// What the rule demands, for `--help` and reports.
  package let summary: String
  package let stages: ClosedRange<Stage>
  let check: @Sendable (Graph, inout Findings) -> Void

  init(
    _ name: String, _ summary: String, _ stages: ClosedRange<Stage>,
    check: @escaping @Sendable (Graph, inout Findings) -> Void
  ) {
    self.name = name
    self.summary = summary
    self.stages = stages
    self.check = check
  }
}

/// Collects what rules find, each with its rule and place.
struct Findings {
  private(set) var diagnostics: [Diagnostic] = []
  var rule = ""

  mutating func report(_ message: String, at node: Graph.Node) { report(message, at: "node '\(node.name)'") }
  mutating func report(_ message: String, at place: String = "") {
    diagnostics.append(.error("\(message) [\(rule)]", at: place))
  }
}

extension Graph {
  /// Every rule, structural ones first.
  package static let verificationRules = structuralRules + canonicalRules + quantizationRules + loweredRules

  /// Everything that breaks a rule of this graph's stage. A graph whose structure is broken is checked no further.
  package func verificationDiagnostics() -> [Diagnostic] {
    let structural = structuralDiagnostics()
    return structural.isEmpty
      ? diagnostics(of: canonicalRules + quantizationRules + loweredRules) : structural
  }
  /// What breaks the rules of every stage.
  package func structuralDiagnostics() -> [Diagnostic] { diagnostics(of: structuralRules) }

  private func diagnostics(of rules: [VerificationRule]) -> [Diagnostic] {
    var findings = Findings()
    for rule in rules where rule.stages.contains(stage) {
      findings.rule = rule.name
      rule.check(self, &findings)
    }
    return findings.diagnostics
  }

  /// - Throws: the violations, many of them cut short.
  package func verify(status: ExitStatus = .rejected) throws(CompilerError) {
    let diagnostics = verificationDiagnostics()
    if !diagnostics.isEmpty { throw CompilerError(diagnostics.cutShort(), status: status) }
  }
}

extension [Diagnostic] {
  /// The first ones, with a count of the others.
  package func cutShort(to limit: Int = 12) -> [Diagnostic] {
    guard count > limit else { return self }
    return prefix(limit - 1) + [Diagnostic(.note, "\(count - limit + 1) more of this kind")]
  }
}
