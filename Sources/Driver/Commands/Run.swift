import ArgumentParser
import CXXHash
import Datasets
import Evaluator
import IR
import KernelInterface
import Program
import Runtime
import Support

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run a model on an array of inputs.",
    discussion: """
      Example: qcc run model.qpk --input x.npy --output y.npy
               qcc run model.qpk --self-test
      x.npy holds preprocessed inputs, [samples, …] or one sample; y.npy gets the first output, [samples, …].
      """)
  @Argument(help: "An .onnx, .qir or .qpk model.") var model: String
  @Option(help: "Inputs as .npy.") var input: String?
  @Option(help: "Where outputs go, as .npy; default: printed.") var output: String?
  @Option(
    help: ArgumentHelp(
      "Where the index and XXH3 hash of every tensor of a program go, a line each, sample after sample; - is standard output.",
      valueName: "file"))
  var hashes: String?
  @Flag(name: .customLong("self-test"), help: "Replay the vectors stored in a program.") var selfTest = false
  @Option(
    help:
      "Instructions the interpreter may use: auto, portable, avx2, avxvnni, vnni or popcount. Also QCC_CPU.")
  var cpu: String?
  @OptionGroup var tuningFlags: TuningFlags
  @OptionGroup var general: GeneralFlags

  func validate() throws {
    if input == nil && !selfTest { throw ValidationError("give --input or --self-test") }
  }

  func run() throws {
    general.apply()
    let features = try chosenFeatures(cpu)
    let loaded = try LoadedModel(path: model, check: general.onnxCheck, shapes: general.inputShapes)
    if selfTest { try runSelfTest(loaded, features) }
    guard let input else { return }
    let predictor = try Predictor(
      loaded, mode: .quantized, features: features, threads: general.threadCount, tuning: tuningFlags.tuning)
    let array = try NumPyArray(path: input).read()
    let sampleShape = predictor.inputShape.dropFirst().compactMap { $0 }
    let isBatch = array.shape.count == sampleShape.count + 1
    guard (isBatch ? Array(array.shape.dropFirst()) : array.shape) == sampleShape else {
      throw CompilerError(
        "the array has shape \(array.shape); the network takes \(sampleShape) or a batch of these", at: input,
        status: .malformedInput)
    }
    let size = sampleShape.reduce(1, *)
    let samples = stride(from: 0, to: array.values.count, by: max(size, 1)).map {
      Array(array.values[$0..<$0 + size])
    }
    if let hashes { try writeHashes(loaded, features, samples, to: hashes) }
    let rows = try predictor.predict(samples)
    guard let output else {
      for row in rows { print(row.map { "\($0)" }.joined(separator: " ")) }
      return
    }
    let shape = [rows.count] + predictor.rowShape(rows.first?.count ?? 0)
    try writeFile(output, NumericArray(shape: shape, values: Array(rows.joined())).numPyBytes)
  }

  /// Tensors by the order in which they are complete: what the same program must give on every machine.
  private func writeHashes(
    _ loaded: LoadedModel, _ features: CPUFeatures, _ samples: [[Float]], to path: String
  ) throws {
    guard case .program(let program) = loaded else {
      throw CompilerError("--hashes needs a packed program", at: model, status: .usage)
    }
    let interpreter = Interpreter(
      program, features: features, threads: general.threadCount,
      tuning: tuningFlags.tuning(of: program, features))
    var text = ""
    for sample in samples {
      do {
        _ = try interpreter.run([sample]) { tensor, contents in
          let hash = String(contents.withUnsafeBytes { qcc_xxh3_64($0.baseAddress, $0.count) }, radix: 16)
          text += "\(tensor) \(String(repeating: "0", count: 16 - hash.count))\(hash)\n"
        }
      } catch { throw CompilerError("\(error)") }
    }
    if path == "-" { print(text, terminator: "") } else { try writeFile(path, text) }
  }

  private func runSelfTest(_ loaded: LoadedModel, _ features: CPUFeatures) throws {
    guard case .program(let program) = loaded else {
      throw CompilerError("only packed programs have a self-test", at: model, status: .usage)
    }
    guard !program.goldenVectors.isEmpty else {
      throw CompilerError("the program has no self-test vectors", at: model)
    }
    if let failure = Interpreter(program, features: features).selfTest() {
      throw CompilerError(
        "the self-test failed: vector \(failure.vector), output \(failure.output), element \(failure.element) is "
          + "\(failure.actual), not \(failure.expected)", at: model, status: .gateFailed)
    }
    print("\(program.goldenVectors.count) self-test vectors passed")
  }
}

/// The processor features that `--cpu` or QCC_CPU name, within what the processor has.
func chosenFeatures(_ flag: String?) throws(CompilerError) -> CPUFeatures {
  let name = flag ?? environment("QCC_CPU") ?? "auto"
  guard name != "auto" else { return .host }
  guard let features = CPUFeatures(name: name.utf8) else {
    throw CompilerError(
      "--cpu and QCC_CPU take auto, portable, avx2, avxvnni, vnni or popcount, not '\(name)'", status: .usage)
  }
  guard CPUFeatures.host.isSuperset(of: features) else {
    throw CompilerError("this processor cannot run '\(name)' kernels", status: .unavailable)
  }
  return features
}
