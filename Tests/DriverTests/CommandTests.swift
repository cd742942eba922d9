import Foundation
import Testing

@Suite("Commands")
struct CommandTests {
  private static let model = "\(QCC.samples)/tiny/padding.onnx"

  @Test(arguments: [
    "compile", "eval", "run", "verify", "inspect", "opt", "bench", "kernels", "passes", "targets", "ops",
  ])
  func explainsItself(command: String) throws {
    for arguments in [["help", command], [command, "--help"]] {
      let text = try QCC.expectSuccess(arguments).text
      #expect(text.contains("USAGE: qcc"))
    }
  }

  @Test(arguments: ["kernels", "passes", "targets", "ops"])
  func listsAsJson(command: String) throws {
    let output = try QCC.expectSuccess([command, "--json"]).output
    #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: output) }
  }

  /// A mistake leads to its exit code, to a message that names what is wrong, and to no file.
  @Test(arguments: [
    (["nowhere.onnx", "--target", "x86-int8"], 66, "nowhere.onnx"),
    ([model, "--target", "abacus"], 64, "abacus"),
    ([model, "--target", "x86-int8", "--no-such-flag"], 64, "--no-such-flag"),
    ([model, "--target", "x86-int8", "--pin", "valid=w3a99"], 1, "99 bits"),
    ([model, "--target", "x86-int8", "--data", "nowhere"], 66, "nowhere"),
    (["\(QCC.samples)/tiny/unsupported.onnx", "--target", "x86-int8"], 1, "'Sinh'"),
    (["\(QCC.samples)/tiny/unsupported.onnx", "--target", "x86-int8"], 1, "'Twist'"),
    (["\(QCC.samples)/tiny/generate.py", "--target", "x86-int8"], 65, "generate.py"),
    (["eval", "\(QCC.samples)/tiny/generate.py"], 65, "generate.py"),
    (["run", model], 64, "--input"),
    (["opt", model, "--pass-pipeline", "no-such-pass"], 64, "no-such-pass"),
    (["opt", model, "--pass-pipeline", "canonicalize{no-such-option = 1}"], 64, "no-such-option"),
  ])
  func refuses(arguments: [String], status: Int, mention: String) throws {
    try withTemporaryFolder { folder in
      let output = "\(folder)/out"
      let takesOutput = !["eval", "run"].contains(arguments[0])
      let outcome = try QCC.run(arguments + (takesOutput ? ["-o", output] : []))
      #expect(Int(outcome.status) == status, "\(outcome.messages)")
      #expect(outcome.messages.contains(mention), "\(outcome.messages)")
      #expect(!FileManager.default.fileExists(atPath: output))
    }
  }

  /// Every prefix of a file is refused as malformed, with its name.
  @Test(arguments: ["onnx", "qpk", "qir"])
  func refusesTruncatedFiles(kind: String) throws {
    try withTemporaryFolder { folder in
      let whole = "\(folder)/whole.\(kind)"
      switch kind {
      case "qpk": try QCC.expectSuccess([Self.model, "--target", "x86-int8", "-o", whole])
      case "qir":
        try QCC.expectSuccess(["opt", Self.model, "--pass-pipeline", "canonicalize", "-o", whole])
        try FileManager.default.moveItem(
          atPath: "\(folder)/whole.safetensors", toPath: "\(folder)/cut.safetensors")
      default: try FileManager.default.copyItem(atPath: Self.model, toPath: whole)
      }
      let bytes = try Data(contentsOf: URL(filePath: whole))
      for share in 1..<8 {
        let cut = "\(folder)/cut.\(kind)"
        try bytes.prefix(bytes.count * share / 8).write(to: URL(filePath: cut))
        let outcome = try QCC.run(["inspect", cut])
        #expect(outcome.status == 65)
        #expect(outcome.messages.contains("cut.\(kind)"))
        #expect(outcome.output.isEmpty)
      }
    }
  }

  @Test func chainsPassesThroughPipes() throws {
    try withTemporaryFolder { folder in
      let digits = "\(QCC.digits)/model.onnx"
      let whole = "\(folder)/whole.qir"
      try QCC.expectSuccess([
        "opt", digits, "--pass-pipeline", "fold-constants, canonicalize, fold-batch-norm", "-o", whole,
      ])
      let first = try QCC.expectSuccess([
        "opt", digits, "--pass-pipeline", "fold-constants, canonicalize", "-o", "-",
      ])
      let second = try QCC.expectSuccess(
        ["opt", "-", "--pass-pipeline", "fold-batch-norm", "-o", "-"], input: first.output)
      let inspected = try QCC.expectSuccess(["inspect", "-", "--json"], input: second.output)
      let expected = try QCC.expectSuccess(["inspect", whole, "--json"])
      #expect(inspected.text == expected.text)
    }
  }

}
