import Foundation
import IR
import PassKit
import Passes
import Support
import Testing

/// One file below `passes/tests`:
///
///     // pass: fold-batch-norm{maximum-uses = 1}
///     // What this shows. Optional: `// samples: 4` gives the pass that many seeded calibration samples.
///     graph @main stage imported (%x: tensor<1x1x2x2xf32>) { … }
///     // ----
///     the complete graph behind the pass, or `unchanged`, or lines `error: text`
///
/// The first line of the graph, `qir 1`, may be left out. Constants `@name` have the contents that `seededContents`
/// makes from their name; behind the pass they print bare while they keep them.
struct Golden: CustomTestStringConvertible, Sendable {
  let folder: String
  let file: String
  var path: String { "\(Golden.root)/\(folder)/\(file)" }
  var testDescription: String { "\(folder)/\(file)" }

  static let packageRoot = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path
  static let root = "\(packageRoot)/passes/tests"
  static let folders = sortedNames(root)
  static let all: [Golden] = folders.flatMap { folder in
    sortedNames("\(root)/\(folder)").filter { $0.hasSuffix(".qir") }.map { Golden(folder: folder, file: $0) }
  }
  private static func sortedNames(_ folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { !$0.hasPrefix(".") }
      .sorted()
  }

  static let separator = "// ----"
  /// Rewrites expectations instead of checking them.
  static let isBlessing = ProcessInfo.processInfo.environment["QCC_BLESS"] == "1"

  struct Parts {
    /// Everything up to and including the separator.
    var head: String
    var pipeline: String
    var sampleCount: Int
    var input: String
    var expected: String
  }
  func read() throws -> Parts {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    guard
      let separator = text.firstRange(of: "\n\(Golden.separator)\n")
        ?? text.firstRange(of: "\n\(Golden.separator)")
    else {
      throw CompilerError("the golden has no line '\(Golden.separator)'", at: path)
    }
    let head = text[..<separator.lowerBound]
    func header(_ key: String) -> Substring? {
      head.split(separator: "\n").first { $0.hasPrefix("// \(key):") }?.dropFirst(key.count + 4)
    }
    guard let pipeline = header("pass") else {
      throw CompilerError("the golden has no line '// pass: name'", at: path)
    }
    return Parts(
      head: head + "\n\(Golden.separator)\n", pipeline: String(pipeline),
      sampleCount: header("samples").flatMap { Int($0.trimmingCharacters(in: .whitespaces)) } ?? 0,
      input: String(head),
      expected: String(text[separator.upperBound...]))
  }

  /// What the pass makes of the input, in the form of an expectation.
  func run(_ parts: Parts) throws -> String {
    let pipeline = try Pipeline(text: parts.pipeline, passes: allPasses, named: namedPipelines)
    let hasVersion = parts.input.split(separator: "\n").contains { $0.hasPrefix("qir ") }
    let text = hasVersion ? parts.input : "qir \(Graph.textVersion)\n\(parts.input)"
    let input = try Graph(text: text, file: "\(folder)/\(file)", weights: .seeded)
    var graph = input
    var context = PassContext(seed: 1)
    if parts.sampleCount > 0, let value = input.inputs.first {
      let count = input[value].type.shape.bound(batch: 1).reduce(1, *)
      context.calibration = SeededSamples(count: parts.sampleCount, elementCount: count)
    }
    var instrumentation = Instrumentation()
    instrumentation.reproducer = .never
    do throws(CompilerError) {
      _ = try PassManager(instrumentation).run(pipeline, on: &graph, &context)
    } catch {
      return error.diagnostics.map { "error: \($0.message)\n" }.joined()
    }
    let before = input.text(.seeded), after = graph.text(.seeded)
    if before == after { return "unchanged\n" }
    return hasVersion ? after : String(after.drop { $0 != "\n" }.dropFirst())
  }

  /// Whether `actual` is what the golden expects. An expected error may be any part of the actual one.
  func matches(_ expected: String, _ actual: String) -> Bool {
    let lines = expected.split(separator: "\n")
    guard lines.first?.hasPrefix("error:") == true, actual.hasPrefix("error:") else {
      return expected == actual
    }
    return lines.allSatisfy {
      actual.contains($0.dropFirst("error:".count).trimmingCharacters(in: .whitespaces))
    }
  }
}

/// Samples of multiples of 1/64 in [-1, 1].
private struct SeededSamples: CalibrationData {
  let count: Int
  let elementCount: Int
  func sample(_ index: Int) throws -> [Float] {
    let type = TensorType([elementCount], .f32)
    return seededContents("sample \(index)", type).map { Constant(name: "", type: type, storage: $0).floats }
      ?? []
  }
}
