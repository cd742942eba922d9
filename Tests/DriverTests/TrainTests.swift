import Foundation
import Testing

@Suite("qcc train on the digits")
struct TrainTests {
  private static let data = [
    "--data", "\(QCC.digits)/data/calibration", "--preprocess", "\(QCC.digits)/preprocess.yaml",
  ]
  private static let test = ["--test", "\(QCC.digits)/data/test", "--test-samples", "200"]
  private func train(_ arguments: [String]) -> [String] {
    ["train", "\(QCC.digits)/model.onnx", "--threads", "2"] + Self.data + arguments
  }
  private struct Report: Decodable {
    struct Row: Decodable {
      var subnetwork: String
      var top1: Double
    }
    var top1: [Row]
  }
  /// Of a graph or a program on test images, in percent.
  private func accuracy(_ model: String, _ more: [String] = []) throws -> Double {
    struct Accuracy: Decodable { var top1: Double }
    let answers = try QCC.expectSuccess(
      ["eval", model, "--data", "\(QCC.digits)/data/test", "--json"] + more)
    return try JSONDecoder().decode(Accuracy.self, from: answers.output).top1
  }

  /// A supernet, a sub-network picked by hand, its program: from training to running.
  @Test func supernetToProgram() throws {
    try withTemporaryFolder { folder in
      let supernet = "\(folder)/supernet.qir", program = "\(folder)/digits.qpk"
      let outcome = try QCC.expectSuccess(
        train(
          [
            "--elastic", "--target", "x86-int4", "--steps", "24", "--batch", "64", "--shard", "32",
            "--estimate-samples", "256", "--json",
          ]
            + ["-o", supernet] + Self.test))
      let report = try JSONDecoder().decode(Report.self, from: outcome.output)
      // Seven widths; weights per channel and per tensor; activations symmetric and not.
      #expect(report.top1.count == 28)
      for row in report.top1 where !row.subnetwork.hasPrefix("w2") {
        #expect(row.top1 > 90, "\(row.subnetwork): \(row.top1)")
      }
      let compiled = try QCC.expectSuccess(
        ["compile", supernet, "--target", "x86-int4", "--weight-bits", "3", "-o", program] + Self.data)
      #expect(compiled.text.contains("in float: none"))
      #expect(try accuracy(program) > 90)
    }
  }

  /// A second phase goes on from the weights and steps of a supernet, with other sub-networks.
  @Test func supernetsAreTrainedOn() throws {
    try withTemporaryFolder { folder in
      let first = "\(folder)/first.qir", second = "\(folder)/second.qir"
      let steps = ["--elastic", "--batch", "64", "--shard", "32", "--steps"]
      try QCC.expectSuccess(train(steps + ["16", "--target", "x86-int4", "-o", first]))
      func on(_ more: [String]) throws -> Outcome {
        try QCC.run(["train", first] + Self.data + steps + ["4", "--threads", "2", "-o", second] + more)
      }
      // A target is known by its name, wherever its file lies.
      let target = "\(folder)/renamed.yaml"
      try FileManager.default.copyItem(
        atPath: "\(QCC.packageRoot)/passes/targets/x86-int4.yaml", toPath: target)
      let outcome = try on(
        [
          "--target", target, "--avg-bits", "2.2:4", "--subnetworks", "2", "--no-narrowest", "--test-bits",
          "3", "--json",
        ]
          + Self.test)
      #expect(outcome.status == 0, "\(outcome.messages)")
      let rows = try JSONDecoder().decode(Report.self, from: outcome.output).top1
      #expect(rows.count == 4 && rows.allSatisfy { $0.top1 > 90 }, "\(rows)")
      let bytes = try [first, second].map { try Data(contentsOf: URL(filePath: $0)) }
      #expect(bytes[0] != bytes[1])
      for (flags, text) in [
        (["--target", "x86-int8"], "x86-int4"), (["--distill", "0.5"], "--teacher"),
        (["--test", "\(QCC.digits)/data/test", "--test-bits", "9"], "not legal"),
        (["--avg-bits", "5:2"], "--avg-bits"), (["--avg-bits", "3"], "--avg-bits"),
        (["--subnetworks", "0", "--no-narrowest"], "--subnetworks"),
      ] {
        let refused = try on(flags)
        #expect(refused.status == 64 && refused.messages.contains(text), "\(refused.messages)")
      }
      // One width for all needs the float network.
      let widths = try QCC.run(
        ["train", first, "--bits", "w4a4", "--target", "x86-int4", "-o", second] + Self.data)
      #expect(widths.status != 0 && widths.messages.contains("float network"))
    }
  }

  @Test func givenWidthsAnswerAsTrainedWhenCompiled() throws {
    try withTemporaryFolder { folder in
      let trained = "\(folder)/trained.qir", lowered = "\(folder)/lowered.qir"
      let outcome = try QCC.expectSuccess(
        train(
          [
            "--bits", "w4a4", "--target", "x86-int4", "--steps", "30", "--batch", "64", "--shard", "32",
            "--json",
          ]
            + ["-o", trained] + Self.test))
      let top1 = try #require(JSONDecoder().decode(Report.self, from: outcome.output).top1.first).top1
      #expect(top1 > 93)
      try QCC.expectSuccess(
        ["compile", trained, "--target", "x86-int4", "-o", lowered] + Self.data)
      let integers = try accuracy(lowered, ["--samples", "200"] + Self.data.suffix(2))
      #expect(abs(integers - top1) <= 1.5)
    }
  }

  @Test func interruptedRunsEndWithTheSameBytes() throws {
    try withTemporaryFolder { folder in
      func arguments(_ name: String, _ more: [String]) -> [String] {
        train(["--bits", "w2a4", "--target", "x86-int4", "--steps", "12", "--batch", "32", "--shard", "16"])
          + ["--samples", "128", "--random-crop", "2", "-o", "\(folder)/\(name).qir"] + more
      }
      try QCC.expectSuccess(arguments("whole", []))
      let checkpoint = ["--checkpoint", "\(folder)/run.safetensors", "--checkpoint-every", "1"]
      // Ends itself by SIGINT as soon as the first checkpoint is there.
      let process = try QCC.start(arguments("parts", checkpoint))
      while process.isRunning, !FileManager.default.fileExists(atPath: checkpoint[1]) { usleep(2000) }
      process.interrupt()
      process.waitUntilExit()
      #expect(process.terminationStatus == 130 || process.terminationStatus == 0)
      let rest = try QCC.expectSuccess(arguments("parts", checkpoint))
      if process.terminationStatus == 130 { #expect(rest.messages.contains("goes on behind step")) }
      for suffix in ["qir", "safetensors"] {
        let bytes = try ["whole", "parts"].map {
          try Data(contentsOf: URL(filePath: "\(folder)/\($0).\(suffix)"))
        }
        #expect(bytes[0] == bytes[1], "\(suffix) differs")
      }
      // The checkpoint fits that run alone.
      let other = try QCC.run(arguments("other", checkpoint + ["--learning-rate", "0.1"]))
      #expect(other.status == 64 && other.messages.contains("of another run"))
    }
  }

  @Test(arguments: [
    (["--elastic"], 64, "--target"), (["--bits", "w9a4", "--target", "x86-int4"], 64, "w4a4"),
    (["--bits", "w1a4", "--target", "x86-int4"], 64, "not legal"),
    (["--steps", "3", "--epochs", "2"], 64, "one of"), (["--time-budget", "5x"], 64, "2h"),
    (["--shard", "1"], 64, "--shard"), (["--mixup"], 64, "--distill 1"),
    (["--average", "0.5"], 64, "--least-rate"), (["--teacher", "x.onnx"], 64, "--distill"),
    (["--average", "1.5", "--schedule", "constant"], 64, "--average"),
    (["--least-rate", "0.1", "--schedule", "one-cycle"], 64, "cosine"),
    (["--test-bits", "2"], 64, "--test-bits"), (["--avg-bits", "2:4"], 64, "--avg-bits"),
    (["--bits", "w4a4"], 64, "--target"), (["--target", "x86-int4"], 64, "--target"),
    (
      ["--elastic", "--target", "x86-int4", "--test", "\(QCC.digits)/data/test", "--test-bits", "9"], 64,
      "not legal"
    ),
    (["--elastic", "--bits", "w4a4", "--target", "x86-int4"], 64, "not both"),
    (
      ["--learning-rate", "3e38", "--steps", "9", "--clip", "1e30", "--optimizer", "sgd"], 2,
      "--learning-rate"
    ),
    (
      [
        "--bits", "w2a4", "--target", "x86-int4", "--learning-rate", "3e38", "--steps", "9", "--clip", "1e30",
        "--optimizer", "sgd",
      ], 2, "--learning-rate"
    ),
  ])
  func badFlagsAreNamed(_ arguments: [String], _ status: Int32, _ text: String) throws {
    try withTemporaryFolder { folder in
      let outcome = try QCC.run(train(arguments + ["-o", "\(folder)/x.qir"]))
      #expect(outcome.status == status && outcome.messages.contains(text), "\(outcome.messages)")
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/x.qir"))
    }
  }

  /// What was trained in float is a float network like any other: folded, and compiled as one.
  @Test func trainedInFloatThenCompiled() throws {
    try withTemporaryFolder { folder in
      let tuned = "\(folder)/tuned.qir", program = "\(folder)/tuned.qpk"
      let outcome = try QCC.expectSuccess(
        train(["--batch", "64", "--shard", "32", "--steps", "8", "--json", "-o", tuned] + Self.test))
      let top1 = try #require(JSONDecoder().decode(Report.self, from: outcome.output).top1.first).top1
      let text = try String(contentsOfFile: tuned, encoding: .utf8)
      #expect(!text.contains("batch-norm("))
      try QCC.expectSuccess(
        ["compile", tuned, "--target", "x86-int8", "-O1", "-o", program] + Self.data)
      let folded = try accuracy(tuned, ["--samples", "200"] + Self.data.suffix(2))
      let integers = try accuracy(program, ["--samples", "200"])
      #expect(folded == top1 && abs(integers - top1) <= 1)
    }
  }

  /// The network to train is its own teacher unless another is named, in float too.
  @Test func teachersAreNamed() throws {
    try withTemporaryFolder { folder in
      let short = ["--batch", "32", "--shard", "16", "--samples", "64"]
      let tuned = "\(folder)/tuned.qir"
      try QCC.expectSuccess(
        train(short + ["--steps", "4", "--learning-rate", "1e-2", "-o", tuned]))
      func trained(_ name: String, _ more: [String]) throws -> Data {
        try QCC.expectSuccess(
          train(
            short + ["--bits", "w2a4", "--target", "x86-int4", "--steps", "3", "--distill", "1"]
              + ["-o", "\(folder)/\(name).qir"] + more))
        return try Data(contentsOf: URL(filePath: "\(folder)/\(name).safetensors"))
      }
      let own = try trained("own", [])
      #expect(own == (try trained("itself", ["--teacher", "\(QCC.digits)/model.onnx"])))
      #expect(own != (try trained("other", ["--teacher", tuned])))
      // A supernet has to be told.
      let supernet = "\(folder)/supernet.qir"
      let elastic = short + ["--elastic", "--steps", "1", "--threads", "2"]
      try QCC.expectSuccess(train(elastic + ["--target", "x86-int4", "-o", supernet]))
      let on = ["train", supernet] + Self.data + elastic + ["-o", "\(folder)/on.qir", "--distill", "0.5"]
      try QCC.expectSuccess(on + ["--teacher", tuned])
      for (teacher, status, text) in [
        ("\(QCC.samples)/tiny/gemm.onnx", 1, "the teacher takes"), ("\(folder)/none.onnx", 66, "none.onnx"),
        ("\(folder)/own.qir", 64, "not float"),
      ] {
        let refused = try QCC.run(on + ["--teacher", teacher])
        #expect(refused.status == Int32(status) && refused.messages.contains(text), "\(refused.messages)")
      }
    }
  }

  @Test func trainingWithoutLabelsIsRefused() throws {
    let outcome = try QCC.run(
      ["train", "\(QCC.samples)/tiny/gemm.onnx", "--data", "\(QCC.samples)/tiny/gemm.input.npy"])
    #expect(outcome.status == 1 && outcome.messages.contains("labels"))
  }
}
