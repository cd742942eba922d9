import Testing

/// Every failure has its exit code and one clear diagnostic, and leaves no file behind.
@Suite("What goes wrong")
struct ErrorTests {
  static let model = "\(Files.tiny)/grouped.onnx"
  static let data = ["--data", "\(Files.tiny)/grouped.input.npy", "--quiet"]

  /// Runs a command that must fail, with `OUT` standing for a file that must not appear.
  static func fails(
    _ status: Int32, _ arguments: [String], saying: [String] = [], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let scratch = try Scratch()
    let outcome = try qcc(arguments.map { $0.hasPrefix("OUT") ? scratch[$0] : $0 })
    let command = arguments.joined(separator: " ")
    #expect(outcome.status == status, "\(command): \(outcome.errors)", sourceLocation: sourceLocation)
    #expect(outcome.output.isEmpty, "\(command)", sourceLocation: sourceLocation)
    for text in saying + (status == 64 ? [] : ["error: "]) {
      #expect(outcome.errors.contains(text), "\(command): \(outcome.errors)", sourceLocation: sourceLocation)
    }
    #expect(try scratch.names.isEmpty, "\(command) left \(try scratch.names)", sourceLocation: sourceLocation)
  }

  @Test func unsupportedOperatorsAreAllNamed() throws {
    let path = "\(Files.tiny)/unsupported.onnx"
    try Self.fails(
      1, [path, "--target", "arm-int4", "-o", "OUT.qpk"],
      saying: [path, "'Sinh' of ai.onnx 13", "2 nodes", "'Twist' of com.example 1", "'twist'"])
  }

  @Test func usage() throws {
    let model = Self.model
    for arguments in [
      [model], [model, "--target"], [model, "--target", "arm-int8", "--no-such-flag"],
      [model, "--target", "arm-int8", "--samples", "0"], [model, "--target", "arm-int8", "--threads", "-1"],
      [model, "--target", "arm-int8", "--input-range", "1,0"], ["eval", model], ["run", model], ["verify", model],
      ["opt", "--pass-pipeline=canonicalize"], ["bench", model, "--runs", "0"], ["passes", "no-such-pass"],
      ["run", model, "--input", "\(Files.tiny)/grouped.input.npy", "--cpu", "no-such-processor"],
    ] {
      try Self.fails(64, arguments + (arguments.first == model ? ["-o", "OUT.qpk"] : []))
    }
  }

  @Test func missingFiles() throws {
    let model = Self.model, program = ["--target", "arm-int8", "-o", "OUT.qpk"]
    for arguments in [
      ["/no/such.onnx"] + program, [model, "--data", "/no/such.npy"] + program,
      [model, "--data", "\(Files.tiny)/grouped.input.npy", "--preprocess", "/no/such.yaml"] + program,
      [model, "--target", "/no/such.yaml", "-o", "OUT.qpk"], ["run", "/no/such.qpk", "--self-test"],
      ["run", model, "--input", "/no/such.npy", "--output", "OUT.npy"],
      ["opt", "--pass-pipeline=canonicalize", "/no/such.qir", "-o", "OUT.qir"], ["inspect", "/no/such.qpk"],
    ] {
      try Self.fails(66, arguments, saying: ["/no/such"])
    }
  }

  @Test func outputsThatCannotBeCreated() throws {
    try Self.fails(73, [Self.model, "--target", "arm-int8", "-o", "/no/such/folder/model.qpk"] + Self.data, saying: ["/no/such/folder"])
    try Self.fails(73, ["opt", Self.model, "-o", "/no/such/folder/model.qir"], saying: ["/no/such/folder"])
  }

  // MARK: Damaged files

  /// A file cut at `count` places, from nothing to all but one byte.
  static func truncations(_ bytes: [UInt8], _ count: Int) -> [ArraySlice<UInt8>] {
    (0..<count).map { bytes.prefix($0 * (bytes.count - 1) / (count - 1)) }
  }

  @Test func truncatedModels() throws {
    let scratch = try Scratch(), bytes = try Files.bytes(Self.model)
    for (index, part) in Self.truncations(bytes, 16).enumerated() {
      let path = try scratch.write(part, to: "\(index).onnx")
      try Self.fails(65, [path, "--target", "arm-int8", "-o", "OUT.qpk"] + Self.data, saying: [path])
    }
  }

  /// Changed bytes may leave a valid model, whose weights or names differ; whatever happens is no trap and no defect.
  @Test func damagedModels() throws {
    let scratch = try Scratch(), bytes = try Files.bytes(Self.model)
    for index in 0..<30 {
      var damaged = bytes
      // Most damage near the start and end, where structure is; weights fill the middle.
      let place = index % 2 == 0 ? index * 23 % bytes.count : bytes.count - 1 - index * 29 % bytes.count
      damaged[place] ^= UInt8(truncatingIfNeeded: 1 &<< (index % 8))
      let path = try scratch.write(damaged, to: "\(index).onnx"), output = try Scratch()
      let outcome = try qcc([path, "--target", "arm-int8", "-o", output["model.qpk"]] + Self.data)
      #expect([0, 1, 65].contains(outcome.status), "byte \(place): \(outcome.status) \(outcome.errors)")
      #expect(try output.names == (outcome.status == 0 ? ["model.qpk"] : []), "byte \(place)")
      if outcome.status != 0 { #expect(outcome.errors.contains("error: "), "byte \(place)") }
    }
  }

  @Test func damagedPrograms() throws {
    let scratch = try Scratch()
    try succeed([Self.model, "--target", "arm-int4", "-o", scratch["model.qpk"]] + Self.data)
    let bytes = try Files.bytes(scratch["model.qpk"])
    for (index, part) in Self.truncations(bytes, 16).enumerated() {
      let path = try scratch.write(part, to: "cut\(index).qpk")
      try Self.fails(65, ["run", path, "--input", "\(Files.tiny)/grouped.input.npy", "--output", "OUT.npy"], saying: [path])
    }
    for index in 0..<24 {
      var damaged = bytes
      let place = index * bytes.count / 24 + index
      damaged[place] ^= UInt8(truncatingIfNeeded: 1 &<< (index % 8))
      let path = try scratch.write(damaged, to: "bit\(index).qpk")
      let outcome = try qcc(["run", path, "--self-test"])
      // Nothing depends on the bytes between two sections, which are therefore in no checksum.
      let isPadding = bytes[place] == 0 && outcome.status == 0
      #expect(outcome.status == 65 || isPadding, "byte \(place): \(outcome.status) \(outcome.errors)")
    }
  }

  @Test func damagedGraphs() throws {
    let scratch = try Scratch()
    let passes = "fold-constants, canonicalize, fold-batch-norm"
    try succeed(["opt", "--pass-pipeline=\(passes)", Self.model, "-o", scratch["model.qir"]])
    let text = try Files.bytes(scratch["model.qir"]), weights = try Files.bytes(scratch["model.safetensors"])
    func fails(_ path: String) throws {
      try Self.fails(65, [path, "--target", "arm-int8", "-o", "OUT.qpk"] + Self.data, saying: [path])
    }
    // Cut after whole lines too, where every line that is left is valid.
    let lines = text.indices.filter { text[$0] == UInt8(ascii: "\n") }.dropLast().suffix(6)
    for (index, part) in (Self.truncations(text, 12).dropLast() + lines.map { text.prefix($0 + 1) }).enumerated() {
      _ = try scratch.write(weights, to: "cut\(index).safetensors")
      try fails(try scratch.write(part, to: "cut\(index).qir"))
    }
    for (index, part) in Self.truncations(weights, 6).enumerated() {
      _ = try scratch.write(part, to: "weights\(index).safetensors")
      let path = try scratch.write(text, to: "weights\(index).qir")
      try Self.fails(65, [path, "--target", "arm-int8", "-o", "OUT.qpk"] + Self.data, saying: ["weights\(index)."])
    }
    // The text holds a hash of the weights.
    var damaged = weights
    damaged[damaged.count - 1] ^= 1
    _ = try scratch.write(damaged, to: "hash.safetensors")
    try Self.fails(65, [try scratch.write(text, to: "hash.qir"), "--target", "arm-int8", "-o", "OUT.qpk"] + Self.data)
    // Nothing beside the text.
    try Self.fails(66, [try scratch.write(text, to: "alone.qir"), "--target", "arm-int8", "-o", "OUT.qpk"] + Self.data)
  }

  @Test func programsOfAnotherGraph() throws {
    let scratch = try Scratch()
    try succeed([Self.model, "--target", "arm-int4", "-o", scratch["model.qpk"]] + Self.data)
    try succeed(
      ["\(Files.tiny)/gemm.onnx", "--target", "arm-int4", "--data", "\(Files.tiny)/gemm.input.npy", "-o", scratch["other.qpk"], "--save-graph",
        scratch["other.qir"], "--quiet"])
    try Self.fails(1, ["verify", scratch["model.qpk"], "--graph", scratch["other.qir"]], saying: ["other.qir", "--save-graph"])
    try Self.fails(1, ["verify", scratch["model.qpk"], "--graph", Self.model], saying: ["no lowered graph"])
  }
}
