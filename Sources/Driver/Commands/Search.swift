import ArgumentParser
import IR
import PassKit
import Passes
import Program
import Support

struct SearchCommand: DistributedCommand {
  static let configuration = CommandConfiguration(
    commandName: "search",
    abstract: "Choose the bits of every weight and activation: the best assignment within budgets.",
    discussion: """
      Example: qcc search model.onnx --target x86-int4 --data train/ --preprocess p.yaml --size 100K -o assignment.json
               qcc compile model.onnx --target x86-int4 --data train/ --preprocess p.yaml --assignment assignment.json
               qcc search model.onnx --target x86-int4 --data train/ --avg-bits 4 --pin 'conv1=w8'
               qcc search model.onnx --target x86-int4 --data train/ --test held-out/ --max-drop 0.5
               qcc search model.onnx --target x86-int4 --data train/ --pareto front --points 12
               qcc search model.onnx --target x86-int4 --data train/ --measure-costs costs.yaml
               qcc search model.onnx --target x86-int4 --data train/ --latency 80us --costs costs.yaml
               qcc search supernet.qir --target x86-int4 --data train/ --preprocess p.yaml --avg-bits 3 --avg-activation-bits 3
               qcc search supernet.qir --target elastic --data train/ --preprocess p.yaml --avg-joint-bits 3
      Every form of every site is scored without labels: what it alone does to the answers of the float network, on samples
      of --data; hessian and eigenvalue predict it for weights. The sum of scores is then minimized exactly, by integer
      programming. What was measured is kept in a cache, so that other budgets take seconds, and an interrupted search
      (Ctrl-C) goes on where it stopped. Exit code 3: no assignment keeps to the budgets. K, M and G are powers of 1000,
      Ki, Mi and Gi of 1024.
      In a supernet that 'qcc train --elastic' made, sub-networks are measured instead, a predictor of their accuracy is
      trained on these pairs, and a genetic search by it finds the best one (EQ-Net, arXiv 2308.07650); the means of bits
      leave the first and the last layer out, which keep 8.
      """)
  @Argument(help: "An .onnx model, or a .qir graph before assign.") var model: String
  @Option(help: "A target that 'qcc targets' lists, or a YAML file.") var target: String
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The assignment; default: the model's name with .assignment.json.", valueName: "file"))
  var output: String?

  @Option(help: ArgumentHelp("Most bytes of the program: 100K, 64KiB.", valueName: "bytes")) var size: String?
  @Flag(help: "Sizes are those of compact files ('qcc compile --compact').") var compact = false
  @Option(
    name: .customLong("avg-bits"), help: ArgumentHelp("Largest mean width of all weights.", valueName: "bits")
  )
  var averageBits: String?
  @Option(help: ArgumentHelp("Most products times weight bits times activation bits: 1.5G.", valueName: "n"))
  var bitops: String?
  @Option(help: ArgumentHelp("Most time of layers with weights, by the cost table: 80us.", valueName: "time"))
  var latency: String?
  @Option(help: ArgumentHelp("Most bytes of activations alive at once.", valueName: "bytes")) var ram: String?
  @Option(
    name: .customLong("pin"),
    help: ArgumentHelp("Fixed widths of layers: 'name=w8a8', * matches any text.", valueName: "pin"))
  var pins: [String] = []
  @Option(
    name: .customLong("weight-bits"),
    help: ArgumentHelp("Widths considered for weights, '8,4,2'; default: all legal ones.", valueName: "list"))
  var weightBits: String?
  @Option(
    name: .customLong("activation-bits"),
    help: ArgumentHelp(
      "Widths considered for activations; default: all legal ones if a budget counts them, else the policy's.",
      valueName: "list"))
  var activationBits: String?

  @Option(
    name: .customLong("max-drop"),
    help: ArgumentHelp(
      "Bisect the budget of --minimize down to the smallest that loses at most so many points of measured top-1.",
      valueName: "points"))
  var maximumDrop: Double?
  @Option(
    help: ArgumentHelp(
      "Sweep the budget of --minimize: PREFIX.csv, PREFIX.json and PREFIX.svg.", valueName: "prefix"))
  var pareto: String?
  @Option(help: "Points of --pareto.") var points = 8
  @Option(
    help: ArgumentHelp(
      "For --max-drop and --pareto: size, bitops, latency, ram or avg-bits.", valueName: "budget"))
  var minimize: String?
  @Option(help: "Samples on which assignments are measured; default: those of --data.") var test: String?
  @Option(name: .customLong("test-labels"), help: "Labels of --test.") var testLabels: String?
  @Option(name: .customLong("test-samples"), help: "How many of --test; default: all.") var testSamples: Int?

  @Option(
    help:
      "What is minimized: kl (divergence of the answers), sqnr (noise of the outputs), local, weights, hessian or eigenvalue (divergence that second derivatives predict: HAWQ-V2, HAWQ)."
  )
  var score: SearchScore = .outputNoise
  @Option(
    name: .customLong("score-samples"),
    help: "Calibration samples on which forms are scored; eigenvalue reads at most 128.")
  var scoreSamples = 256
  @Flag(help: "Score neighbouring layers of at most 4 bits together, too.") var interactions = false
  @Flag(
    name: .customLong("all-forms"),
    help: "Score every granularity and symmetry of a width, not the preferred one alone.")
  var allForms = false
  @Option(help: "Time limit of one exact solution.") var seconds = 60
  @Option(
    help: ArgumentHelp("A cost table for --latency and --ram; default: the target's.", valueName: "yaml"))
  var costs: String?
  @Option(
    name: .customLong("measure-costs"),
    help: ArgumentHelp(
      "Time this network's layers on this processor, write the table and stop.", valueName: "yaml"))
  var measuredCosts: String?
  @Option(help: "Where measurements are kept; default: qcc/search in the user's cache, 'none' keeps none.")
  var cache: String?
  @Flag(help: "Print the report as JSON.") var json = false
  @OptionGroup var supernet: SupernetFlags
  @OptionGroup var data: DataFlags
  @OptionGroup var general: GeneralFlags

  func validate() throws {
    if let maximumDrop, !(maximumDrop >= 0) { throw ValidationError("--max-drop must not be negative") }
    if points < 2 || points > 1000 { throw ValidationError("--points must be 2 to 1000") }
    if scoreSamples < 1 { throw ValidationError("--score-samples must be at least 1") }
    if seconds < 1 || seconds > 1_000_000 { throw ValidationError("--seconds must be 1 to 1000000") }
    if let testSamples, testSamples < 1 { throw ValidationError("--test-samples must be at least 1") }
    if maximumDrop != nil, pareto != nil { throw ValidationError("give --max-drop or --pareto, not both") }
    if test == nil, testLabels != nil || testSamples != nil {
      throw ValidationError("--test-labels and --test-samples belong to --test")
    }
    if let minimize, BudgetKind(rawValue: minimize) == nil {
      throw ValidationError("--minimize takes size, bitops, latency, ram or avg-bits, not '\(minimize)'")
    }
    if minimize != nil, maximumDrop == nil, pareto == nil {
      throw ValidationError("--minimize belongs to --max-drop or --pareto")
    }
  }

  func run() throws {
    general.apply()
    let options = try options(), budgets = try options.budgets()
    let supernet = try trainedSupernet()
    if budgets.limits.isEmpty, maximumDrop == nil, pareto == nil, measuredCosts == nil,
      supernet == nil || !self.supernet.hasBudget
    {
      throw CompilerError(
        "qcc search needs a budget: --size, --avg-bits, --bitops, --latency or --ram; or --max-drop or --pareto",
        notes: ["in trained supernets --avg-activation-bits and --avg-joint-bits are budgets, too"],
        status: .usage)
    }
    if let supernet { return try search(supernet, budgets) }
    guard !self.supernet.hasBudget else {
      throw CompilerError(
        "--avg-activation-bits and --avg-joint-bits are budgets of trained supernets", at: model,
        status: .usage)
    }
    guard !self.supernet.hasStyle else {
      throw CompilerError(
        "--granularity, --weight-symmetry and --activation-symmetry are choices of trained supernets",
        at: model,
        notes: ["in other networks --all-forms compares them, layer by layer"], status: .usage)
    }
    guard !Ranks.isDistributed else {
      throw CompilerError("several ranks search through trained supernets alone", at: model, status: .usage)
    }
    for pin in pins where !pin.contains("=") {
      throw CompilerError("'\(pin)' is not a pin; write 'name=w8a8', 'name=w4' or 'name=a8'", status: .usage)
    }
    var settings = try options.settings()
    _ = try Target.named(target)
    settings.sensitivity.cacheFolder = cacheFolder
    let (elastic, samples) = try elasticGraph()
    guard let samples else { throw CompilerError("qcc search needs --data", status: .usage) }
    let source = try testSource(for: elastic) ?? samples
    if maximumDrop != nil, !source.hasLabels {
      throw CompilerError(
        "--max-drop measures accuracy, and the samples have no labels; give --labels, or --test with labels",
        status: .usage)
    }
    Interruption.watch()
    var context = PassContext(threads: general.threadCount, seed: data.seed, progress: Console.progress)
    context.calibration = samples
    context.isInterrupted = { Interruption.isRequested }

    if let measuredCosts {
      let layers = Searcher.layers(of: elastic)
      let bits = try Target.named(target).weights.bits
      return try writeFile(measuredCosts, try CostMeasurement(layers, bits: bits).yaml)
    }
    let kind = minimize.flatMap(BudgetKind.init) ?? (pareto != nil ? .averageBits : .size)
    var considered = budgets
    if maximumDrop != nil || pareto != nil { considered[kind] = .greatestFiniteMagnitude }
    let searcher = try Searcher(elastic, settings, considered, &context)
    context.diagnostics.forEach(Console.report)
    let evaluator = try AssignmentEvaluator(
      elastic, searcher, test: source, metadata: try metadata(searcher.target, samples), context: context,
      cacheFolder: cacheFolder)
    var others = budgets
    others[kind] = nil

    if let pareto {
      let front = try ParetoFront(searcher, evaluator, kind, fixed: others, count: points)
      try writeFile("\(pareto).csv", front.csv)
      try writeFile("\(pareto).json", front.json.text + "\n")
      try writeFile("\(pareto).svg", front.chart.svg)
      return print(json ? front.json.text : front.table)
    }
    var point: SearchPoint, bisection: AccuracyBisection?
    if let maximumDrop {
      let result = try AccuracyBisection(
        searcher, evaluator, kind, fixed: others, largestDrop: maximumDrop)
      guard let holding = result.holding else {
        let drop = result.failing.map { fixed($0.point.quality.drop, 2) } ?? "?"
        throw CompilerError(
          "no assignment loses at most \(maximumDrop) points: the best one loses \(drop)",
          notes: ["more calibration data, or wider activations, may help"], status: .gateFailed)
      }
      (point, bisection) = (holding.point, result)
    } else {
      point = try bestWithinSize(searcher, evaluator, budgets)
    }
    let path = output ?? defaultOutput
    let file = searcher.file(point.solution, budgets)
    try writeFile(path, file.text)
    var report = SearchReport(
      searcher: searcher, budgets: budgets, point: point, hasLabels: evaluator.hasLabels, path: path)
    report.bisection = bisection
    print(json ? report.json.text : report.text)
  }

  /// The best assignment whose program, once it is compiled, has at most --size bytes: the model of sizes knows nothing of
  /// palettes and of what qcc stores about the target.
  private func bestWithinSize(
    _ searcher: Searcher, _ evaluator: AssignmentEvaluator, _ budgets: Budgets
  ) throws -> SearchPoint {
    var narrowed = budgets
    while true {
      let solution = try searcher.solve(narrowed)
      let point = SearchPoint(solution, searcher, try evaluator.evaluate(solution.forms))
      guard let limit = budgets[.size], Double(point.quality.bytes) > limit, let narrow = narrowed[.size]
      else { return point }
      narrowed[.size] = narrow - (Double(point.quality.bytes) - limit)
    }
  }

  private func options() throws -> SearchOptions {
    var options = SearchOptions()
    options.target = target
    options.size = size ?? ""
    options.isCompact = compact
    options.averageBits = averageBits ?? ""
    options.bitOperations = bitops ?? ""
    options.latency = latency ?? ""
    options.memory = ram ?? ""
    options.pins = pins
    options.weightBits = try widths(weightBits, "--weight-bits")
    options.activationBits = try widths(activationBits, "--activation-bits")
    options.score = score
    options.samples = scoreSamples
    options.interactions = interactions
    options.allForms = allForms
    options.seconds = seconds
    options.costs = costs ?? ""
    return options
  }
  private func widths(_ text: String?, _ flag: String) throws -> [Int] {
    guard let text else { return [] }
    let widths = text.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
    guard widths.allSatisfy({ (1...8).contains($0) }) else {
      throw CompilerError("\(flag) takes widths from 1 to 8 such as '8,4,2', not '\(text)'", status: .usage)
    }
    return widths
  }

  var defaultOutput: String {
    let name = model == "-" ? "model" : model.split(separator: "/").last.map(String.init) ?? model
    return (name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name) + ".assignment.json"
  }

  var cacheFolder: String? {
    if let cache { return cache == "none" ? nil : cache }
    // Relative paths are to be ignored, says the XDG specification.
    if let folder = environment("XDG_CACHE_HOME"), folder.hasPrefix("/") { return "\(folder)/qcc/search" }
    return environment("HOME").map { "\($0)/.cache/qcc/search" }
  }

  /// The network with elastic quantizers for the target, and the calibration samples.
  private func elasticGraph() throws -> (Graph, SampleSource?) {
    var graph = try LoadedModel(path: model, check: general.onnxCheck, shapes: general.inputShapes).graph(
      for: "search", at: model)
    let samples = try data.source(for: graph)
    let text: String
    switch graph.stage {
    case .imported: text = "canonical, insert-quantizers{target = \(target.text)}"
    case .canonical: text = "insert-quantizers{target = \(target.text)}"
    case .elastic: return (graph, samples)
    case .assigned, .lowered:
      throw CompilerError(
        "the graph is \(graph.stage.text): its forms are chosen; qcc search takes earlier stages", at: model)
    }
    var context = PassContext(threads: general.threadCount, seed: data.seed)
    var instrumentation = Instrumentation()
    instrumentation.reproducer = .never
    _ = try PassManager(instrumentation).run(
      Pipeline(text: text, passes: allPasses, named: namedPipelines), on: &graph, &context)
    context.diagnostics.forEach(Console.report)
    return (graph, samples)
  }

  /// The samples of --test; nil without the flag.
  private func testSource(for graph: Graph) throws -> SampleSource? {
    guard let test else { return nil }
    var flags = data
    flags.data = test
    flags.labels = testLabels
    flags.samples = testSamples
    return try flags.source(for: graph)
  }

  /// What `qcc compile` stores in programs, as far as it takes bytes.
  private func metadata(_ target: Target, _ samples: SampleSource) throws -> Metadata {
    var metadata = Metadata()
    metadata["producer"] = "qcc \(Driver.version)"
    metadata["target-name"] = target.name
    metadata["target"] = target.source
    metadata["preprocessing"] = samples.preprocessing
    return metadata
  }
}

extension SearchScore: ExpressibleByArgument {}
