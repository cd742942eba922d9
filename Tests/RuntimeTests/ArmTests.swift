import CXXHash
import Foundation
import KernelInterface
import Program
import Runtime
import TestSupport
import Testing

/// The interpreter compiled as Embedded Swift for 64-bit Arm gives the bits of every tensor that it gives
/// here.
@Suite(.serialized) struct ArmTests {
  static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("scripts/test-arm").path

  /// With all instructions that kernels use, without matrix products of bytes, and without dot products.
  static let processors = ["max", "neoverse-n1", "cortex-a53"]

  /// Builds once; false, with the reason printed, where a tool is missing.
  static let isBuilt: Bool = {
    let build = try? run([])
    if build?.status != 0 { print("skipped: 64-bit Arm; \(build?.errors ?? "the script does not start")") }
    return build?.status != 69
  }()

  struct Result {
    var status: Int32
    var output: String
    var errors: String
  }

  static func run(_ arguments: [String]) throws -> Result {
    let process = Process(), output = Pipe(), errors = Pipe()
    process.executableURL = URL(fileURLWithPath: script)
    process.arguments = arguments
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    let messages = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Result(
      status: process.terminationStatus, output: String(decoding: text, as: UTF8.self),
      errors: String(decoding: messages, as: UTF8.self))
  }

  /// The cases of KernelsTests, by every kernel that a processor can run.
  @Test(.enabled(if: ArmTests.isBuilt), arguments: processors)
  func kernelsGiveTheBitsOfTheFormula(processor: String) throws {
    let result = try Self.run(["-c", processor, "kernels"])
    #expect(result.status == 0, "\(result.output)\(result.errors)")
    #expect(result.output.contains("dense8_i8mm") == (processor == "max"))
    #expect(result.output.contains("dense8_dotprod") == (processor != "cortex-a53"))
    #expect(result.output.contains("dense8_neon"))
    #expect(result.output.contains("ternary_neon"))
  }

  @Test(.enabled(if: ArmTests.isBuilt), arguments: processors)
  func givesTheBitsOfThisMachine(processor: String) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("qcc-arm-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let files = ["program.qpk", "inputs.f32", "outputs.f32"].map { folder.appendingPathComponent($0) }
    for seed in 0..<8 {
      var random = try RandomProgram(seed: UInt64(4000 + seed), operations: 6 + seed)
      let inputs = random.inputs()
      var program = random.program
      program.goldenVectors = [try #require(Interpreter(program).goldenVector(inputs))]
      try Data(program.serialize()).write(to: files[0])
      try inputs[0].withUnsafeBytes { try Data($0).write(to: files[1]) }

      var expected = ""
      let outputs = try Interpreter(program, features: .host).run(inputs) { tensor, contents in
        let hash = String(contents.withUnsafeBytes { qcc_xxh3_64($0.baseAddress, $0.count) }, radix: 16)
        expected += "\(tensor) \(String(repeating: "0", count: 16 - hash.count))\(hash)\n"
      }
      let result = try Self.run(["-c", processor] + files.map(\.path))
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.output == expected)
      let bytes = try Data(contentsOf: files[2])
      #expect(
        bytes == Data(outputs.flatMap { $0.flatMap { value in withUnsafeBytes(of: value) { Array($0) } } }))
    }
  }

  @Test(.enabled(if: ArmTests.isBuilt)) func refusesADamagedProgram() throws {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(
      "qcc-arm-\(UUID().uuidString).qpk")
    defer { try? FileManager.default.removeItem(at: file) }
    var bytes = try RandomProgram(seed: 1, operations: 3).program.serialize()
    bytes[bytes.count / 2] ^= 1
    try Data(bytes).write(to: file)
    let result = try Self.run([file.path, file.path, file.path])
    #expect(result.status == 65)
    #expect(result.errors.contains("damaged"))
  }
}
