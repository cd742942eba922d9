import Evaluator
import Glibc
import IR
import Passes
import Program
import Runtime
import Support

/// How close the integer network is to the float one on samples.
struct Quality {
  var samples: Int
  /// Of the outputs, in decibels.
  var signalToNoise: Double
  /// The share of samples with the same largest output, in percent.
  var agreement: Double

  /// Measured on up to 16 samples; nil without samples.
  init?(original: Graph, program: Program, _ source: SampleSource?, threads: Int) throws {
    guard let source, source.count > 0, let input = original.inputs.first, original.inputs.count == 1 else {
      return nil
    }
    let count = min(source.count, 16), samples = try (0..<count).map { try source.sample($0) }
    let isBatched = original[input].type.shape.isBatched
    func answers(_ model: LoadedModel) throws -> [[Float]] {
      let predictor = try Predictor(model, mode: .float, features: .host, threads: threads)
      return try (isBatched ? [samples] : samples.map { [$0] }).flatMap { try predictor.predict($0) }
    }
    let float = try answers(.graph(original)), integer = try answers(.program(program))
    var signal = 0.0, noise = 0.0, same = 0
    for (a, b) in zip(float, integer) {
      for (x, y) in zip(a, b) {
        signal += Double(x) * Double(x)
        noise += Double(x - y) * Double(x - y)
      }
      if argmax(a) == argmax(b) { same += 1 }
    }
    self.samples = count
    signalToNoise = noise > 0 ? 10 * log10(signal / noise) : .infinity
    agreement = 100 * Double(same) / Double(count)
  }
}

/// The index of the largest element; the first of equals.
func argmax(_ values: some Collection<Float>) -> Int {
  var best = 0, largest = -Float.infinity
  for (index, value) in values.enumerated() where value > largest {
    best = index
    largest = value
  }
  return best
}

/// What `qcc compile` says when it is done: what was quantized to what, the size, and the quality.
struct CompileReport {
  let graph: Graph
  let program: Program
  let fileBytes: Int
  let path: String
  let target: Target
  let quality: Quality?

  private var summary: ProgramSummary { ProgramSummary(program) }
  private var parameterCount: Int { summary.weighted.reduce(0) { $0 + $1.weights } }
  private var multiplyAccumulates: Int { graph.order.reduce(0) { $0 + graph.multiplyAccumulates($1) } }
  private var arenaLowerBound: Int? { graph.metadata("arena-lower-bound").flatMap { Int($0) } }
  private var sections: [(name: String, bytes: Int)] {
    let packed = summary.weighted.reduce(0) { $0 + $1.bytes }, others = program.data.count - packed
    let weights = program.storedDataBytes - others
    return [
      ("weights", weights), ("biases, multipliers and tables", others),
      ("records, names, metadata, self-test", fileBytes - weights - others),
    ]
  }
  private var widths: [(bits: Int, layers: Int, weights: Int)] {
    [8, 4, 2, 1].compactMap { bits in
      let layers = summary.weighted.filter { $0.bits == bits }
      return layers.isEmpty ? nil : (bits, layers.count, layers.reduce(0) { $0 + $1.weights })
    }
  }

  var text: String {
    var lines = ["\(path): \(humanBytes(fileBytes)) for \(target.name)"]
    for (bits, layers, weights) in widths {
      lines.append("  \(layers) layers with \(humanCount(weights)) weights in \(bits) bits")
    }
    let floats = graph.metadata("float-operations") ?? "none"
    lines.append("  in float: \(floats)")
    lines.append(
      "  \(humanCount(multiplyAccumulates)) multiply-accumulates a sample, arena \(humanBytes(program.arenaBytes))"
        + (arenaLowerBound.map { ", at least \(humanBytes($0)) are alive at once" } ?? "")
    )
    let ledger = sections.map { "\($0.name) \(humanBytes($0.bytes))" }.joined(separator: ", ")
    let perParameter = Double(fileBytes) / Double(max(parameterCount, 1))
    lines.append("  size: \(ledger); \(fixed(perParameter, 3)) bytes a parameter")
    if program.isCompact {
      let opened = humanBytes(program.data.count)
      lines.append(
        "  compact: the \(humanBytes(program.storedDataBytes)) of data become \(opened) when the file is opened"
      )
    }
    if let quality {
      lines.append(
        "  against float on \(quality.samples) samples: signal to noise \(fixed(quality.signalToNoise, 1)) dB, "
          + "same answer on \(fixed(quality.agreement, 1)) %")
    }
    return lines.joined(separator: "\n")
  }

  var json: Json {
    .object([
      ("output", .string(path)), ("target", .string(target.name)), ("bytes", .int(fileBytes)),
      ("parameters", .int(parameterCount)), ("macs", .int(multiplyAccumulates)),
      ("arena-bytes", .int(program.arenaBytes)),
      ("arena-lower-bound", arenaLowerBound.map { .int($0) } ?? .null),
      ("sections", .object(sections.map { ($0.name, .int($0.bytes)) })),
      (
        "widths",
        .array(
          widths.map {
            .object([("bits", .int($0.bits)), ("layers", .int($0.layers)), ("weights", .int($0.weights))])
          })
      ),
      ("float-operations", .string(graph.metadata("float-operations") ?? "none")),
      (
        "quality",
        quality.map {
          .object([
            ("samples", .int($0.samples)), ("sqnr-db", .double($0.signalToNoise)),
            ("agreement", .double($0.agreement)),
          ])
        } ?? .null
      ),
    ])
  }
}
