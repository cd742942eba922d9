import ArgumentParser
import IR
import Passes
import Program
import Support

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show operations, types, bits, sizes and layouts of a model of any stage.",
    discussion: """
      Example: qcc inspect model.onnx
               qcc inspect model.qpk --disassembly
               qcc opt --pass-pipeline=canonicalize model.onnx -o - | qcc inspect - --json
      """)
  @Argument(help: "An .onnx, .qir or .qpk file, or - for a graph on standard input.") var model: String
  @Flag(help: "Print JSON.") var json = false
  @Option(
    name: .customLong("input-shape"),
    help: ArgumentHelp(
      "The shape of an ONNX input whose sizes are open: 'x=[N, 3, 224, 224]'.", valueName: "name=shape"))
  var inputShapes: [InputShape] = []
  @Flag(help: "Print the instructions of a packed program.") var disassembly = false

  func run() throws {
    switch try LoadedModel(path: model, shapes: inputShapes) {
    case .graph(let graph):
      guard !disassembly else {
        throw CompilerError("only packed programs have instructions", at: model, status: .usage)
      }
      let summary = GraphSummary(graph)
      print(json ? summary.json.text : summary.text)
    case .program(let program):
      let summary = ProgramSummary(program)
      print(
        json ? summary.json.text : disassembly ? program.disassembly : summary.text,
        terminator: disassembly && !json ? "" : "\n")
    }
  }
}

/// What `qcc inspect` shows of a graph.
struct GraphSummary {
  let graph: Graph

  init(_ graph: Graph) { self.graph = graph }

  private var counts: [(mnemonic: String, count: Int)] {
    var result: [(mnemonic: String, count: Int)] = []
    for id in graph.order {
      let mnemonic = graph[id].op.mnemonic
      if let index = result.firstIndex(where: { $0.mnemonic == mnemonic }) {
        result[index].count += 1
      } else {
        result.append((mnemonic, 1))
      }
    }
    return result.sorted { ($1.count, $0.mnemonic) < ($0.count, $1.mnemonic) }
  }
  /// Elements of f32 or quantized constants that operations read as weights.
  private var parameterCount: Int {
    graph.usedConstants.compactMap { graph.constant($0) }.filter {
      $0.type.element == .f32 || $0.type.quantized != nil
    }
    .reduce(0) { $0 + $1.elementCount }
  }
  private var constantBytes: Int {
    graph.usedConstants.compactMap { graph.constant($0) }.reduce(0) { $0 + $1.storage.bytes.count }
  }
  private var multiplyAccumulates: Int { graph.order.reduce(0) { $0 + graph.multiplyAccumulates($1) } }
  /// The widths of a node: those of its quantizer, its weights or its result.
  private func bits(_ node: Graph.Node) -> String {
    if case .quantize(let quantizer) = node.op { return quantizer.forms.text }
    if case .integerConv2d(let conv) = node.op { return "w\(conv.weightBits)a\(conv.output.bits)" }
    if case .integerGemm(let gemm) = node.op { return "w\(gemm.weightBits)a\(gemm.output.bits)" }
    if case .integerGemmFloat(let gemm) = node.op { return "w\(gemm.weightBits)" }
    guard let q = node.results.first.flatMap({ graph[$0].type.quantized }) else { return "float" }
    return "a\(q.bits)"
  }

  var text: String {
    var lines = ["graph \(graph.name), stage \(graph.stage.rawValue)"]
    lines += graph.metadata.map { "  \($0.key): \($0.value)" }
    lines += graph.inputs.map { "input  \(graph[$0].name): \(graph[$0].type)" }
    lines += graph.outputs.map { "output \(graph[$0].name): \(graph[$0].type)" }
    lines.append(
      "\(graph.order.count) operations, \(humanCount(parameterCount)) parameters in \(humanBytes(constantBytes)), "
        + "\(humanCount(multiplyAccumulates)) multiply-accumulates a sample")
    lines.append(counts.map { "\($0.count) \($0.mnemonic)" }.joined(separator: ", "))
    var table = Table(["operation", "name", "result", "bits", "MACs", "place"], right: [4, 5])
    for id in graph.order {
      let node = graph[id], macs = graph.multiplyAccumulates(id)
      let result = node.results.map { "\(graph[$0].type)" }.joined(separator: ", ")
      let place = node.results.first.flatMap { graph[$0].placement }.map { "\($0.offset)" } ?? ""
      table.add([node.op.mnemonic, node.name, result, bits(node), macs == 0 ? "" : humanCount(macs), place])
    }
    lines.append(table.text)
    return lines.joined(separator: "\n")
  }

  var json: Json {
    .object([
      ("kind", .string("graph")), ("name", .string(graph.name)), ("stage", .string(graph.stage.rawValue)),
      ("metadata", .object(graph.metadata.map { ($0.key, .string($0.value)) })),
      (
        "inputs",
        .array(
          graph.inputs.map {
            .object([("name", .string(graph[$0].name)), ("type", .string("\(graph[$0].type)"))])
          })
      ),
      (
        "outputs",
        .array(
          graph.outputs.map {
            .object([("name", .string(graph[$0].name)), ("type", .string("\(graph[$0].type)"))])
          })
      ),
      ("parameters", .int(parameterCount)), ("constant-bytes", .int(constantBytes)),
      ("macs", .int(multiplyAccumulates)),
      (
        "operations",
        .array(
          graph.order.map { id in
            let node = graph[id]
            return .object([
              ("operation", .string(node.op.mnemonic)), ("name", .string(node.name)),
              ("bits", .string(bits(node))),
              ("macs", .int(graph.multiplyAccumulates(id))),
              (
                "results",
                .array(
                  node.results.map {
                    .object([("name", .string(graph[$0].name)), ("type", .string("\(graph[$0].type)"))])
                  })
              ),
            ])
          })
      ),
    ])
  }
}

extension Instruction.Convolution.Kind {
  /// Bits that the weights are stored in.
  fileprivate var weightBits: Int {
    switch self {
    case .dense8, .depthwise: 8
    case .dense4, .palette: 4
    case .dense2, .ternary: 2
    case .binary: 1
    }
  }
}

/// What `qcc inspect` shows of a packed program.
struct ProgramSummary {
  let program: Program

  init(_ program: Program) { self.program = program }

  private var metadata: [(String, String)] {
    (Metadata(json: program.metadata)?.entries ?? []).map { ($0.key, $0.value) }
  }
  /// The convolutions and products: width, weights and bytes.
  var weighted: [(name: String, bits: Int, weights: Int, bytes: Int)] {
    program.instructions.compactMap { instruction in
      switch instruction.operation {
      case .convolution(let o):
        let geometry = ConvolutionGeometry(
          o, input: program.tensors[o.input], output: program.tensors[o.output])
        return (
          instruction.name.description, o.kind.weightBits, geometry.productsPerPixel, o.weights.count
        )
      case .floatProduct(let o):
        let inputs = program.tensors[o.input].channels, outputs = program.tensors[o.output].elementCount
        return (instruction.name.description, o.kind.weightBits, inputs * outputs, o.weights.count)
      case .quantize, .dequantize, .add, .multiply, .averagePool, .maxPool, .lookup, .copy, .softmax:
        return nil
      }
    }
  }

  var text: String {
    var lines: [String] = []
    for (key, value) in metadata {
      lines.append(
        value.contains("\n")
          ? "\(key):\n" + value.split(separator: "\n").map { "    \($0)" }.joined(separator: "\n")
          : "\(key): \(value)")
    }
    for index in program.inputs {
      lines.append("input  \(program.tensors[index].name): \(program.type(index))")
    }
    for index in program.outputs {
      lines.append("output \(program.tensors[index].name): \(program.type(index))")
    }
    let weights = weighted.reduce(0) { $0 + $1.weights }, bytes = weighted.reduce(0) { $0 + $1.bytes }
    lines.append(
      "\(program.instructions.count) instructions, \(program.tensors.count) tensors, \(program.goldenVectors.count) self-test vectors"
    )
    lines.append(
      "weights \(humanCount(weights)) in \(humanBytes(bytes)) of \(humanBytes(program.data.count)) data; arena \(humanBytes(program.arenaBytes))"
    )
    if program.isCompact {
      lines.append("compact: \(humanBytes(program.storedDataBytes)) of data in the file")
    }
    for record in TuningRecord.parse(program.tuning) ?? [] { lines.append("tuned for \(record.processor)") }
    var table = Table(["layer", "bits", "weights", "bytes"], right: [1, 2, 3])
    for layer in weighted { table.add([layer.name, "\(layer.bits)", "\(layer.weights)", "\(layer.bytes)"]) }
    lines.append(table.text)
    return lines.joined(separator: "\n")
  }

  var json: Json {
    .object([
      ("kind", .string("program")), ("metadata", .object(metadata.map { ($0.0, .string($0.1)) })),
      ("arena-bytes", .int(program.arenaBytes)), ("data-bytes", .int(program.data.count)),
      ("compact", .bool(program.isCompact)), ("stored-data-bytes", .int(program.storedDataBytes)),
      ("self-test-vectors", .int(program.goldenVectors.count)),
      (
        "tensors",
        .array(
          program.tensors.indices.map {
            .object([
              ("name", .string(program.tensors[$0].name.description)), ("type", .string(program.type($0))),
            ])
          })
      ),
      (
        "instructions",
        .array(
          program.instructions.map {
            .object([
              ("name", .string($0.name.description)), ("operation", .string($0.operation.mnemonic)),
              ("inputs", .array($0.inputs.map { .int($0) })), ("output", .int($0.output)),
            ])
          })
      ),
      (
        "layers",
        .array(
          weighted.map {
            .object([
              ("name", .string($0.name)), ("bits", .int($0.bits)), ("weights", .int($0.weights)),
              ("bytes", .int($0.bytes)),
            ])
          })
      ),
    ])
  }
}
