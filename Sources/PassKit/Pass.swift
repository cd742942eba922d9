import IR
import Support

/// Options that a pipeline may set on a pass, e.g. `insert-quantizers{target = arm-int4}`.
package protocol PassOptions: Sendable, SendableMetatype {
  static var table: [Attribute<Self>] { get }
  init()
}

package struct NoOptions: PassOptions {
  package static let table: [Attribute<Self>] = []
  package init() {}
}

/// A named rewrite of a graph. One file and one global `let` each, under `passes/`.
package struct Pass: Sendable {
  package struct Option: Sendable {
    package let name: String
    package let expectation: String
    package let help: String
    package let defaultText: String
  }
  package let name: String
  package let summary: String
  /// The stages this pass can work on, and the one it leaves (nil: unchanged).
  package let accepts: ClosedRange<Stage>
  package let produces: Stage?
  package let options: [Option]
  private let check: @Sendable ([(name: String, text: String)]) throws(CompilerError) -> Void
  private let body:
    @Sendable (inout Rewriter, inout PassContext, [(name: String, text: String)]) throws -> Void

  package init<Options: PassOptions>(
    _ name: String, _ summary: String, accepts: ClosedRange<Stage>, produces: Stage? = nil,
    options: Options.Type,
    run: @escaping @Sendable (inout Rewriter, inout PassContext, Options) throws -> Void
  ) {
    self.name = name
    self.summary = summary
    self.accepts = accepts
    self.produces = produces
    self.options = Options.table.map {
      Option(name: $0.name, expectation: $0.expectation, help: $0.help, defaultText: $0.print(Options()))
    }
    @Sendable func read(_ pairs: [(name: String, text: String)]) throws(CompilerError) -> Options {
      var options = Options()
      for (key, text) in pairs {
        guard let attribute = Options.table.first(where: { $0.name == key }) else {
          let known = Options.table.map(\.name).joined(separator: ", ")
          throw CompilerError(
            "pass '\(name)' has no option '\(key)'; it has \(known.isEmpty ? "none" : known)", status: .usage)
        }
        do { try attribute.parse(&options, text) } catch {
          throw CompilerError("pass '\(name)': \(error)", status: .usage)
        }
      }
      return options
    }
    check = { pairs throws(CompilerError) in _ = try read(pairs) }
    body = { rewriter, context, pairs in try run(&rewriter, &context, try read(pairs)) }
  }

  package init(
    _ name: String, _ summary: String, accepts: ClosedRange<Stage>, produces: Stage? = nil,
    run: @escaping @Sendable (inout Rewriter, inout PassContext) throws -> Void
  ) {
    self.init(name, summary, accepts: accepts, produces: produces, options: NoOptions.self) {
      rewriter, context, _ in
      try run(&rewriter, &context)
    }
  }

  /// Fails on options that the pass does not have or cannot read.
  package func checkOptions(_ options: [(name: String, text: String)]) throws(CompilerError) {
    try check(options)
  }

  /// Runs the pass; the manager checks stages and verifies the result.
  package func run(
    _ rewriter: inout Rewriter, _ context: inout PassContext, _ options: [(name: String, text: String)]
  ) throws {
    try body(&rewriter, &context, options)
  }
}

/// What passes may use besides the graph, and where they report.
package struct PassContext: Sendable {
  /// Calibration samples, one input tensor each, in a fixed order; nil when no data was given.
  package var calibration: (any CalibrationData)?
  /// Worker threads; results never depend on it.
  package var threads: Int
  package var seed: UInt64
  package var diagnostics: [Diagnostic] = []
  /// Called with a phase, the work done and the total, from the thread that runs the pass.
  package var progress: @Sendable (_ phase: String, _ done: Int, _ total: Int) -> Void
  /// Whether the user asked to stop: long passes look now and then, keep what they have and throw `interrupted`.
  package var isInterrupted: @Sendable () -> Bool = { false }

  package init(
    calibration: (any CalibrationData)? = nil, threads: Int = 1, seed: UInt64 = 0,
    progress: @escaping @Sendable (String, Int, Int) -> Void = { _, _, _ in }
  ) {
    self.calibration = calibration
    self.threads = threads
    self.seed = seed
    self.progress = progress
  }
  package mutating func warn(_ message: String, at location: String = "") {
    diagnostics.append(.warning(message, at: location))
  }
}

/// Preprocessed samples for one-input networks.
package protocol CalibrationData: Sendable {
  var count: Int { get }
  /// The input tensor of sample `index`, row-major, without the batch axis. Safe to call from several threads.
  func sample(_ index: Int) throws -> [Float]
}
