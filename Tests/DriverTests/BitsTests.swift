import Foundation
import Testing

/// Every tensor of a program has the bits of the exact evaluator with every kernel set of this processor.
@Suite("Equal bits")
struct BitsTests {
  private struct Proof: Decodable {
    struct KernelSet: Decodable {
      var name: String
      var identical: Bool
    }
    var samples: Int
    var tensors: Int
    var kernels: [KernelSet]
    var isIdentical: Bool { kernels.allSatisfy { $0.identical } }
  }

  /// Compiles a model and verifies the program; on random inputs when `test` is empty.
  private func verify(_ arguments: [String], test: [String] = [], samples: Int) throws -> Proof {
    try withTemporaryFolder { folder in
      let program = "\(folder)/model.qpk", graph = "\(folder)/model.qir"
      try QCC.expectSuccess(arguments + ["-o", program, "--save-graph", graph])
      let proof = try QCC.expectSuccess(
        ["verify", program, "--graph", graph, "--samples", "\(samples)", "--json"] + test)
      return try JSONDecoder().decode(Proof.self, from: proof.output)
    }
  }

  /// On 100 images that calibration has not seen.
  @Test(arguments: QCC.targets)
  func digits(target: String) throws {
    let proof = try verify(
      ["\(QCC.digits)/model.onnx", "--target", target] + QCC.calibration,
      test: ["--data", "\(QCC.digits)/data/test"],
      samples: 100)
    #expect(proof.samples == 100)
    #expect(proof.tensors >= 14)
    #expect(proof.kernels.first?.name == "portable")
    #expect(proof.isIdentical)
  }

  /// Weights and activations of few bits: what trained networks may use, and kernels of their own.
  @Test(arguments: [
    ["--target", "x86-int2"], ["--target", "x86-binary"],
    ["--target", "x86-int4", "--weight-bits", "2"], ["--target", "x86-int2", "--weight-bits", "1"],
    ["--target", "x86-int4", "--weight-bits", "4", "--activation-bits", "4"],
    ["--target", "x86-int2", "--activation-bits", "4"], ["--target", "x86-binary", "--weight-bits", "3"],
  ])
  func fewBits(flags: [String]) throws {
    let proof = try verify(
      ["\(QCC.digits)/model.onnx"] + flags + QCC.calibration, test: ["--data", "\(QCC.digits)/data/test"],
      samples: 20)
    #expect(proof.samples == 20)
    #expect(proof.isIdentical)
  }

  @Test func digitsWithoutData() throws {
    let proof = try verify(
      [
        "\(QCC.digits)/model.onnx", "--target", "x86-int4", "--preprocess", "\(QCC.digits)/preprocess.yaml",
        "--without-data", "analytic",
      ],
      samples: 20)
    #expect(proof.isIdentical)
  }

  /// Corners of ONNX; the inputs are random and reach beyond the range of the first quantizer.
  @Test(arguments: [
    "gemm", "grouped", "norm-first", "pad", "padding", "pools", "relu6-opset11", "relu6-opset7",
    "shape-chain",
    "softmax-opset11", "softmax-opset13",
  ])
  func tiny(name: String) throws {
    let model = "\(QCC.samples)/tiny/\(name)"
    for target in ["arm-int4", "generic-int8"] {
      let proof = try verify(
        ["\(model).onnx", "--target", target, "--data", "\(model).input.npy"], samples: 100)
      #expect(proof.samples == 100)
      #expect(proof.isIdentical)
    }
  }

  /// A graph calibrated in another way has the same tensors but other numbers: the comparison must see it.
  @Test func differencesAreFound() throws {
    try withTemporaryFolder { folder in
      let model = "\(QCC.samples)/tiny/grouped"
      let compile = ["\(model).onnx", "--target", "arm-int8", "--data", "\(model).input.npy"]
      try QCC.expectSuccess(compile + ["-o", "\(folder)/a.qpk", "--save-graph", "\(folder)/a.qir"])
      try QCC.expectSuccess(compile + ["--calibration", "min-max", "-o", "\(folder)/b.qpk"])
      let outcome = try QCC.run(["verify", "\(folder)/b.qpk", "--graph", "\(folder)/a.qir"])
      #expect(outcome.status == 2)
      #expect(outcome.text.contains("portable: DIFFERS: sample 0, tensor '"), "\(outcome.text)")
      #expect(outcome.messages.contains("other bits than the reference"))
    }
  }

  /// What `scripts/verify-bits` compares between machines.
  @Test func hashesAreThoseOfEveryKernelSet() throws {
    try withTemporaryFolder { folder in
      let model = "\(QCC.samples)/tiny/gemm", program = "\(folder)/model.qpk", inputs = "\(folder)/x.npy"
      try QCC.expectSuccess([
        "\(model).onnx", "--target", "x86-int8", "--data", "\(model).input.npy", "-o", program,
        "--save-graph",
        "\(folder)/model.qir",
      ])
      try QCC.expectSuccess([
        "verify", program, "--graph", "\(folder)/model.qir", "--samples", "7", "--save-inputs", inputs,
      ])
      let run = ["run", program, "--input", inputs, "--hashes", "-", "--output", "\(folder)/y.npy"]
      let portable = try QCC.expectSuccess(run + ["--cpu", "portable"]).text
      #expect(try QCC.expectSuccess(run).text == portable)
      // An index and 16 digits for each tensor of each sample; no two samples are the same.
      let lines = portable.split(separator: "\n")
      #expect(lines.count % 7 == 0 && lines.allSatisfy { $0.split(separator: " ").last?.count == 16 })
      #expect(Set(lines).count > lines.count / 2)
    }
  }

  /// The network before it is lowered, in rounded floats, gives the answers of the integers.
  @Test func roundedFloatsGiveTheAnswersOfTheIntegers() throws {
    try withTemporaryFolder { folder in
      let compile = ["\(QCC.digits)/model.onnx", "--target", "arm-int4"] + QCC.calibration
      try QCC.expectSuccess(compile + ["-o", "\(folder)/model.qpk"])
      let pipeline = try QCC.expectSuccess(compile + ["--print-pipeline"]).text
      let end = try #require(pipeline.firstRange(of: ", lower-integer"))
      try QCC.expectSuccess(
        [
          "opt", "--pass-pipeline=\(pipeline[..<end.lowerBound])", "\(QCC.digits)/model.onnx", "-o",
          "\(folder)/assigned.qir",
        ]
          + QCC.calibration)
      let result = try QCC.expectSuccess([
        "eval", "\(folder)/assigned.qir", "--against", "\(folder)/model.qpk", "--data",
        "\(QCC.digits)/data/test", "--json",
      ])
      struct Evaluation: Decodable {
        struct Pairing: Decodable { var agreement: Double }
        var against: Pairing
      }
      #expect(try JSONDecoder().decode(Evaluation.self, from: result.output).against.agreement >= 99.5)
    }
  }

  // MARK: Networks of other people

  /// $QCC_DATA, or shared/data beside the package; nil, said aloud, where there is neither.
  static let realData: String? = {
    let folder = ProcessInfo.processInfo.environment["QCC_DATA"] ?? QCC.packageRoot + "/../shared/data"
    if FileManager.default.fileExists(atPath: folder + "/models") { return folder }
    print("skipped: equal bits of real networks; QCC_DATA names no folder with models")
    return nil
  }()

  @Test(
    .enabled(if: BitsTests.realData != nil),
    arguments: [
      (
        "resnet20", "cifar10/train4000.bin", "cifar10/test1000.bin",
        ["--color", "rgb", "--mean", "[0.485, 0.456, 0.406]", "--std", "[0.229, 0.224, 0.225]"]
      ),
      (
        "fashion-dscnn", "fashion-mnist/train5k-images-idx3-ubyte.gz",
        "fashion-mnist/heldout10k-images-idx3-ubyte.gz",
        ["--color", "gray"]
      ),
    ])
  func realNetworks(name: String, calibration: String, test: String, preprocessing: [String]) throws {
    let folder = try #require(Self.realData)
    let proof = try verify(
      [
        "\(folder)/models/\(name).onnx", "--target", "arm-int4", "--data", "\(folder)/\(calibration)",
        "--samples", "64",
        "--scale", "0.00392156862745098",
      ] + preprocessing, test: ["--data", "\(folder)/\(test)"], samples: 10)
    #expect(proof.samples == 10)
    #expect(proof.isIdentical)
  }
}
