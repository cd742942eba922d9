import Foundation
import Testing

@Suite("Measuring and tuning")
struct BenchTests {
  private static let model = "\(QCC.samples)/tiny/relu6-opset11.onnx"
  private static let input = "\(QCC.samples)/tiny/relu6-opset11.input.npy"

  private func withProgram(_ body: (_ program: String, _ folder: String) throws -> Void) throws {
    try withTemporaryFolder { folder in
      let program = "\(folder)/network.qpk"
      try QCC.expectSuccess([Self.model, "--target", "x86-int8", "-o", program])
      try body(program, folder)
    }
  }

  private func object(_ output: Data) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: output) as? [String: Any])
  }

  @Test func reportsWhereTheTimeGoes() throws {
    try withProgram { program, _ in
      let report = try object(try QCC.expectSuccess(["bench", program, "--runs", "3", "--json"]).output)
      let operations = try #require(report["operations"] as? [[String: Any]])
      #expect(!operations.isEmpty)
      for operation in operations {
        let minimum = try #require(operation["microseconds"] as? Double)
        #expect(minimum <= (operation["medianMicroseconds"] as? Double ?? 0))
        #expect((operation["bytesMoved"] as? Int ?? 0) > 0)
      }
      let path = try #require(report["criticalPath"] as? [String: Any])
      let length = try #require(path["microseconds"] as? Double)
      #expect(length <= (path["ofMicroseconds"] as? Double ?? 0))
      let indices = try #require(path["instructions"] as? [Int])
      #expect(indices == indices.sorted() && indices.allSatisfy { operations.indices.contains($0) })
      let sum = indices.reduce(0) { $0 + (operations[$1]["microseconds"] as? Double ?? 0) }
      #expect(abs(sum - length) < 1e-3 * length)
      #expect(try QCC.expectSuccess(["bench", program, "--runs", "2"]).text.contains("critical path"))
    }
  }

  /// Of two branches that are added, only the slower one is waited for.
  @Test func followsTheSlowerBranch() throws {
    try withTemporaryFolder { folder in
      let program = "\(folder)/digits.qpk"
      try QCC.expectSuccess(["\(QCC.digits)/model.onnx", "--target", "x86-int8", "-o", program])
      let report = try object(try QCC.expectSuccess(["bench", program, "--runs", "5", "--json"]).output)
      let operations = try #require(report["operations"] as? [[String: Any]])
      let path = try #require((report["criticalPath"] as? [String: Any])?["instructions"] as? [Int])
      let left = operations.indices.filter { !path.contains($0) }.map {
        operations[$0]["name"] as? String ?? ""
      }
      #expect(left.count == 2 && left.allSatisfy { $0.contains("shortcut") }, "\(left)")
    }
  }

  @Test func measuresTheMachine() throws {
    let report = try object(try QCC.expectSuccess(["bench", "--peak", "--json"]).output)
    #expect((report["gigahertz"] as? Double ?? 0) > 0.05)
    let memory = try #require(report["memory"] as? [[String: Any]])
    #expect(memory.allSatisfy { ($0["gigabytesPerSecond"] as? Double ?? 0) > 0 })
  }

  @Test func comparesProgramsByOperation() throws {
    try withProgram { program, folder in
      let other = "\(folder)/other.qpk"
      try QCC.expectSuccess([Self.model, "--target", "x86-int4", "-o", other])
      let output = try QCC.expectSuccess(["bench", program, "--compare", other, "--runs", "3", "--json"])
        .output
      let operations = try #require(try object(output)["operations"] as? [[String: Any]])
      #expect(operations.contains { $0["first"] is NSNull == false && $0["second"] is NSNull == false })
    }
  }

  @Test func measuresOnRequest() throws {
    try withProgram { program, _ in
      let lines = try QCC.expectSuccess(["bench", program, "--serve"], input: Data("1\n0\n".utf8)).text.split(
        separator: "\n")
      #expect(lines.count == 2)
      for line in lines {
        let report = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Double]
        #expect(Set(try #require(report).keys) == ["minimum", "median", "runs"])
      }
      #expect(try QCC.run(["bench", program, "--serve"], input: Data("soon\n".utf8)).status == 64)
      #expect(try QCC.expectSuccess(["bench", program, "--repeat", "2"]).text.isEmpty)
    }
  }

  @Test(arguments: [
    ["bench"], ["bench", "x.qpk", "--in-place"], ["bench", "x.qpk", "--tune", "--serve"],
    ["bench", "x.qpk", "--peak"], ["kernels", "--time"], ["kernels", "--shape", "3x3,64-64"],
    ["kernels", "--shape", "3x3,64-63,@5x5,dw"], ["kernels", "--shape", "3x3,8-8,@5x5,bits=9"],
    ["kernels", "--shape", "65535x65535,65535-65535,@65535x65535"], ["kernels", "--shape", "0x3,8-8,@5x5"],
    ["kernels", "--shape", "="], ["kernels", "--shape", "3x3,=,8-8,@5x5"], ["kernels", "--shape", ""],
    ["kernels", "--shape", "3x3,8-8,@5x5,bits=1,groups=2"],
  ])
  func refuses(arguments: [String]) throws { #expect(try QCC.run(arguments).status == 64) }

  @Test(arguments: [
    "3x3,16-16,@8x8", "3x3,3-32,@9x7,stride=2", "5x5,8-8,@6x6,dw,stride=2", "1x1,64-20,@1x1,bits=4",
    "3x1,8-12,@4x4,groups=4,dilation=2,pad=none,bits=4", "3x3,40-20,@5x5,bits=2", "3x3,40-20,@5x5,bits=1",
    "1x1,40-20,@5x5,bits=ternary,activations=2", "3x3 40-20 @5x5 bits=palette",
  ])
  func listsCandidatesOfLayers(shape: String) throws {
    let output = try QCC.expectSuccess(["kernels", "--shape", shape, "--time", "--runs", "2", "--json"])
      .output
    let candidates = try #require(try JSONSerialization.jsonObject(with: output) as? [[String: Any]])
    #expect(candidates.filter { $0["isPick"] as? Bool == true }.count == 1)
    #expect(candidates.allSatisfy { ($0["microseconds"] as? Double ?? 0) > 0 })
    #expect(candidates.contains { ($0["kernel"] as? String ?? "").hasSuffix("_portable") })
  }

  // MARK: Tuning

  @Test func remembersTunings() throws {
    try withProgram { program, folder in
      let environment = ["XDG_CACHE_HOME": "\(folder)/cache"]
      let plain = try QCC.expectSuccess(["run", program, "--input", Self.input, "--no-tuning"]).text
      try QCC.expectSuccess(["bench", program, "--tune", "--runs", "3"], environment: environment)
      let stored = try file(in: "\(folder)/cache/qcc/tuning")
      let text = try String(contentsOfFile: stored, encoding: .utf8)
      #expect(text.hasPrefix("qcc-tuning 1\n"))
      let tuned = try QCC.expectSuccess(["run", program, "--input", Self.input], environment: environment)
      #expect(tuned.text == plain && tuned.messages.isEmpty)
    }
  }

  @Test func keepsTuningsInPrograms() throws {
    try withProgram { program, folder in
      let cache = "\(folder)/cache", environment = ["XDG_CACHE_HOME": cache]
      let before = try QCC.expectSuccess(["run", program, "--input", Self.input, "--no-tuning"]).text
      try QCC.expectSuccess(
        ["bench", program, "--tune", "--in-place", "--runs", "3"], environment: environment)
      let size = try Data(contentsOf: URL(filePath: program)).count
      // Again: the record is replaced, not added.
      try QCC.expectSuccess(
        ["bench", program, "--tune", "--in-place", "--runs", "3"], environment: environment)
      #expect(abs(try Data(contentsOf: URL(filePath: program)).count - size) < 500)
      try FileManager.default.removeItem(atPath: cache)
      let after = try QCC.expectSuccess(["run", program, "--input", Self.input], environment: environment)
      #expect(after.text == before && after.messages.isEmpty)
    }
  }

  /// Nothing that lies in the cache's place changes a result or stops a run.
  @Test func ignoresWhatIsNoTuning() throws {
    try withProgram { program, folder in
      let environment = ["XDG_CACHE_HOME": "\(folder)/cache"]
      let run = ["run", program, "--input", Self.input]
      try QCC.expectSuccess(["bench", program, "--tune", "--runs", "2"], environment: environment)
      let plain = try QCC.expectSuccess(run + ["--no-tuning"], environment: environment).text
      let stored = try file(in: "\(folder)/cache/qcc/tuning")
      let good = try Data(contentsOf: URL(filePath: stored))
      func expectWarning(_ contents: Data, _ mention: String) throws {
        try contents.write(to: URL(filePath: stored))
        let outcome = try QCC.expectSuccess(run, environment: environment)
        #expect(outcome.text == plain)
        #expect(outcome.messages.contains(mention), "\(outcome.messages)")
        #expect(try QCC.expectSuccess(run + ["--no-tuning"], environment: environment).messages.isEmpty)
      }
      for length in stride(from: 1, to: good.count, by: 7) {
        try expectWarning(good.prefix(length), "damaged")
      }
      for position in stride(from: 0, to: good.count, by: 11) {
        var bad = good
        bad[position] ^= 1
        try expectWarning(bad, "damaged")
      }
      try expectWarning(Data(repeating: 0xFF, count: 1000), "damaged")
      try expectWarning(Data(repeating: 10, count: 2 << 20), "damaged")
      try FileManager.default.removeItem(atPath: stored)
      #expect(mkfifo(stored, 0o600) == 0)
      #expect(try QCC.expectSuccess(run, environment: environment).text == plain)
    }
  }

  private func file(in folder: String) throws -> String {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    try #require(names.count == 1)
    return "\(folder)/\(names[0])"
  }
}
