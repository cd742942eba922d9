import IR
import PassKit
import Support
import Testing

struct ExampleOptions: PassOptions {
  static let table: [Attribute<Self>] = [
    Attribute("bits", \.bits), Attribute("name", \.name), Attribute("factor", \.factor),
  ]
  var bits = [8]
  var name = ""
  var factor: Float = 1
  init() {}
}

/// Replaces one relu by an abs, one step each.
let reluToAbs = Pass("relu-to-abs", "", accepts: .imported ... .canonical, options: ExampleOptions.self) {
  rewriter, _, _ in
  for op in rewriter.ops {
    guard case .unary(let unary) = rewriter.graph[op].op, unary.function == .relu, rewriter.takeStep() else {
      continue
    }
    try rewriter.replace(op, with: .unary(Unary(.abs)), rewriter.graph[op].operands)
    rewriter.count("replaced")
  }
}
let toCanonical = Pass("to-canonical", "", accepts: .imported ... .imported, produces: .canonical) { _, _ in }
let breaksTypes = Pass("breaks-types", "", accepts: .imported ... .lowered) { rewriter, _ in
  rewriter.setInputType(rewriter.graph.inputs[0], TensorType([7], .f32))
}
let rejects = Pass("rejects", "", accepts: .imported ... .lowered) { _, _ in
  throw CompilerError("no such thing")
}
let failsInside = Pass("fails-inside", "", accepts: .imported ... .lowered) { _, _ in
  throw VerificationError("odd operand")
}
let examplePasses = [reluToAbs, toCanonical, breaksTypes, rejects, failsInside]

@Suite struct PipelineTextTests {
  private func read(_ text: String) throws -> String {
    let named = [(name: "both", text: "relu-to-abs, to-canonical"), (name: "endless", text: "endless")]
    return try Pipeline(text: text, passes: examplePasses, named: named).text
  }

  @Test(arguments: [
    ("relu-to-abs", "relu-to-abs"),
    (" relu-to-abs , to-canonical,", "relu-to-abs, to-canonical"),
    ("relu-to-abs{bits=[2,4], name = \"a, {b}\"}", "relu-to-abs{bits = [2,4], name = \"a, {b}\"}"),
    ("relu-to-abs { }", "relu-to-abs"),
    ("relu-to-abs{factor = }", "relu-to-abs"),
    ("# first\nrelu-to-abs, # then\n\nto-canonical", "relu-to-abs, to-canonical"),
    ("relu-to-abs{name = \"#1\"}", "relu-to-abs{name = \"#1\"}"),
    ("repeat(relu-to-abs, repeat(to-canonical))", "repeat(relu-to-abs, repeat(to-canonical))"),
    ("both, rejects", "relu-to-abs, to-canonical, rejects"),
  ])
  func readsPipelines(text: String, canonical: String) throws {
    #expect(try read(text) == canonical)
    #expect(try read(canonical) == canonical)
  }

  @Test(arguments: [
    ("", "the pipeline is empty"),
    ("relu", "there is no pass 'relu'; did you mean 'both'? 'qcc passes' lists them"),
    ("relu-to-abs(x)", "expected 'pass', 'pass{option = value}' or 'repeat(passes)', found 'relu-to-abs(x)'"),
    ("relu-to-abs{bits}", "pass 'relu-to-abs': expected 'option = value', found 'bits'"),
    ("relu-to-abs{width = 1}", "pass 'relu-to-abs' has no option 'width'; it has bits, name, factor"),
    ("relu-to-abs{factor = big}", "pass 'relu-to-abs': 'factor' must be a number, not 'big'"),
    ("endless", "pipelines nest deeper than 16"),
    ("both{a = 1}", "pipeline 'both' has no options"),
    ("relu-to-abs{", "found 'relu-to-abs{'"),
    ("}{)(", "expected 'pass'"),
  ])
  func mistakesAreReported(text: String, message: String) {
    let error = #expect(throws: CompilerError.self) { try read(text) }
    #expect(error?.status == .usage)
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "none")")
  }

  @Test func everyMistakeIsReportedAtOnce() {
    let error = #expect(throws: CompilerError.self) { try read("a, b, relu-to-abs{c = 1}") }
    #expect(error?.diagnostics.count == 3)
  }
}
