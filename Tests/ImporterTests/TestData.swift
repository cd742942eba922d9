import Foundation
import COnnxProto
import CProtobufC
import IR
import Support

@testable import Importer

/// Where test inputs lie.
enum TestData {
  static let packageRoot = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent()
    .deletingLastPathComponent().path
  /// The folder of real models and data: `$QCC_DATA`, or `shared/data` beside the package; nil when absent.
  static let shared: String? = {
    let candidates = [ProcessInfo.processInfo.environment["QCC_DATA"], "\(packageRoot)/../shared/data"]
      .compactMap { $0 }
    guard let found = candidates.first(where: { FileManager.default.fileExists(atPath: "\($0)/models") })
    else {
      print("skipped: no models in \(candidates.joined(separator: " or ")); set QCC_DATA")
      return nil
    }
    return found
  }()
  /// Single-operator models of ONNX's own test suite: Debian's libonnx-testdata; nil when absent.
  static let nodeTests: String? = {
    let path = "/usr/share/libonnx-testdata/data/node"
    guard FileManager.default.fileExists(atPath: path) else {
      print("skipped: no \(path); install libonnx-testdata")
      return nil
    }
    return path
  }()
  static let samples = "\(packageRoot)/samples"

  /// A fresh folder that is removed after `body`.
  static func withTemporaryFolder(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }
}

/// Imports a model made in memory.
func importBytes(
  _ bytes: [UInt8], directory: String? = nil, options: ImportOptions = ImportOptions()
) throws(CompilerError) -> ImportedModel {
  try bytes.withUnsafeBufferPointer { (buffer) throws(CompilerError) in
    try importModel(
      bytes: UnsafeRawBufferPointer(buffer), location: "test.onnx", directory: directory, options: options)
  }
}

/// The error that importing `bytes` throws, or nil when it succeeds.
func importError(_ bytes: [UInt8], directory: String? = nil) -> CompilerError? {
  do throws(CompilerError) {
    _ = try importBytes(bytes, directory: directory)
    return nil
  } catch {
    return error
  }
}

/// The descriptor of a model.
func onnxModel() -> UnsafePointer<ProtobufCMessageDescriptor> { onnx_model_descriptor() }
