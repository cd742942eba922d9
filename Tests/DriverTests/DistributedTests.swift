import Foundation
import Testing

private let hasMPI: Bool = {
  let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
  let isThere = folders.contains { FileManager.default.isExecutableFile(atPath: "\($0)/mpirun") }
  if !isThere { print("skipped: training with several processes; there is no mpirun (install openmpi-bin)") }
  return isThere
}()

@Suite("Several processes under mpirun", .enabled(if: hasMPI))
struct DistributedTests {
  private func mpirun(_ ranks: Int) -> [String] {
    ["mpirun", "-n", "\(ranks)", "--oversubscribe", "--allow-run-as-root"]
  }
  private static let data = [
    "--data", "\(QCC.digits)/data/calibration", "--preprocess", "\(QCC.digits)/preprocess.yaml", "--samples",
    "128",
  ]
  private func train(_ arguments: [String]) -> [String] {
    [
      "train", "\(QCC.digits)/model.onnx", "--target", "x86-int4", "--batch", "32", "--shard", "8",
      "--threads", "1",
    ]
      + Self.data + arguments
  }
  private struct Report: Decodable {
    struct Row: Decodable, Equatable {
      var subnetwork: String
      var top1: Double
    }
    var top1: [Row]
  }
  private func expectSameFiles(_ names: [String], _ others: [String]) throws {
    for (name, other) in zip(names, others) {
      let isSame =
        try Data(contentsOf: URL(filePath: name)) == Data(contentsOf: URL(filePath: other))
      #expect(isSame, "\(name) and \(other) differ")
    }
  }

  @Test func trainsAndSearchesWithTheBytesOfOne() throws {
    try withTemporaryFolder { folder in
      var reports: [[Report.Row]] = [], found: [Data] = []
      for (name, launcher) in [("one", []), ("two", mpirun(2))] {
        let supernet = "\(folder)/\(name).qir"
        let trained = try QCC.expectSuccess(
          train(["--elastic", "--steps", "4", "--estimate-samples", "64", "--json", "-o", supernet])
            + ["--test", "\(QCC.digits)/data/test", "--test-samples", "64"], under: launcher)
        reports.append(try JSONDecoder().decode(Report.self, from: trained.output).top1)
        let search =
          [
            "search", supernet, "--target", "x86-int4", "--avg-bits", "3", "--pairs", "10", "--generations",
            "5",
          ]
          + ["--measure-samples", "64", "--estimate-samples", "32", "--cache", "\(folder)/\(name)", "--json"]
          + ["-o", "\(folder)/\(name).json"] + Self.data
        found.append(try QCC.expectSuccess(search, under: launcher).output)
      }
      #expect(reports[0] == reports[1] && reports[0].count == 28)
      #expect(found[0] == found[1])
      let files = try ["one", "two"].map { name in
        let kept = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(name)")
        return ["qir", "safetensors", "json"].map { "\(folder)/\(name).\($0)" }
          + kept.sorted().map { "\(folder)/\(name)/\($0)" }
      }
      // Measurements of many, and of the finalists.
      #expect(files.map(\.count) == [5, 5])
      try expectSameFiles(files[0], files[1])
    }
  }

  private enum Ending: CaseIterable { case killedRank, interruption }

  @Test(arguments: Ending.allCases) private func goesOnBehindTheLastCheckpoint(_ ending: Ending) throws {
    try withTemporaryFolder { folder in
      func arguments(_ name: String, _ more: [String] = []) -> [String] {
        train(["--bits", "w2a4", "--steps", "100", "-o", "\(folder)/\(name).qir"] + more)
      }
      try QCC.expectSuccess(arguments("whole"))
      let checkpoint = ["--checkpoint", "\(folder)/run.ckpt", "--checkpoint-every", "1"]
      let process = try QCC.start(arguments("parts", checkpoint), under: mpirun(2))
      while process.isRunning, !FileManager.default.fileExists(atPath: checkpoint[1]) { usleep(2000) }
      switch ending {
      case .killedRank: for rank in children(of: process.processIdentifier).suffix(1) { kill(rank, SIGKILL) }
      case .interruption: process.interrupt()
      }
      process.waitUntilExit()
      #expect(process.terminationStatus != 0)
      let rest = try QCC.expectSuccess(arguments("parts", checkpoint), under: mpirun(3))
      #expect(rest.messages.contains("goes on behind step"))
      let suffixes = ["qir", "safetensors"]
      try expectSameFiles(suffixes.map { "\(folder)/whole.\($0)" }, suffixes.map { "\(folder)/parts.\($0)" })
    }
  }

  /// Processes that `parent` started.
  private func children(of parent: Int32) -> [Int32] {
    let processes = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return processes.compactMap { Int32($0) }.filter { id in
      // The name, in parentheses, may hold anything; the state and the parent come behind it.
      let status = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8)
      return status?.split(separator: ")").last?.split(separator: " ").dropFirst().first == "\(parent)"
    }.sorted()
  }

  @Test(arguments: [
    (["compile", "x.onnx", "--target", "x86-int4"], 64, "under mpirun"),
    (["train", "x.onnx", "--steps", "3", "--epochs", "2"], 64, "one of"),
    (["train", "x.onnx", "--data", "y"], 66, "cannot open"),
  ])
  func mistakesAreToldOnce(_ arguments: [String], _ status: Int32, _ text: String) throws {
    let outcome = try QCC.run(arguments, under: mpirun(3))
    #expect(outcome.status == status)
    #expect(outcome.messages.components(separatedBy: text).count == 2, "\(outcome.messages)")
  }
}
