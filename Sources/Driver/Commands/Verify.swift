import ArgumentParser
import Datasets
import Evaluator
import Glibc
import IR
import KernelInterface
import Numerics
import Passes
import Program
import Runtime
import Support

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Prove that a program gives the bits of the reference on every tensor, with every kernel set.",
    discussion: """
      Example: qcc model.onnx --target arm-int4 --data train/ --save-graph model.qir -o model.qpk
               qcc verify model.qpk --graph model.qir --data test/ --samples 100
      The reference evaluates the lowered graph with exact integers, one operation at a time and without kernels. Exit
      code 2 says that a bit differs. Without --data the inputs are random, a little beyond the range of the quantized input.
      """)
  @Argument(help: "A .qpk program.") var model: String
  @Option(help: "The lowered graph that the program was emitted from: --save-graph of qcc compile.")
  var graph: String
  @Option(
    help:
      "Only this kernel set: portable, avx2, avxvnni, vnni or popcount; default: all that the processor can run."
  )
  var cpu: String?
  @Option(
    name: .customLong("save-inputs"),
    help: ArgumentHelp("Keep the inputs for 'qcc run' on other machines.", valueName: "npy"))
  var savedInputs: String?
  @Flag(help: "Print one JSON object.") var json = false
  @OptionGroup var data: DataFlags
  @OptionGroup var general: GeneralFlags

  func run() throws {
    general.apply()
    guard case .program(let program) = try LoadedModel(path: model) else {
      throw CompilerError(
        "qcc verify takes a packed program; compile the model first", at: model, status: .usage)
    }
    let lowered = try LoadedModel(path: graph).graph(for: "verify --graph", at: graph)
    let comparison = try Comparison(program, named: model, lowered, named: graph, try kernelSets())
    let inputs = try VerificationInputs(program, lowered, data)
    if let savedInputs {
      let rows = try (0..<inputs.count).map { try inputs[$0] }
      try writeFile(
        savedInputs, NumericArray(shape: [rows.count] + inputs.shape, values: Array(rows.joined())).numPyBytes
      )
    }
    let findings = try comparison.run(inputs, threads: general.threadCount)
    print(json ? comparison.json(inputs.count, findings).text : comparison.text(inputs.count, findings))
    let differing = findings.indices.filter { findings[$0] != nil }.map { comparison.kernelSets[$0].name }
    if !differing.isEmpty {
      throw CompilerError(
        "other bits than the reference with \(differing.joined(separator: ", ")) kernels", at: model,
        status: .gateFailed)
    }
  }

  private func kernelSets() throws(CompilerError) -> [KernelSet] {
    if let cpu, cpu != "auto" { return [KernelSet(name: cpu, features: try chosenFeatures(cpu))] }
    return ["portable", "avx2", "avxvnni", "vnni", "popcount"].compactMap { name in
      guard let features = CPUFeatures(name: name.utf8), CPUFeatures.host.isSuperset(of: features) else {
        return nil
      }
      return KernelSet(name: name, features: features)
    }
  }
}

struct KernelSet: Sendable {
  let name: String
  let features: CPUFeatures
}

/// The samples of a data set, or random ones.
private struct VerificationInputs: Sendable {
  let count: Int
  /// Of one sample.
  let shape: [Int]
  private let source: SampleSource?
  private let interval: ClosedRange<Double>
  private let seed: UInt64

  init(_ program: Program, _ graph: Graph, _ flags: DataFlags) throws(CompilerError) {
    guard program.inputs.count == 1, let input = graph.inputs.first else {
      throw CompilerError("programs with one input can be verified; this one has \(program.inputs.count)")
    }
    var flags = flags
    flags.samples = flags.samples ?? 100
    shape = program.tensors[program.inputs[0]].shape
    seed = flags.seed
    source = try flags.source(
      inputShape: [nil] + shape.map { Optional($0) },
      embedded: Metadata(json: program.metadata)?["preprocessing"])
    count = source?.count ?? flags.samples ?? 100
    interval = VerificationInputs.interval(graph, input)
  }

  /// The range of the quantized input and a tenth more on both sides, so that values are clamped too.
  private static func interval(_ graph: Graph, _ input: ValueID) -> ClosedRange<Double> {
    for use in graph.uses(of: input) {
      guard case .quantizeLinear(let op) = graph[use.user].op else { continue }
      let parameters = op.output.parameters, range = op.output.storedRange
      let low = Double(parameters.dequantize(range.lowerBound)),
        high = Double(parameters.dequantize(range.upperBound))
      guard low < high, (high - low).isFinite else { continue }
      let margin = (high - low) / 10
      return low - margin...high + margin
    }
    return -1...1
  }

  subscript(sample: Int) -> [Float] {
    get throws {
      if let source { return try source.sample(sample) }
      var random = SeededRandom(seed: seed, stream: UInt64(sample))
      let width = interval.upperBound - interval.lowerBound
      return (0..<shape.reduce(1, *)).map { _ in Float(interval.lowerBound + width * random.unit()) }
    }
  }
}

/// The exact evaluator beside the interpreter with several kernel sets.
private struct Comparison: Sendable {
  /// The first element of a run that differs.
  struct Difference: Sendable {
    var sample: Int
    var tensor: String
    /// In logical row-major order; nil when the tensors differ in size.
    var index: Int?
    var expected: String
    var actual: String

    var text: String {
      let place = index.map { ", element \($0)" } ?? ""
      return "sample \(sample), tensor '\(tensor)'\(place) is \(actual), not \(expected)"
    }
  }

  let kernelSets: [KernelSet]
  private let program: Program
  private let evaluator: Evaluator
  private let inputShape: [Int]
  /// For every value of the graph, the tensors of the program that hold it.
  private let tensors: [[Int]]
  private let tensorCount: Int
  private let valueCount: Int

  init(
    _ program: Program, named path: String, _ graph: Graph, named graphPath: String, _ kernelSets: [KernelSet]
  ) throws(CompilerError) {
    guard graph.stage == .lowered, graph.inputs.count == 1, let input = graph.inputs.first else {
      throw CompilerError(
        "this is no lowered graph with one input; qcc compile --save-graph writes it", at: graphPath)
    }
    var values: [String: Int] = [:]
    for index in graph.values.indices { values[graph[ValueID(index: index)].name] = index }
    var tensors = [[Int]](repeating: [], count: graph.values.count)
    var written = Set<Int>()
    for instruction in program.instructions where written.insert(instruction.output).inserted {
      let name = program.tensors[instruction.output].name.description
      guard let value = values[name] else {
        throw CompilerError(
          "the graph has no value '\(name)', which the program computes", at: graphPath,
          notes: ["take the graph of the same compilation: qcc compile --save-graph"])
      }
      tensors[value].append(instruction.output)
    }
    self.program = program
    self.kernelSets = kernelSets
    self.tensors = tensors
    inputShape = graph[input].type.shape.bound(batch: 1)
    tensorCount = written.count
    valueCount = written.sorted().reduce(0) { $0 + program.tensors[$1].elementCount }
    guard inputShape.reduce(1, *) == program.tensors[program.inputs[0]].elementCount else {
      throw CompilerError("the graph's input has another size than the program's", at: graphPath)
    }
    evaluator = try Evaluator(graph, threads: 1)
  }

  /// The first difference with every kernel set, nil where there is none.
  func run(_ inputs: VerificationInputs, threads: Int) throws(CompilerError) -> [Difference?] {
    // Interpreters are expensive to prepare and serve one thread each: threads take the samples in turn.
    let workers = Array(0..<min(threads, inputs.count))
    let results = parallelMap(workers, threads: workers.count) { worker in
      Result { () throws(CompilerError) in
        try compare(
          inputs, samples: stride(from: worker, to: inputs.count, by: workers.count),
          showsProgress: worker == 0)
      }
    }
    var first = [Difference?](repeating: nil, count: kernelSets.count)
    for result in results {
      for (index, found) in try result.get().enumerated() {
        guard let found, found.sample < first[index]?.sample ?? .max else { continue }
        first[index] = found
      }
    }
    return first
  }

  private func compare(
    _ inputs: VerificationInputs, samples: StrideTo<Int>, showsProgress: Bool
  ) throws(CompilerError) -> [Difference?] {
    let interpreters = kernelSets.map { Interpreter(program, features: $0.features) }
    var found = [Difference?](repeating: nil, count: kernelSets.count)
    for sample in samples where found.contains(where: { $0 == nil }) {
      do {
        let input = try inputs[sample]
        var expected = [[UInt8]](repeating: [], count: program.tensors.count)
        _ = try evaluator.run([Tensor(inputShape, input)]) { value, tensor in
          guard !tensors[value.index].isEmpty else { return }
          let bytes = tensor.bytes
          for index in tensors[value.index] { expected[index] = bytes }
        }
        for (index, interpreter) in interpreters.enumerated() where found[index] == nil {
          _ = try interpreter.run([input]) { tensor, contents in
            guard found[index] == nil else { return }
            found[index] = difference(sample, tensor, expected[tensor], contents)
          }
        }
      } catch let error as CompilerError {
        throw error
      } catch {
        throw CompilerError("sample \(sample): \(error)")
      }
      if showsProgress { Console.progress("verifying", sample + 1, inputs.count) }
    }
    return found
  }

  private func difference(_ sample: Int, _ tensor: Int, _ expected: [UInt8], _ actual: [UInt8]) -> Difference?
  {
    if expected.count == actual.count, memcmp(expected, actual, actual.count) == 0 { return nil }
    let name = program.tensors[tensor].name.description
    guard expected.count == actual.count,
      let byte = expected.indices.first(where: { expected[$0] != actual[$0] })
    else {
      return Difference(
        sample: sample, tensor: name, index: nil, expected: "of \(expected.count) bytes",
        actual: "of \(actual.count) bytes")
    }
    switch program.tensors[tensor].element {
    case .u8:
      return Difference(
        sample: sample, tensor: name, index: byte, expected: "\(expected[byte])", actual: "\(actual[byte])")
    case .f32:
      let element = byte / 4
      return Difference(
        sample: sample, tensor: name, index: element, expected: "\(float(expected, element))",
        actual: "\(float(actual, element))")
    }
  }
  private func float(_ bytes: [UInt8], _ index: Int) -> Float {
    bytes.withUnsafeBytes {
      Float(bitPattern: UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self)))
    }
  }

  func text(_ samples: Int, _ findings: [Difference?]) -> String {
    zip(kernelSets, findings).map { set, difference in
      let extent = "\(samples) samples, \(tensorCount) tensors of \(humanCount(valueCount)) values"
      return
        "\(set.name): \(difference.map { "DIFFERS: \($0.text)" } ?? "\(extent), every bit equal to the reference")"
    }.joined(separator: "\n")
  }

  func json(_ samples: Int, _ findings: [Difference?]) -> Json {
    .object([
      ("samples", .int(samples)), ("tensors", .int(tensorCount)), ("values", .int(valueCount)),
      (
        "kernels",
        .array(
          zip(kernelSets, findings).map { set, difference in
            .object([
              ("name", .string(set.name)), ("identical", .bool(difference == nil)),
              ("difference", difference.map(describe) ?? .null),
            ])
          })
      ),
    ])
  }
  private func describe(_ difference: Difference) -> Json {
    .object([
      ("sample", .int(difference.sample)), ("tensor", .string(difference.tensor)),
      ("index", difference.index.map { .int($0) } ?? .null), ("expected", .string(difference.expected)),
      ("actual", .string(difference.actual)),
    ])
  }
}
