/// One message to the user: what is wrong, where, and what to do.
package struct Diagnostic: Hashable, Sendable {
  package enum Severity: String, Sendable { case error, warning, note }
  package var severity: Severity
  /// Lower case, no full stop: what is wrong, what was expected, how to mend it.
  package var message: String
  /// `file`, `file:line:column` or `file: node 'name'`; empty when there is no place.
  package var location: String
  package var notes: [String]

  package init(_ severity: Severity, _ message: String, at location: String = "", notes: [String] = []) {
    self.severity = severity
    self.message = message
    self.location = location
    self.notes = notes
  }
  package static func error(_ message: String, at location: String = "", notes: [String] = []) -> Diagnostic {
    Diagnostic(.error, message, at: location, notes: notes)
  }
  package static func warning(_ message: String, at location: String = "", notes: [String] = []) -> Diagnostic
  {
    Diagnostic(.warning, message, at: location, notes: notes)
  }
}

extension Diagnostic: CustomStringConvertible {
  package var description: String {
    let place = location.isEmpty ? "" : "\(location): "
    return ([place + "\(severity.rawValue): \(message)"] + notes.map { "  note: \($0)" }).joined(
      separator: "\n")
  }
}

/// The exit codes of `qcc`, part of its contract with scripts.
package enum ExitStatus: Int32, Sendable {
  case success = 0
  /// A valid input that cannot be compiled or run as asked.
  case rejected = 1
  /// A quality gate or a comparison failed.
  case gateFailed = 2
  /// No assignment meets the constraints.
  case infeasible = 3
  case usage = 64
  /// A file is malformed.
  case malformedInput = 65
  case missingInput = 66
  /// A library or a processor feature is missing.
  case unavailable = 69
  /// A defect of qcc.
  case internalError = 70
  case cannotCreate = 73
  case inputOutput = 74
  /// The user interrupted (SIGINT).
  case interrupted = 130
}

/// What every fallible step of the compiler throws: all its messages, and the exit code they lead to.
package struct CompilerError: Error, CustomStringConvertible {
  package var diagnostics: [Diagnostic]
  package var status: ExitStatus

  package init(_ diagnostics: [Diagnostic], status: ExitStatus = .rejected) {
    self.diagnostics = diagnostics
    self.status = status
  }
  package init(
    _ message: String, at location: String = "", notes: [String] = [], status: ExitStatus = .rejected
  ) {
    self.init([.error(message, at: location, notes: notes)], status: status)
  }
  package static func malformed(_ message: String, at location: String, notes: [String] = []) -> CompilerError
  {
    CompilerError(message, at: location, notes: notes, status: .malformedInput)
  }
  package var description: String { diagnostics.map(\.description).joined(separator: "\n") }
}
