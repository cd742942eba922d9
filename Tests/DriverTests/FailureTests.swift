import Foundation
import Testing

/// Every failure has its exit code and a diagnostic with the file's name, and leaves no file behind.
@Suite("Failures")
struct FailureTests {
  private static let model = "\(QCC.samples)/tiny/grouped.onnx"
  private static let input = "\(QCC.samples)/tiny/grouped.input.npy"
  private static let data = ["--data", input]

  /// Runs a command that must fail; `OUT` stands for a file that must not appear.
  private func expectFailure(
    _ status: Int32, _ arguments: [String], _ mentions: [String],
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    try withTemporaryFolder { folder in
      let outcome = try QCC.run(arguments.map { $0.hasPrefix("OUT") ? "\(folder)/\($0)" : $0 })
      let command = "qcc \(arguments.joined(separator: " "))"
      #expect(outcome.status == status, "\(command): \(outcome.messages)", sourceLocation: sourceLocation)
      #expect(outcome.output.isEmpty, "\(command)", sourceLocation: sourceLocation)
      for text in mentions {
        #expect(
          outcome.messages.contains(text), "\(command): \(outcome.messages)", sourceLocation: sourceLocation)
      }
      let left = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(left.isEmpty, "\(command) left \(left)", sourceLocation: sourceLocation)
    }
  }
  private func write(_ bytes: some Sequence<UInt8>, to path: String) throws -> String {
    try Data(bytes).write(to: URL(filePath: path))
    return path
  }
  private func read(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }

  // MARK: Arguments

  @Test func unsupportedOperatorsAreNamedInOneRun() throws {
    let path = "\(QCC.samples)/tiny/unsupported.onnx"
    try expectFailure(
      1, [path, "--target", "arm-int4", "-o", "OUT.qpk"],
      [path, "'Sinh' of ai.onnx 13", "2 nodes", "'Twist' of com.example 1", "'twist'"])
  }

  @Test func usage() throws {
    let model = Self.model
    for arguments in [
      [model], [model, "--target"], [model, "--target", "arm-int8", "--samples", "0"],
      [model, "--target", "arm-int8", "--threads", "-1"],
      [model, "--target", "arm-int8", "--input-range", "1,0"],
      [model, "--target", "arm-int8", "--calibration", "guess"],
      ["eval", model], ["verify", model], ["opt", "--pass-pipeline=canonicalize"], ["bench", model],
      ["bench", model, "--runs", "0"], ["passes", "no-such-pass"],
      ["run", model, "--input", Self.input, "--cpu", "abacus"],
    ] {
      try expectFailure(64, arguments + (arguments.first == model ? ["-o", "OUT.qpk"] : []), [])
    }
  }

  @Test func missingFiles() throws {
    let program = ["--target", "arm-int8", "-o", "OUT.qpk"]
    for arguments in [
      ["/no/such.onnx"] + program, [Self.model, "--data", "/no/such.npy"] + program,
      [Self.model, "--preprocess", "/no/such.yaml"] + Self.data + program,
      [Self.model, "--target", "/no/such.yaml", "-o", "OUT.qpk"], ["run", "/no/such.qpk", "--self-test"],
      ["run", Self.model, "--input", "/no/such.npy", "--output", "OUT.npy"],
      ["opt", "--pass-pipeline=canonicalize", "/no/such.qir", "-o", "OUT.qir"], ["inspect", "/no/such.qpk"],
    ] {
      try expectFailure(66, arguments, ["/no/such.", "error: "])
    }
  }

  @Test func outputsThatCannotBeCreated() throws {
    let path = "/no/such/folder/model"
    try expectFailure(
      73, [Self.model, "--target", "arm-int8", "-o", "\(path).qpk", "--quiet"] + Self.data, [path, "error: "])
    try expectFailure(73, ["opt", Self.model, "-o", "\(path).qir"], [path, "error: "])
  }

  @Test func programsOfAnotherGraph() throws {
    try withTemporaryFolder { folder in
      try QCC.expectSuccess([Self.model, "--target", "arm-int4", "-o", "\(folder)/model.qpk"] + Self.data)
      let other = "\(QCC.samples)/tiny/gemm"
      try QCC.expectSuccess([
        "\(other).onnx", "--target", "arm-int4", "--data", "\(other).input.npy", "-o", "\(folder)/other.qpk",
        "--save-graph",
        "\(folder)/other.qir",
      ])
      let verify = ["verify", "\(folder)/model.qpk", "--graph"]
      try expectFailure(1, verify + ["\(folder)/other.qir"], ["other.qir", "--save-graph"])
      try expectFailure(1, verify + [Self.model], ["no lowered graph"])
    }
  }

  // MARK: Damaged files

  /// The beginnings of a file, from nothing to all but one byte.
  private func truncations(_ bytes: [UInt8], _ count: Int) -> [ArraySlice<UInt8>] {
    (0..<count).map { bytes.prefix($0 * (bytes.count - 1) / (count - 1)) }
  }
  private func expectMalformed(model path: String, _ mention: String) throws {
    try expectFailure(
      65, [path, "--target", "arm-int8", "-o", "OUT.qpk", "--save-graph", "OUT.qir", "--quiet"] + Self.data,
      [mention, "error: "])
  }

  @Test func truncatedModels() throws {
    let bytes = try read(Self.model)
    try withTemporaryFolder { folder in
      for (index, part) in truncations(bytes, 12).enumerated() {
        try expectMalformed(model: try write(part, to: "\(folder)/\(index).onnx"), "\(index).onnx")
      }
    }
  }

  /// Changed bytes may leave a valid model with other weights or names; whatever happens is no trap and no defect of qcc.
  @Test func damagedModels() throws {
    let bytes = try read(Self.model)
    for index in 0..<30 {
      try withTemporaryFolder { folder in
        var damaged = bytes
        // From both ends, where the structure is; weights fill the middle.
        let place = index % 2 == 0 ? index * 23 % bytes.count : bytes.count - 1 - index * 29 % bytes.count
        damaged[place] ^= UInt8(truncatingIfNeeded: 1 &<< (index % 8))
        let path = try write(damaged, to: "\(folder)/damaged.onnx"), output = "\(folder)/model.qpk"
        let outcome = try QCC.run([path, "--target", "arm-int8", "-o", output, "--quiet"] + Self.data)
        #expect([0, 1, 65].contains(outcome.status), "byte \(place): \(outcome.status) \(outcome.messages)")
        #expect(FileManager.default.fileExists(atPath: output) == (outcome.status == 0), "byte \(place)")
        if outcome.status != 0 { #expect(outcome.messages.contains("error: "), "byte \(place)") }
      }
    }
  }

  @Test func damagedPrograms() throws {
    try withTemporaryFolder { folder in
      try QCC.expectSuccess([Self.model, "--target", "arm-int4", "-o", "\(folder)/model.qpk"] + Self.data)
      let bytes = try read("\(folder)/model.qpk")
      for (index, part) in truncations(bytes, 12).enumerated() {
        let path = try write(part, to: "\(folder)/\(index).qpk")
        try expectFailure(
          65, ["run", path, "--input", Self.input, "--output", "OUT.npy"], [path, "error: "])
      }
      for index in 0..<24 {
        var damaged = bytes
        let place = index * bytes.count / 24 + index
        damaged[place] ^= UInt8(truncatingIfNeeded: 1 &<< (index % 8))
        let path = try write(damaged, to: "\(folder)/damaged.qpk")
        try expectFailure(
          65, ["run", path, "--input", Self.input, "--output", "OUT.npy"], [path, "error: "])
      }
    }
  }

  @Test func damagedGraphs() throws {
    try withTemporaryFolder { folder in
      let passes = "fold-constants, canonicalize, fold-batch-norm"
      try QCC.expectSuccess(["opt", "--pass-pipeline=\(passes)", Self.model, "-o", "\(folder)/model.qir"])
      let text = try read("\(folder)/model.qir"), weights = try read("\(folder)/model.safetensors")
      // Cut anywhere, and after whole lines, where every line that is left is valid.
      let lines = text.indices.filter { text[$0] == UInt8(ascii: "\n") }.dropLast().suffix(4)
      for (index, part) in (truncations(text, 10).dropLast() + lines.map { text.prefix($0 + 1) }).enumerated()
      {
        _ = try write(weights, to: "\(folder)/text\(index).safetensors")
        try expectMalformed(model: try write(part, to: "\(folder)/text\(index).qir"), "text\(index).qir")
      }
      for (index, part) in truncations(weights, 6).enumerated() {
        _ = try write(part, to: "\(folder)/weights\(index).safetensors")
        try expectMalformed(model: try write(text, to: "\(folder)/weights\(index).qir"), "weights\(index).")
      }
      // The text holds a hash of the weights.
      var damaged = weights
      damaged[damaged.count - 1] ^= 1
      _ = try write(damaged, to: "\(folder)/hash.safetensors")
      try expectMalformed(model: try write(text, to: "\(folder)/hash.qir"), "hash.")
      let alone = try write(text, to: "\(folder)/alone.qir")
      try expectFailure(
        66, [alone, "--target", "arm-int8", "-o", "OUT.qpk", "--quiet"] + Self.data, ["alone.safetensors"])
    }
  }
}
