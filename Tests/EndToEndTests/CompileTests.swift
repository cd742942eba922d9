import Testing

private let targets = ["arm-int4", "arm-int8", "generic-int8", "x86-int4", "x86-int8"]
private let calibration = Files.calibration + ["--samples", "128", "--quiet"]

@Suite("From a model to a program that runs")
struct CompileTests {
  /// On 100 images that calibration did not see, every tensor has the reference's bits with every kernel set; on all
  /// 1,000 the program is as right as the float network.
  @Test(arguments: targets) func digits(target: String) throws {
    let scratch = try Scratch()
    let program = scratch["model.qpk"], graph = scratch["model.qir"]
    let report = try succeed(
      [Files.digitsModel, "--target", target, "-o", program, "--save-graph", graph, "--json"] + calibration)
    #expect(try report.number("parameters") > 78_000)
    try succeed(["run", program, "--self-test"])

    let proof = try succeed(["verify", program, "--graph", graph, "--samples", "100", "--json", "--quiet"] + Files.test)
    #expect(try proof.number("samples") == 100)
    #expect(try proof.number("tensors") >= 14)
    #expect(!proof.output.contains("\"identical\": false") && proof.output.contains("\"name\": \"portable\", \"identical\": true"))

    let accuracy = try succeed(["eval", program, "--against", Files.digitsModel, "--json", "--quiet"] + Files.test)
    #expect(try accuracy.number("samples") == 1000)
    let top1 = try accuracy.number("top1"), float = try accuracy.number("against", "top1")
    #expect(float == 99.2)
    #expect(top1 >= float - (target.hasSuffix("int8") ? 0.3 : 1.5), "\(accuracy.output)")
  }

  @Test func rounding() throws {
    // The graph before it is lowered, evaluated in rounded floats, gives the answers of the integers.
    let scratch = try Scratch()
    let program = scratch["model.qpk"], graph = scratch["assigned.qir"]
    try succeed([Files.digitsModel, "--target", "arm-int4", "-o", program] + calibration)
    let pipeline = try succeed([Files.digitsModel, "--target", "arm-int4", "--print-pipeline"] + calibration).output
    let passes = try #require(pipeline.firstRange(of: "lower-integer").map { pipeline[..<$0.lowerBound] })
    let upToAssigned = String(passes.reversed().drop { " ,\n".contains($0) }.reversed())
    try succeed(["opt", "--pass-pipeline=\(upToAssigned)", Files.digitsModel, "-o", graph] + calibration)
    let outcome = try succeed(["eval", graph, "--against", program, "--json", "--quiet"] + Files.test)
    #expect(try outcome.number("against", "agreement") >= 99.5, "\(outcome.output)")
  }

  @Test(arguments: ["arm-int4", "x86-int8"]) func equalBytes(target: String) throws {
    let scratch = try Scratch()
    for (name, threads) in [("first.qpk", "1"), ("again.qpk", "1"), ("threads.qpk", "2")] {
      try succeed([Files.digitsModel, "--target", target, "--threads", threads, "-o", scratch[name]] + calibration)
    }
    let bytes = try Files.bytes(scratch["first.qpk"])
    #expect(try Files.bytes(scratch["again.qpk"]) == bytes)
    #expect(try Files.bytes(scratch["threads.qpk"]) == bytes)
  }

  @Test func withoutData() throws {
    let scratch = try Scratch()
    let program = scratch["model.qpk"], graph = scratch["model.qir"]
    let report = try succeed([
      Files.digitsModel, "--target", "arm-int8", "--preprocess", Files.digits + "/preprocess.yaml", "-o", program,
      "--save-graph", graph,
    ])
    #expect(report.errors.contains("without data") || report.errors.contains("data-free"), "\(report.errors)")
    try succeed(["verify", program, "--graph", graph, "--samples", "20", "--quiet"])
    let accuracy = try succeed(["eval", program, "--against", Files.digitsModel, "--json", "--quiet"] + Files.test)
    #expect(try accuracy.number("top1") >= 97, "\(accuracy.output)")
  }

  /// One awkward corner of ONNX each; inputs are random and reach beyond the range of the first quantizer.
  @Test(arguments: [
    "gemm", "grouped", "norm-first", "pad", "padding", "pools", "relu6-opset11", "relu6-opset7", "shape-chain",
    "softmax-opset11", "softmax-opset13",
  ])
  func tiny(name: String) throws {
    let scratch = try Scratch()
    for target in ["arm-int4", "generic-int8"] {
      let program = scratch["\(target).qpk"], graph = scratch["\(target).qir"]
      try succeed([
        "\(Files.tiny)/\(name).onnx", "--target", target, "--data", "\(Files.tiny)/\(name).input.npy", "-o", program,
        "--save-graph", graph, "--quiet",
      ])
      try succeed(["verify", program, "--graph", graph, "--samples", "100", "--quiet"])
      try succeed(["run", program, "--self-test", "--input", "\(Files.tiny)/\(name).input.npy", "--output", scratch["y.npy"]])
    }
  }

  /// A graph of another calibration has the same tensors but other numbers: the comparison must see it.
  @Test func differencesAreFound() throws {
    let scratch = try Scratch()
    let model = "\(Files.tiny)/grouped.onnx", data = ["--data", "\(Files.tiny)/grouped.input.npy", "--quiet"]
    try succeed([model, "--target", "arm-int8", "-o", scratch["a.qpk"], "--save-graph", scratch["a.qir"]] + data)
    try succeed(
      [model, "--target", "arm-int8", "--calibration", "min-max", "--activation-bits", "8", "-o", scratch["b.qpk"]] + data)
    try succeed(["verify", scratch["a.qpk"], "--graph", scratch["a.qir"]])
    let outcome = try qcc(["verify", scratch["b.qpk"], "--graph", scratch["a.qir"], "--quiet"])
    #expect(outcome.status == 2)
    #expect(outcome.output.contains("portable: DIFFERS: sample 0, tensor '"), "\(outcome.output)")
    #expect(outcome.errors.contains("other bits than the reference"))
  }

  @Test func hashesAreThoseOfEveryKernelSet() throws {
    let scratch = try Scratch()
    let program = scratch["model.qpk"], graph = scratch["model.qir"], inputs = scratch["x.npy"]
    try succeed([
      "\(Files.tiny)/gemm.onnx", "--target", "x86-int8", "--data", "\(Files.tiny)/gemm.input.npy", "-o", program,
      "--save-graph", graph, "--quiet",
    ])
    try succeed(["verify", program, "--graph", graph, "--samples", "7", "--save-inputs", inputs, "--quiet"])
    let portable = try succeed(["run", program, "--input", inputs, "--hashes", "-", "--output", scratch["y.npy"], "--cpu", "portable"])
    let fastest = try succeed(["run", program, "--input", inputs, "--hashes", "-", "--output", scratch["z.npy"]])
    #expect(portable.output == fastest.output)
    #expect(portable.output.split(separator: "\n").count % 7 == 0 && portable.output.count > 7 * 18)
    #expect(try Files.bytes(scratch["y.npy"]) == Files.bytes(scratch["z.npy"]))
  }

  @Test func packedSizeOfWeights() throws {
    // 79,194 parameters: four bits inside, eight at both ends and in depthwise layers.
    let scratch = try Scratch()
    try succeed([Files.digitsModel, "--target", "arm-int4", "-o", scratch["model.qpk"]] + calibration)
    #expect(try Files.bytes(scratch["model.qpk"]).count < 52_000)
  }
}

/// Networks of other people, where they are at hand: as right in integers as in floats.
@Suite("Real networks", .enabled(if: Files.realData != nil))
struct RealNetworkTests {
  @Test func resnet20() throws {
    try check(
      "resnet20.onnx", calibration: "cifar10/train4000.bin", test: ["--data", "cifar10/test1000.bin"],
      ["--color", "rgb", "--scale", "0.00392156862745098", "--mean", "[0.485, 0.456, 0.406]", "--std", "[0.229, 0.224, 0.225]"])
  }
  @Test func fashion() throws {
    try check(
      "fashion-dscnn.onnx", calibration: "fashion-mnist/train5k-images-idx3-ubyte.gz",
      test: ["--data", "fashion-mnist/heldout10k-images-idx3-ubyte.gz", "--labels", "fashion-mnist/heldout10k-labels-idx1-ubyte.gz"],
      ["--color", "gray", "--scale", "0.00392156862745098"])
  }

  private func check(_ model: String, calibration: String, test: [String], _ preprocessing: [String]) throws {
    let data = try #require(Files.realData), scratch = try Scratch()
    let program = scratch["model.qpk"], graph = scratch["model.qir"], model = "\(data)/models/\(model)"
    let test = test.map { $0.hasPrefix("--") ? $0 : "\(data)/\($0)" }
    try succeed(
      [model, "--target", "x86-int8", "--data", "\(data)/\(calibration)", "--samples", "128", "-o", program, "--save-graph", graph, "--quiet"]
        + preprocessing)
    try succeed(["verify", program, "--graph", graph, "--samples", "10", "--quiet"] + test)
    let outcome = try succeed(["eval", program, "--against", model, "--samples", "1000", "--json", "--quiet"] + test)
    #expect(try outcome.number("top1") >= outcome.number("against", "top1") - 0.5, "\(outcome.output)")
  }
}
