import Foundation
import Testing

/// What one run of the `qcc` executable left.
struct Outcome {
  var status: Int32
  var output: Data
  var messages: String

  var text: String { String(decoding: output, as: UTF8.self) }
}

/// The executable that was built with the tests, run as scripts run it.
enum QCC {
  static let packageRoot = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path
  static let samples = "\(packageRoot)/samples"
  static let digits = "\(samples)/mnist-resnet"
  /// How the sample is calibrated in these tests; fewer images than its README takes, for speed.
  static let calibration = [
    "--data", "\(digits)/data/calibration", "--samples", "128", "--preprocess", "\(digits)/preprocess.yaml",
  ]
  static let targets = ["generic-int8", "x86-int8", "x86-int4", "arm-int8", "arm-int4"]

  /// Beside the test runner.
  private static let executable = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent().appending(path: "qcc")

  /// - Parameters:
  ///   - environment: variables in addition to the test's own.
  ///   - launcher: a command that starts qcc.
  static func run(
    _ arguments: [String], input: Data? = nil, environment: [String: String] = [:],
    under launcher: [String] = []
  ) throws -> Outcome {
    try withTemporaryFolder { folder in
      let process = process(arguments, under: launcher)
      process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
      process.standardInput =
        try input.map { data in
          let file = folder + "/input"
          try data.write(to: URL(filePath: file))
          return try FileHandle(forReadingFrom: URL(filePath: file))
        } ?? FileHandle.nullDevice
      // Files, not pipes: neither stream can fill up and stop the process.
      let streams = try ["output", "messages"].map { name in
        let file = "\(folder)/\(name)"
        try Data().write(to: URL(filePath: file))
        return (file, try FileHandle(forWritingTo: URL(filePath: file)))
      }
      process.standardOutput = streams[0].1
      process.standardError = streams[1].1
      try process.run()
      process.waitUntilExit()
      let contents = try streams.map { try Data(contentsOf: URL(filePath: $0.0)) }
      return Outcome(
        status: process.terminationStatus, output: contents[0],
        messages: String(decoding: contents[1], as: UTF8.self))
    }
  }

  private static func process(_ arguments: [String], under launcher: [String]) -> Process {
    let process = Process()
    process.executableURL = launcher.isEmpty ? executable : URL(filePath: "/usr/bin/env")
    process.arguments = launcher.isEmpty ? arguments : launcher + [executable.path] + arguments
    return process
  }

  /// Starts a run that the caller ends; its output goes nowhere.
  static func start(_ arguments: [String], under launcher: [String] = []) throws -> Process {
    let process = process(arguments, under: launcher)
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    // The test runner's threads block signals, and what they start inherits that.
    var none = sigset_t(), before = sigset_t()
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    try process.run()
    return process
  }

  /// Runs what must succeed.
  @discardableResult
  static func expectSuccess(
    _ arguments: [String], input: Data? = nil, environment: [String: String] = [:],
    under launcher: [String] = []
  ) throws -> Outcome {
    let outcome = try run(arguments, input: input, environment: environment, under: launcher)
    try #require(outcome.status == 0, "qcc \(arguments.joined(separator: " ")): \(outcome.messages)")
    return outcome
  }
}

/// A fresh folder that is removed after `body`.
func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory.appending(path: "qcc-test-\(UUID().uuidString)").path
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  return try body(folder)
}
