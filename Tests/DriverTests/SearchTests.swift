import Foundation
import Testing

/// What `qcc search --json` prints.
private struct SearchOutcome: Decodable {
  struct Result: Decodable {
    var bytes: Int
    var samples: Int
    var top1: Double?
    var averageBits: Double
    enum CodingKeys: String, CodingKey {
      case bytes, samples, top1
      case averageBits = "average-bits"
    }
  }
  var result: Result
}

/// `qcc search` on the digits sample, from flags to programs.
@Suite("qcc search", .serialized)
struct SearchTests {
  private func search(_ folder: String, _ arguments: [String]) throws -> Outcome {
    try QCC.run(
      [
        "search", "\(QCC.digits)/model.onnx", "--target", "x86-int4", "--cache", "\(folder)/cache",
        "--score-samples", "16",
      ]
        + QCC.calibration + arguments)
  }

  @Test func searchesCompilesAndKeepsToTheSize() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/assignment.json"
      let outcome = try search(
        folder, ["--size", "48K", "--test", "\(QCC.digits)/data/test", "--json", "-o", path])
      try #require(outcome.status == 0, "\(outcome.messages)")
      let report = try JSONDecoder().decode(SearchOutcome.self, from: outcome.output)
      #expect(report.result.bytes <= 48_000)
      #expect(report.result.samples == 1000)
      #expect((report.result.top1 ?? 0) > 98)
      // The same assignment by the compiler: the program differs by what it records about itself alone.
      let program = "\(folder)/model.qpk"
      try QCC.expectSuccess(
        ["\(QCC.digits)/model.onnx", "--target", "x86-int4", "--assignment", path, "-o", program, "--quiet"]
          + QCC.calibration)
      let bytes = try Data(contentsOf: URL(filePath: program)).count
      #expect(abs(bytes - report.result.bytes) < 2048)
      // A second run reads the cache, on another number of threads, and writes the same bytes.
      let again = "\(folder)/again.json"
      let second = try search(folder, ["--size", "48K", "-o", again, "--threads", "1"])
      try #require(second.status == 0, "\(second.messages)")
      let files = try [path, again].map { try Data(contentsOf: URL(filePath: $0)) }
      #expect(files[0] == files[1])
    }
  }

  /// Where the file keeps 3 bits in 3, more bits fit into a size.
  @Test func compactSizesBuyBits() throws {
    try withTemporaryFolder { folder in
      func report(_ flags: [String]) throws -> SearchOutcome.Result {
        let outcome = try search(
          folder, ["--size", "42K", "--json", "-o", "\(folder)/assignment.json"] + flags)
        try #require(outcome.status == 0, "\(outcome.messages)")
        let report = try JSONDecoder().decode(SearchOutcome.self, from: outcome.output)
        #expect(report.result.bytes <= 42_000)
        return report.result
      }
      let (compact, plain) = (try report(["--compact"]), try report([]))
      #expect(compact.averageBits > plain.averageBits)
    }
  }

  @Test(arguments: ["hessian", "eigenvalue"])
  func scoresFromSecondDerivatives(score: String) throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/assignment.json"
      let outcome = try search(
        folder, ["--avg-bits", "4", "--weight-bits", "8,4,2", "--score", score, "--json", "-o", path])
      try #require(outcome.status == 0, "\(outcome.messages)")
      let report = try JSONDecoder().decode(SearchOutcome.self, from: outcome.output)
      #expect(report.result.averageBits <= 4)
      #expect(try String(contentsOfFile: path, encoding: .utf8).contains("\"score\""))
      // No form was run, so that nothing is said about noise behind it.
      #expect(String(decoding: outcome.output, as: UTF8.self).contains("\"output-sqnr-db\": null"))
    }
  }

  @Test func sweepsAndBisects() throws {
    try withTemporaryFolder { folder in
      let sweep = try search(folder, ["--pareto", "\(folder)/front", "--points", "3"])
      try #require(sweep.status == 0, "\(sweep.messages)")
      let csv = try String(contentsOfFile: "\(folder)/front.csv", encoding: .utf8)
      #expect(csv.split(separator: "\n").count == 4)
      #expect(try String(contentsOfFile: "\(folder)/front.svg", encoding: .utf8).hasPrefix("<svg"))
      _ = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: "\(folder)/front.json")))
      let path = "\(folder)/assignment.json"
      let bisection = try search(
        folder,
        [
          "--max-drop", "1", "--minimize", "avg-bits", "--test", "\(QCC.digits)/data/test", "-o", path,
          "--json",
        ])
      try #require(bisection.status == 0, "\(bisection.messages)")
      let report = try JSONDecoder().decode(SearchOutcome.self, from: bisection.output)
      #expect(report.result.averageBits < 8)
      #expect((report.result.top1 ?? 0) > 98)
    }
  }

  @Test func budgetsThatCannotBeKept() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/assignment.json"
      let outcome = try search(folder, ["--size", "10K", "-o", path])
      #expect(outcome.status == 3)
      for part in ["error: no assignment has size of at most 10000 bytes", "feasible: ", "most of the least"]
      {
        #expect(outcome.messages.contains(part), "\(outcome.messages)")
      }
      #expect(!FileManager.default.fileExists(atPath: path))
    }
  }

  @Test(arguments: [
    [], ["--size", "large"], ["--size", "80us"], ["--latency", "10K"], ["--avg-bits", "-1"],
    ["--avg-bits", "4", "--weight-bits", "9"], ["--avg-bits", "4", "--score", "magic"],
    ["--avg-bits", "4", "--pin", "conv1"], ["--avg-bits", "4", "--minimize", "size"],
    ["--max-drop", "-1"], ["--max-drop", "1", "--pareto", "p"], ["--pareto", "p", "--points", "1"],
    ["--avg-bits", "4", "--test-samples", "5"], ["--avg-bits", "4", "--seconds", "0"],
  ])
  func wrongFlags(arguments: [String]) throws {
    try withTemporaryFolder { folder in
      let outcome = try search(folder, arguments)
      #expect(outcome.status == 64, "\(arguments): \(outcome.messages)")
      #expect(outcome.messages.lowercased().contains("error: "))
      #expect(outcome.output.isEmpty)
    }
  }

  @Test func assignmentsOfAnotherNetwork() throws {
    try withTemporaryFolder { folder in
      let path = "\(folder)/a.json"
      try
        #"{"format": "qcc-assignment-1", "target": "x86-int4", "sites": [{"site": "x", "role": "weight", "bits": 4, "granularity": "channel", "symmetry": "symmetric"}]}"#
        .write(toFile: path, atomically: true, encoding: .utf8)
      let outcome = try QCC.run(
        ["\(QCC.digits)/model.onnx", "--target", "x86-int4", "--assignment", path, "-o", "\(folder)/m.qpk"]
          + QCC.calibration)
      #expect(outcome.status == 1)
      #expect(outcome.messages.contains("no weight quantizer 'x'"))
    }
  }
}
