import Foundation
import Testing

/// What `qcc compare --json` prints.
private struct Comparison: Decodable {
  struct Site: Decodable {
    var site: String
    var form: String
    var local: Double?
    var output: Double?
    var cause: String
    enum CodingKeys: String, CodingKey {
      case site, form, cause
      case local = "local-db"
      case output = "output-db"
    }
  }
  var samples: Int
  var sites: [Site]
}

/// What `qcc bisect --json` prints.
private struct Bisection: Decodable {
  struct Quality: Decodable { var top1: Double? }
  struct Guilty: Decodable {
    struct Site: Decodable { var site: String }
    var quality: Quality
    var sites: [Site]
  }
  var complete: Bool
  var float: Quality
  var all: Quality
  var guilty: [Guilty]
  var others: Quality
}

/// `qcc compare` and `qcc bisect` on the digits sample.
@Suite("qcc compare and bisect", .serialized)
struct ExplainTests {
  private static let model = "\(QCC.digits)/model.onnx"
  private static let test = [
    "--data", "\(QCC.digits)/data/test", "--samples", "128", "--preprocess", "\(QCC.digits)/preprocess.yaml",
  ]

  /// The sample at so few bits inside that it suffers.
  private func assigned(_ folder: String) throws -> String {
    let path = "\(folder)/assigned.qir"
    try QCC.expectSuccess(
      [
        "opt", "--pass-pipeline",
        "canonical, insert-quantizers{target = x86-int4}, assign{target = x86-int4, weight-bits = 2}, calibrate, correct-bias",
        Self.model, "-o", path,
      ] + QCC.calibration)
    return path
  }

  @Test func comparesSites() throws {
    try withTemporaryFolder { folder in
      let path = try assigned(folder), svg = "\(folder)/sites.svg"
      let arguments = ["compare", path, "--against", Self.model] + Self.test
      let outcome = try QCC.expectSuccess(arguments + ["--json", "--svg", svg])
      let report = try JSONDecoder().decode(Comparison.self, from: outcome.output)
      #expect(report.samples == 128)
      #expect(report.sites.contains { $0.form == "w2" } && report.sites.contains { $0.form == "a8" })
      let outputs = report.sites.compactMap(\.output)
      #expect(outputs == outputs.sorted(), "the worst come first")
      #expect(report.sites.first?.form == "w2")
      #expect(try String(contentsOfFile: svg, encoding: .utf8).hasPrefix("<svg"))
      let one = try QCC.expectSuccess(arguments + ["--threads", "1", "--json"])
      #expect(one.output == outcome.output)
      let table = try QCC.expectSuccess(arguments + ["--sort", "local", "--limit", "3"]).text
      for part in ["site", "cumul.", "more; --limit 0 shows all", "What to do:", "--pin '"] {
        #expect(table.contains(part), "\(table)")
      }
      #expect(try QCC.run(arguments + ["--min-sqnr", "60"]).status == 2)
    }
  }

  @Test func comparesPrograms() throws {
    try withTemporaryFolder { folder in
      let program = "\(folder)/model.qpk", lowered = "\(folder)/model.qir"
      try QCC.expectSuccess(
        [Self.model, "--target", "x86-int8", "-o", program, "--save-graph", lowered, "--quiet"]
          + QCC.calibration)
      for path in [program, lowered] {
        let text = try QCC.expectSuccess(
          ["compare", path, "--against", Self.model, "--sort", "graph"] + Self.test
        ).text
        #expect(text.contains("/body/body.0/Add") && text.contains("logits"), "\(text)")
        #expect(text.contains("(scale fitted)") == (path == program))
      }
      // A model is itself.
      let same = try QCC.expectSuccess(["compare", Self.model, "--against", Self.model] + Self.test).text
      #expect(same.contains("exact") && !same.contains("against"))
    }
  }

  @Test func findsTheGuilty() throws {
    try withTemporaryFolder { folder in
      let path = try assigned(folder)
      let arguments = ["bisect", path, "--against", Self.model] + Self.test
      let outcome = try QCC.expectSuccess(arguments + ["--max-drop", "1", "--json", "--all"])
      let report = try JSONDecoder().decode(Bisection.self, from: outcome.output)
      #expect(report.complete)
      let before = try #require(report.float.top1), guilty = try #require(report.guilty.first)
      #expect(before - (report.all.top1 ?? 100) > 1)
      #expect(before - (guilty.quality.top1 ?? 100) > 1)
      #expect(guilty.sites.allSatisfy { $0.site.hasSuffix(".weight") })
      #expect(before - (report.others.top1 ?? 0) <= 1)
      let again = try QCC.expectSuccess(arguments + ["--max-drop", "1", "--json", "--all", "--threads", "1"])
      #expect(again.output == outcome.output)
      let innocent = try QCC.expectSuccess(arguments + ["--max-drop", "100"]).text
      #expect(innocent.contains("nobody is guilty"), "\(innocent)")
      let noise = try QCC.expectSuccess(arguments + ["--min-sqnr", "20"]).text
      #expect(noise.contains("smallest set that has less than 20.0 dB"), "\(noise)")
    }
  }

  @Test func badInput() throws {
    try withTemporaryFolder { folder in
      let path = try assigned(folder), other = "\(QCC.samples)/tiny/grouped.onnx"
      func expectFailure(_ status: Int32, _ arguments: [String], _ text: String) throws {
        let outcome = try QCC.run(arguments)
        #expect(outcome.status == status, "\(arguments): \(outcome.messages)")
        #expect(outcome.messages.contains(text), "\(arguments): \(outcome.messages)")
      }
      try expectFailure(64, ["compare", path, "--against", Self.model], "needs --data")
      try expectFailure(64, ["compare", path, "--against", path] + Self.test, "is assigned, not float")
      try expectFailure(
        1, ["compare", path, "--against", other] + Self.test, "the float network has no layer")
      try expectFailure(64, ["compare", path], "--against")
      try expectFailure(
        64, ["compare", path, "--against", Self.model, "--sort", "size"] + Self.test, "--sort")
      try expectFailure(
        64, ["bisect", path, "--against", Self.model] + Self.test, "either --max-drop or --min-sqnr")
      try expectFailure(64, ["bisect", path, "--max-drop=-1"] + Self.test, "0 to 100 points")
      try expectFailure(1, ["bisect", Self.model, "--max-drop", "1"] + Self.test, "no calibrated quantizers")
      try expectFailure(66, ["bisect", "\(folder)/none.qir", "--max-drop", "1"] + Self.test, "none.qir")
    }
  }

  @Test func warnsOfInputs() throws {
    try withTemporaryFolder { folder in
      let arguments = [
        Self.model, "--target", "x86-int8", "-o", "\(folder)/model.qpk", "--data",
        "\(QCC.digits)/data/calibration",
        "--samples", "32",
      ]
      let wrong = try QCC.expectSuccess(arguments + ["--scale", "1"])
      for part in ["do not look as the network expects", "times too large", "scale, mean and std"] {
        #expect(wrong.messages.contains(part), "\(wrong.messages)")
      }
      let right = try QCC.expectSuccess(arguments + ["--preprocess", "\(QCC.digits)/preprocess.yaml"])
      #expect(!right.messages.contains("do not look"), "\(right.messages)")
      let compared = try QCC.expectSuccess([
        "compare", "\(folder)/model.qpk", "--against", Self.model, "--data", "\(QCC.digits)/data/test",
        "--samples", "16", "--scale", "1",
      ])
      #expect(compared.messages.contains("do not look as the network expects"), "\(compared.messages)")
    }
  }
}
