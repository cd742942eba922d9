import Datasets
import Foundation
import Testing

/// The models of samples/tiny against ONNX Runtime's outputs, as float networks and as programs.
@Suite("Tiny models")
struct TinyModelTests {
  private static let folder = "\(QCC.samples)/tiny"
  private static let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
    .filter { $0.hasSuffix(".output.npy") }.map { String($0.dropLast(".output.npy".count)) }.sorted()

  /// ‖y − expected‖ / ‖expected‖ of what `qcc run` writes; both must have one shape.
  private func relativeError(_ model: String, of name: String, in folder: String) throws -> Double {
    let output = "\(folder)/y.npy"
    try QCC.expectSuccess(["run", model, "--input", "\(Self.folder)/\(name).input.npy", "--output", output])
    let actual = try NumPyArray(path: output).read()
    let expected = try NumPyArray(path: "\(Self.folder)/\(name).output.npy").read()
    try #require(actual.shape == expected.shape)
    var difference = 0.0
    var norm = 0.0
    for (a, b) in zip(actual.values, expected.values) {
      difference += Double((a - b) * (a - b))
      norm += Double(b * b)
    }
    return (difference / norm).squareRoot()
  }

  @Test(arguments: names)
  func computesWhatTheRuntimeComputes(name: String) throws {
    try withTemporaryFolder { folder in
      let error = try relativeError("\(Self.folder)/\(name).onnx", of: name, in: folder)
      #expect(error < 1e-5)
    }
  }

  @Test(arguments: names, QCC.targets)
  func staysCloseInIntegers(name: String, target: String) throws {
    try withTemporaryFolder { folder in
      let program = "\(folder)/\(name).qpk"
      try QCC.expectSuccess(
        [
          "\(Self.folder)/\(name).onnx", "--target", target, "--data", "\(Self.folder)/\(name).input.npy",
          "-o", program,
        ])
      let error = try relativeError(program, of: name, in: folder)
      #expect(error < (target.hasSuffix("int4") ? 0.2 : 0.03))
    }
  }
}
