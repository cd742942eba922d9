import Foundation
import Testing

/// The files that the tests read: the samples of this repository, and real networks where they are at hand.
enum Files {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path
  static let tiny = root + "/samples/tiny"
  static let digits = root + "/samples/mnist-resnet"
  static let digitsModel = digits + "/model.onnx"
  static let calibration = ["--data", digits + "/data/calibration", "--preprocess", digits + "/preprocess.yaml"]
  static let test = ["--data", digits + "/data/test"]

  /// $QCC_DATA, or shared/data beside the package root; nil, said aloud, where there is neither.
  static let realData: String? = {
    let given = ProcessInfo.processInfo.environment["QCC_DATA"] ?? root + "/../shared/data"
    if FileManager.default.fileExists(atPath: given + "/models") { return given }
    print("skipped: end-to-end tests of real networks; QCC_DATA names no folder with models")
    return nil
  }()

  static func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }
}

/// Whether this build can start itself as a command: `qcc` lies beside the tests.
let executable = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
  .appendingPathComponent("qcc")

/// What one command line left.
struct Outcome {
  /// The exit code; 128 and more for a signal.
  var status: Int32
  var output: String
  var errors: String

  /// Member of the one JSON object on standard output.
  func number(_ path: String...) throws -> Double {
    var value: Any = try JSONSerialization.jsonObject(with: Data(output.utf8))
    for key in path { value = try #require((value as? [String: Any])?[key]) }
    return try #require(value as? Double)
  }
}

/// Runs qcc in a process of its own, so that its streams can be read and that a trap fails one test.
func qcc(_ arguments: [String], input: [UInt8]? = nil) throws -> Outcome {
  let folder = try Scratch()
  let streams = try ["in", "out", "err"].map { name in
    let bytes = name == "in" ? input ?? [] : []
    try Data(bytes).write(to: URL(fileURLWithPath: folder[name]))
    return try #require(name == "in" ? FileHandle(forReadingAtPath: folder[name]) : FileHandle(forWritingAtPath: folder[name]))
  }
  let process = Process()
  process.executableURL = executable
  process.arguments = arguments
  process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
  process.standardInput = streams[0]
  process.standardOutput = streams[1]
  process.standardError = streams[2]
  try process.run()
  process.waitUntilExit()
  let status = process.terminationStatus
  return Outcome(
    status: process.terminationReason == .exit ? status : 128 + status,
    output: String(decoding: try Files.bytes(folder["out"]), as: UTF8.self),
    errors: String(decoding: try Files.bytes(folder["err"]), as: UTF8.self))
}

/// The same, for commands that must succeed.
@discardableResult
func succeed(_ arguments: [String], sourceLocation: SourceLocation = #_sourceLocation) throws -> Outcome {
  let outcome = try qcc(arguments)
  try #require(
    outcome.status == 0, "qcc \(arguments.joined(separator: " ")): \(outcome.status) \(outcome.output)\(outcome.errors)",
    sourceLocation: sourceLocation)
  return outcome
}

/// A folder that lives as long as the object.
final class Scratch {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.path + "/qcc-end-to-end-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }
  deinit { try? FileManager.default.removeItem(atPath: path) }

  subscript(_ name: String) -> String { path + "/" + name }
  func write(_ bytes: some Sequence<UInt8>, to name: String) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: self[name]))
    return self[name]
  }
  /// The names of the files in it.
  var names: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}
