import Foundation
import Testing

/// What `qcc eval --against --json` prints.
private struct Evaluation: Decodable, Equatable {
  struct Pairing: Decodable, Equatable {
    var top1: Double
    var agreement: Double
    var wins: Int
    var losses: Int
  }
  var samples: Int
  var top1: Double
  var top5: Double
  var against: Pairing?
}

/// The digits sample from end to end, by the commands of its README.
@Suite("The digits sample")
struct DigitsTests {
  /// Of samples/mnist-resnet/expected.txt.
  private static let floatTop1: Double = {
    let text = (try? String(contentsOfFile: "\(QCC.digits)/expected.txt", encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("float-top1 ") }
    return line.flatMap { Double($0.dropFirst("float-top1 ".count)) } ?? .nan
  }()

  private func evaluate(_ arguments: [String]) throws -> Evaluation {
    let all = ["eval"] + arguments + ["--data", "\(QCC.digits)/data/test", "--json"]
    return try JSONDecoder().decode(Evaluation.self, from: try QCC.expectSuccess(all).output)
  }

  @Test(arguments: QCC.targets)
  func keepsItsAccuracy(target: String) throws {
    try withTemporaryFolder { folder in
      let program = "\(folder)/digits.qpk"
      try QCC.expectSuccess(
        ["\(QCC.digits)/model.onnx", "--target", target] + QCC.calibration + ["-o", program])
      let result = try evaluate([program, "--against", "\(QCC.digits)/model.onnx"])
      let float = try #require(result.against)
      #expect(result.samples == 1000)
      #expect(float.top1 == Self.floatTop1)
      #expect(result.top1 >= float.top1 - (target.hasSuffix("int4") ? 1 : 0.3))
      #expect(float.agreement >= (target.hasSuffix("int4") ? 99 : 99.7))
      #expect(result.top5 >= result.top1)
      #expect(abs(result.top1 - float.top1 - Double(float.wins - float.losses) / 10) < 1e-9)
      try QCC.expectSuccess(["run", program, "--self-test"])
      for processor in ["portable", "avx2"] {
        let again = try QCC.run([
          "eval", program, "--data", "\(QCC.digits)/data/test", "--json", "--cpu", processor,
        ])
        guard again.status != 69 else { continue }  // not this processor
        var portable = try JSONDecoder().decode(Evaluation.self, from: again.output)
        portable.against = result.against
        #expect(portable == result)
      }
    }
  }

  @Test func compilesToTheSameBytes() throws {
    try withTemporaryFolder { folder in
      let arguments = ["\(QCC.digits)/model.onnx", "--target", "arm-int4"] + QCC.calibration
      let short = "\(folder)/short.qpk"
      let long = "\(folder)/long.qpk"
      try QCC.expectSuccess(arguments + ["-o", short, "--threads", "1"])
      try QCC.expectSuccess(["compile"] + arguments + ["-o", long, "--threads", "2"])
      let bytes = try [short, long].map { try Data(contentsOf: URL(filePath: $0)) }
      #expect(bytes[0] == bytes[1])
    }
  }

  /// The same answers from a smaller file.
  @Test func compactFilesAnswerTheSame() throws {
    try withTemporaryFolder { folder in
      let files = ["plain", "compact"].map { "\(folder)/\($0).qpk" }
      for (file, flags) in zip(files, [[], ["--compact"]]) {
        try QCC.expectSuccess(
          ["\(QCC.digits)/model.onnx", "--target", "x86-int4", "--weight-bits", "3", "-O1", "-o", file]
            + flags
            + QCC.calibration)
      }
      let sizes = try files.map { try Data(contentsOf: URL(filePath: $0)).count }
      // Of 78 k weights all but 2.6 k have 3 bits in lanes of 4.
      #expect(sizes[1] < sizes[0] - 75_000 / 8 + 512)
      let answers = try files.map { try evaluate([$0]) }
      #expect(answers[0] == answers[1])
      try QCC.expectSuccess(["run", files[1], "--self-test"])
      let summary = try QCC.expectSuccess(["inspect", files[1]]).text
      #expect(summary.contains("compact"))
      // A graph has no compact form: said, not ignored.
      let graph = "\(folder)/graph.qir"
      let refused = try QCC.run([
        "\(QCC.digits)/model.onnx", "--target", "x86-int4", "--compact", "-o", graph,
      ])
      #expect(refused.status == 64 && refused.messages.contains("--compact is for programs"))
      #expect(!FileManager.default.fileExists(atPath: graph))
    }
  }

  @Test func compilesWithoutData() throws {
    try withTemporaryFolder { folder in
      let program = "\(folder)/digits.qpk"
      let outcome = try QCC.expectSuccess([
        "\(QCC.digits)/model.onnx", "--target", "x86-int8", "--preprocess", "\(QCC.digits)/preprocess.yaml",
        "--without-data", "analytic", "-o", program,
      ])
      #expect(outcome.messages.contains("data-free"))
      let top1 = try evaluate([program]).top1
      #expect(top1 >= Self.floatTop1 - 3)
    }
  }

  /// The default without data, with fewer steps than it takes.
  @Test func distillsWithoutData() throws {
    try withTemporaryFolder { folder in
      let flags = ["--target", "x86-int8", "--preprocess", "\(QCC.digits)/preprocess.yaml"]
      let arguments = ["compile", "\(QCC.digits)/model.onnx"] + flags + ["--print-pipeline"]
      func pipeline(_ more: [String]) throws -> String {
        String(decoding: try QCC.expectSuccess(arguments + more).output, as: UTF8.self)
      }
      #expect(try pipeline([]).contains("distill{"))
      for other in [["--data", "\(QCC.digits)/data/calibration"], ["--without-data", "analytic"]] {
        #expect(try !pipeline(other).contains("distill"))
      }
      let (graph, program) = ("\(folder)/digits.qir", "\(folder)/digits.qpk")
      let outcome = try QCC.expectSuccess([
        "opt", "\(QCC.digits)/model.onnx", "-o", graph, "--pass-pipeline",
        """
        canonical, insert-quantizers{target = x86-int8}, assign{target = x86-int8},
        distill{samples = 16, iterations = 10, input-range = [-0.42, 2.82]}, calibrate, gptq, correct-bias
        """,
      ])
      #expect(outcome.messages.contains("were distilled"))
      try QCC.expectSuccess([graph] + flags + ["-o", program])
      #expect(try evaluate([program]).top1 >= Self.floatTop1 - 3)
    }
  }
}
