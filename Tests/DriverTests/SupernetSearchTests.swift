import Foundation
import Testing

@Suite("qcc search through a supernet of the digits")
struct SupernetSearchTests {
  private static let data = [
    "--data", "\(QCC.digits)/data/calibration", "--preprocess", "\(QCC.digits)/preprocess.yaml",
  ]
  private struct Report: Decodable {
    struct Entry: Decodable {
      var weightBits: Double
      var activationBits: Double
      var jointBits: Double
      var bitOperations: Double
      var fidelity: Double
      var measured: Double
      var style: String
      enum CodingKeys: String, CodingKey {
        case weightBits = "weight-bits"
        case activationBits = "activation-bits"
        case jointBits = "joint-bits"
        case bitOperations = "bit-operations"
        case fidelity, measured, style
      }
    }
    var found: [Entry]
    var uniform: [Entry]
  }

  @Test func picksKeepTheirBudgetsAndCompile() throws {
    try withTemporaryFolder { folder in
      let supernet = "\(folder)/supernet.qir", pick = "\(folder)/pick.json"
      try QCC.expectSuccess(
        [
          "train", "\(QCC.digits)/model.onnx", "--elastic", "--target", "x86-int4", "--steps", "16",
          "--batch", "64",
        ]
          + ["--shard", "32", "-o", supernet] + Self.data)
      func search(_ arguments: [String]) -> [String] {
        ["search", supernet, "--target", "x86-int4", "--pairs", "24", "--measure-samples", "128"]
          + [
            "--estimate-samples", "64", "--generations", "40", "--candidates", "3", "--cache",
            "\(folder)/cache",
          ]
          + Self.data + arguments
      }
      let budgets = ["--avg-bits", "3", "--avg-activation-bits", "4", "--json"]
      let first = try QCC.expectSuccess(search(budgets + ["-o", pick]))
      let report = try JSONDecoder().decode(Report.self, from: first.output)
      #expect(report.found.count == 3 && report.uniform.count == 7)
      for entry in report.found {
        #expect(entry.weightBits > 2.5 && entry.weightBits <= 3 + 1e-9)
        #expect(entry.activationBits > 3.5 && entry.activationBits <= 4 + 1e-9)
      }
      let order = report.found.map(\.fidelity)
      #expect(order == order.sorted(by: >) && order.allSatisfy((50..<100).contains))
      // Wider ones are nearer to the widest.
      #expect(report.uniform[0].fidelity > 99 && report.uniform[0].fidelity > report.uniform[6].fidelity)
      // Measurements come from the cache: the same answer with other threads, byte for byte.
      let bytes = try Data(contentsOf: URL(filePath: pick))
      let second = try QCC.expectSuccess(search(budgets + ["-o", pick, "--threads", "1"]))
      #expect(try second.output == first.output && Data(contentsOf: URL(filePath: pick)) == bytes)

      // The pick says what each free quantizer takes.
      struct Pick: Decodable {
        struct Site: Decodable {
          var bits: Int
          var role: String
          var granularity: String
          var symmetry: String
          var score: Double?
        }
        var sites: [Site]
      }
      let sites = try JSONDecoder().decode(Pick.self, from: bytes).sites, scores = sites.compactMap(\.score)
      #expect(sites.filter { $0.score == nil }.allSatisfy { $0.bits == 8 } && scores.count > 4)
      let free = sites.filter { $0.score != nil }
      let weights = Set(
        free.filter { $0.role == "weight" }.map { "\($0.granularity), weights \($0.symmetry)" })
      let activations = Set(free.filter { $0.role == "activation" }.map(\.symmetry))
      let styles = weights.flatMap { weight in activations.map { "\(weight), activations \($0)" } }
      #expect(styles == [report.found[0].style])
      #expect(scores.allSatisfy { $0 >= 0 } && scores.contains { $0 > 0 })

      let byAccuracy = try QCC.expectSuccess(
        search(budgets + ["--rank", "top1", "-o", "\(folder)/top1.json"]))
      let measured = try JSONDecoder().decode(Report.self, from: byAccuracy.output).found.map(\.measured)
      #expect(measured == measured.sorted(by: >))

      // Weights and activations share a budget: one may be above it. Uniform widths are the same in both.
      let together = try QCC.expectSuccess(
        search(["--avg-joint-bits", "3", "--json", "-o", "\(folder)/joint.json"]))
      let joint = try JSONDecoder().decode(Report.self, from: together.output)
      for entry in joint.found { #expect(entry.jointBits > 2.5 && entry.jointBits <= 3 + 1e-9) }
      #expect(joint.found.contains { max($0.weightBits, $0.activationBits) > 3 })
      for entry in joint.uniform { #expect(abs(entry.jointBits - entry.weightBits) < 1e-9) }
      #expect(joint.uniform.map(\.bitOperations) == joint.uniform.map(\.bitOperations).sorted(by: >))

      let program = "\(folder)/digits.qpk"
      let compiled = try QCC.expectSuccess(
        ["compile", supernet, "--target", "x86-int4", "--assignment", pick, "-o", program] + Self.data)
      #expect(compiled.text.contains("in float: none"))
      struct Accuracy: Decodable { var top1: Double }
      let answers = try QCC.expectSuccess(["eval", program, "--data", "\(QCC.digits)/data/test", "--json"])
      #expect(try JSONDecoder().decode(Accuracy.self, from: answers.output).top1 > 85)

      let front = try QCC.expectSuccess(search(["--pareto", "\(folder)/front", "--points", "4", "--json"]))
      let points = try JSONDecoder().decode(Report.self, from: front.output).found
      #expect(points.map(\.weightBits) == points.map(\.weightBits).sorted() && points.count >= 2)
      for name in ["front.csv", "front.svg", "front.1.assignment.json"] {
        #expect(FileManager.default.fileExists(atPath: "\(folder)/\(name)"))
      }

      // One style, from the same measured pairs; uniform widths are of that style, too.
      let style = ["--granularity", "channel", "--weight-symmetry", "symmetric", "--activation-symmetry"]
      let styled = try QCC.expectSuccess(
        search(budgets + style + ["asymmetric", "--rounds", "1", "-o", "\(folder)/styled.json"]))
      let inStyle = try JSONDecoder().decode(Report.self, from: styled.output)
      let wanted = "channel, weights symmetric, activations asymmetric"
      #expect((inStyle.found + inStyle.uniform).allSatisfy { $0.style == wanted } && inStyle.found.count == 3)
      let foreign = try QCC.run(search(budgets + ["--weight-symmetry", "asymmetric"]))
      #expect(foreign.status == 1 && foreign.messages.contains("no asymmetric weights"))

      let impossible = try QCC.run(search(["--avg-bits", "1.5"]))
      #expect(impossible.status == 3 && impossible.messages.contains("2.0 to 8.0"))
      let none = try QCC.run(search(["--avg-joint-bits", "0"]))
      #expect(none.status == 64 && none.messages.contains("--avg-joint-bits"))
      let ordinary = try QCC.run(
        [
          "search", "\(QCC.digits)/model.onnx", "--target", "x86-int4", "--avg-bits", "4", "--avg-joint-bits",
          "3",
        ]
          + Self.data)
      #expect(
        ordinary.status == 64
          && ordinary.messages.contains("--avg-joint-bits are budgets of trained supernets"))
      let unstyled = try QCC.run(
        [
          "search", "\(QCC.digits)/model.onnx", "--target", "x86-int4", "--avg-bits", "4", "--granularity",
          "channel",
        ] + Self.data)
      #expect(unstyled.status == 64 && unstyled.messages.contains("--granularity"))
      let unsuitable = try QCC.run(search(["--avg-bits", "3", "--pin", "conv=w8"]))
      #expect(unsuitable.status == 64 && unsuitable.messages.contains("--pin"))
    }
  }
}
