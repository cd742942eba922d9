import ArgumentParser
import Evaluator
import IR
import Numerics
import PassKit
import Passes
import Program
import Runtime
import Support

/// What stands in for calibration samples where there are none.
enum DataSubstitute: String, ExpressibleByArgument, CaseIterable {
  case distilled, analytic
}

struct CompileCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compile", abstract: "Compile a float model to a packed integer program.",
    discussion: """
      Example: qcc model.onnx --target arm-int4 --data calibration/ --preprocess p.yaml -o model.qpk
               qcc model.onnx --target x86-int8                     without data: from batch normalization
               qcc model.onnx --target arm-int4 --weight-bits 3 --pin 'conv1.*=w8a8'
               qcc model.onnx --target arm-int4 --activation-bits 4 -O3 --data calibration/     learned, for few bits
               qcc model.onnx --target x86-int4 --data calibration/ --assignment assignment.json     from 'qcc search'
               qcc model.onnx --target x86-int4 --data calibration/ --weight-bits 3 --compact     the smallest file
      With -o FILE.qir the lowered graph is written instead of a program.
      """)
  @Argument(help: "An .onnx model, or a .qir graph of any stage but lowered.") var model: String
  @Option(help: "A target that 'qcc targets' lists, or a YAML file.") var target: String
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The program; default: the model's name with .qpk.", valueName: "file"))
  var output: String?
  @Option(
    name: .customLong("save-graph"),
    help: ArgumentHelp("Also write the lowered graph, for 'qcc verify' and 'qcc eval'.", valueName: "qir"))
  var savedGraph: String?
  @Option(name: .customLong("weight-bits"), help: "Weight width inside the network.") var weightBits: Int?
  @Option(name: .customLong("activation-bits"), help: "Activation width.") var activationBits: Int?
  @Option(
    name: .customLong("pin"),
    help: ArgumentHelp("Fixed widths of layers: 'name=w8a8', * matches any text.", valueName: "pin"))
  var pins: [String] = []
  @Option(
    name: [.customLong("assignment"), .customLong("config")],
    help: ArgumentHelp("The forms that 'qcc search' chose; pins come before it.", valueName: "file"))
  var assignment: String?
  @Option(
    name: [.customShort("O", allowingJoined: true), .customLong("recipe")],
    help: ArgumentHelp(
      """
      How much work goes into accuracy: 0 none, 1 seconds (ranges, biases), 2 roundings for each layer's outputs \
      (GPTQ), 3 minutes (weights and steps learned below 8 bits).
      """, valueName: "0…3"))
  var recipe = Recipe.rounding
  @Option(help: "Range method of activations; default: l2.4, with -O0 min-max.")
  var calibration: RangeMethod?
  @Option(
    name: .customLong("input-range"),
    help: ArgumentHelp("Without data: the interval of input values, 'low,high'.", valueName: "low,high"))
  var inputRange: String?
  @Option(
    name: .customLong("without-data"),
    help: ArgumentHelp(
      """
      Without --data: calibrate on samples 'distilled' from batch normalization statistics, or estimate ranges \
      from the statistics alone ('analytic'). Default: distilled; analytic with -O0 and -O1, which take seconds.
      """, valueName: "how"))
  var withoutData: DataSubstitute?
  @Flag(help: "Keep weights in the file in as many bits as they have; they are unpacked when it is opened.")
  var compact = false
  @Flag(name: .customLong("print-pipeline"), help: "Print the pass pipeline and stop.") var printsPipeline =
    false
  @Flag(help: "Print the report as JSON.") var json = false
  @OptionGroup var data: DataFlags
  @OptionGroup var passes: PassFlags
  @OptionGroup var general: GeneralFlags

  func validate() throws {
    if compact, output?.hasSuffix(".qir") == true {
      throw ValidationError("--compact is for programs; '\(output ?? "")' is a graph")
    }
  }

  func run() throws {
    general.apply()
    let chosen = try Target.named(target)
    try warnOfOtherTarget(chosen)
    let stage: Stage
    var graph = Graph()
    if printsPipeline {
      stage = .imported
    } else {
      graph = try LoadedModel(path: model, check: general.onnxCheck, shapes: general.inputShapes).graph(
        for: "compile", at: model)
      stage = graph.stage
    }
    let samples = printsPipeline ? nil : try data.source(for: graph)
    let pipeline = try Pipeline(
      text: try pipelineText(from: stage, graph), passes: allPasses,
      named: namedPipelines)
    if printsPipeline { return print(pipeline.text) }

    var context = PassContext(threads: general.threadCount, seed: data.seed, progress: Console.progress)
    context.calibration = samples
    let original = graph
    let records = try passes.manager.run(pipeline, on: &graph, &context)
    context.diagnostics.forEach(Console.report)
    passes.report(records)

    let destination = output ?? defaultOutput
    if destination.hasSuffix(".qir") { return try graph.save(destination) }
    let vectors = try goldenVectors(graph, samples)
    let made = samples == nil ? context.calibration : nil
    var program = try emit(
      graph, metadata: try metadata(graph, chosen, samples, made), goldenVectors: vectors)
    program.isCompact = compact
    let quality = try Quality(original: original, program: program, samples, threads: general.threadCount)
    let bytes = program.serialize()
    try writeFile(destination, bytes)
    if let savedGraph { try graph.save(savedGraph) }
    let report = CompileReport(
      graph: graph, program: program, fileBytes: bytes.count, path: destination, target: chosen,
      quality: quality)
    print(json ? report.json.text : report.text)
  }

  /// An assignment is made of one target's forms; on another they may be legal and yet a poor choice.
  private func warnOfOtherTarget(_ target: Target) throws {
    guard let assignment else { return }
    let made = try AssignmentFile(path: assignment).target
    guard made != target.name else { return }
    Console.report(
      .warning("the assignment was made for target '\(made)', not '\(target.name)'", at: assignment))
  }

  private var rangeMethod: String { calibration?.rawValue ?? recipe.rangeMethod }

  private var defaultOutput: String {
    let name = model == "-" ? "model" : model.split(separator: "/").last.map(String.init) ?? model
    return (name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name) + ".qpk"
  }

  /// The default pipeline with this command's choices, from the first pass that the graph's stage still needs.
  private func pipelineText(from stage: Stage, _ graph: Graph) throws -> String {
    guard stage < .lowered else {
      throw CompilerError("the graph is lowered already; qcc compile takes earlier stages", at: model)
    }
    let quotedPins = pins.map { $0.text }.joined(separator: ", ")
    let range = try inputInterval().map { "input-range = [\($0.lowerBound), \($0.upperBound)]" }
    let calibrate = "activations = \(rangeMethod)" + (range.map { ", \($0)" } ?? "")
    return compilePipeline(
      from: stage, isCalibrated: graph.isCalibrated, target: target.text,
      assignment:
        "weight-bits = \(weightBits ?? 0), activation-bits = \(activationBits ?? 0), pins = [\(quotedPins)]"
        + (assignment.map { ", assignment = \($0.quotedText)" } ?? ""),
      recipe: recipe, calibration: calibrate,
      distillation: data.data == nil && (withoutData ?? recipe.dataSubstitute) == .distilled
        ? range ?? "" : nil, isTrained: graph.hasSeparateBatchNorms)
  }

  private func inputInterval() throws -> ClosedRange<Float>? {
    if let inputRange {
      let parts = inputRange.split(separator: ",").map { Float(String($0)) }
      guard parts.count == 2, let low = parts[0], let high = parts[1], low < high, low.isFinite, high.isFinite
      else {
        throw CompilerError(
          "--input-range takes 'low,high' with low < high, not '\(inputRange)'", status: .usage)
      }
      return low...high
    }
    return try data.inputInterval()
  }

  /// What the program records of its making: no clocks and no paths, so that equal inputs give equal bytes.
  private func metadata(
    _ graph: Graph, _ target: Target, _ samples: SampleSource?, _ made: (any CalibrationData)?
  ) throws -> Metadata {
    var metadata = Metadata()
    metadata["producer"] = "qcc \(Driver.version)"
    metadata["target-name"] = target.name
    metadata["target"] = target.source
    metadata["source-hash"] = graph.metadata("source-hash")
    metadata["preprocessing"] = try samples?.preprocessing ?? data.declaredPreprocessing()
    metadata["seed"] = "\(data.seed)"
    metadata["calibration"] =
      samples.map { "\($0.count) samples, \(rangeMethod)" } ?? made.map {
        "\($0.count) samples distilled from batch normalization statistics, \(rangeMethod)"
      } ?? "none: batch normalization statistics"
    metadata["float-operations"] = graph.metadata("float-operations")
    var options = ["-\(recipe.name)"]
    if let weightBits { options.append("--weight-bits \(weightBits)") }
    if let activationBits { options.append("--activation-bits \(activationBits)") }
    options += pins.map { "--pin \($0)" }
    if assignment != nil { options.append("--assignment") }
    if compact { options.append("--compact") }
    metadata["options"] = options.joined(separator: " ")
    return metadata
  }

  /// One vector for the self-test, from the first sample or from a fixed pattern, computed by the exact evaluator and not
  /// by the interpreter that it tests.
  private func goldenVectors(_ graph: Graph, _ samples: SampleSource?) throws -> [Program.GoldenVector] {
    guard graph.inputs.count == 1, let input = graph.inputs.first, graph[input].type.element == .f32,
      let quantizer = graph.uses(of: input).first?.user, graph.uses(of: input).count == 1,
      case .quantizeLinear(let op) = graph[quantizer].op
    else { return [] }
    let shape = graph[input].type.shape.bound(batch: 1), count = shape.reduce(1, *)
    let parameters = op.output.parameters, range = op.output.storedRange
    let stored: [UInt8]
    if let samples, samples.count > 0 {
      stored = try samples.sample(0).map { UInt8(parameters.quantize($0, range)) }
    } else {
      stored = (0..<count).map {
        UInt8(truncatingIfNeeded: $0 &* 37 &+ ($0 >> 7) &* 11) & UInt8(truncatingIfNeeded: range.upperBound)
      }
    }
    let values = stored.map { parameters.dequantize(Int32($0)) }
    let outputs = try Evaluator(graph, threads: 1).run([Tensor(shape, values)])
    return [Program.GoldenVector(inputs: [stored], outputs: outputs.map(\.floats))]
  }
}

extension RangeMethod: ExpressibleByArgument {}

extension Recipe: ExpressibleByArgument {
  public init?(argument: String) {
    guard let level = Int(argument), let recipe = Recipe(rawValue: level) else { return nil }
    self = recipe
  }
  public var defaultValueDescription: String { "\(rawValue)" }
  public static var allValueStrings: [String] { allCases.map { "\($0.rawValue)" } }
}

extension Recipe {
  /// What stands in for calibration data, unless the user says.
  fileprivate var dataSubstitute: DataSubstitute {
    switch self {
    case .fastest, .seconds: .analytic
    case .rounding, .learning: .distilled
    }
  }
}
