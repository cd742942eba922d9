import Datasets
import Evaluator
import Glibc
import IR
import Numerics
import PassKit
import Passes
import Support
import Trainer
import Training

/// What `qcc train` does: prepares the graph, trains with checkpoints, measures.
struct TrainingSession {
  private let command: TrainCommand
  private let samples: TrainingSamples
  private let supernet: Supernet
  private var run: TrainingRun
  private let checkpoint: Checkpoint
  private let threads: Int
  /// Steps that were done before this process.
  private var resumedAt = 0
  private var seconds = 0.0
  /// What training gave; before its end where it stands.
  private(set) var result: TrainableGraph
  private var stepSeconds: [Double] = []

  init(_ command: TrainCommand) throws {
    self.command = command
    threads = command.general.threadCount
    // Flags are told before anything is read.
    let widths = try command.widths(), budget = try command.budget()
    var options = try command.options()
    let general = command.general
    let imported = try LoadedModel(path: command.model, check: general.onnxCheck, shapes: general.inputShapes)
      .graph(for: "train", at: command.model)
    guard let calibration = try command.data.source(for: imported) else {
      throw CompilerError("qcc train needs --data", status: .usage)
    }
    let (graph, own, supernet) = try TrainingSession.prepared(imported, command, widths, calibration)
    let teacher = try command.teacher.map { try TrainingSession.teacher($0, of: graph, command) } ?? own
    self.supernet = supernet
    let shape = graph[graph.inputs[0]].type.shape.extents.dropFirst().compactMap(\.value)
    let classes = graph[try graph.logits()].type.shape.size(1)
    samples = try TrainingSamples(
      calibration.prepared, shape: shape, classes: classes, threads: threads
    ) { Console.progress("reading samples", $0, $1) }
    samples.unreadable.forEach(Console.report)
    if samples.count < options.batch { options.batch = samples.count }
    options.shard = min(options.shard, options.batch)
    let network = TrainableGraph(graph, options.optimizer)
    let perEpoch = max(samples.count / options.batch, 1)
    options.steps = command.steps ?? max(Int((command.epochs ?? 10) * Double(perEpoch)), 1)
    if let budget {
      let trial = try TrainingRun(
        network, samples, options, supernet: supernet, teacher: teacher, threads: threads, ranks: Ranks.all)
      options.steps = try Ranks.all.broadcast([TrainingSession.steps(within: budget, trial)])[0]
      Console.report(Diagnostic(.note, "--steps \(options.steps) repeats this run"))
    }
    run = try TrainingRun(
      network, samples, options, supernet: supernet, teacher: teacher, threads: threads, ranks: Ranks.all)
    result = run.network
    let taught = command.teacher == nil ? "" : ", teacher \(TrainingSession.hash(teacher))"
    checkpoint = Checkpoint(
      fingerprint: "\(options), \(samples.count) samples, graph \(TrainingSession.hash(graph))\(taught)")
    let madeWith = TensorStorage(copying: Array(checkpoint.fingerprint.utf8)).hash
    try Ranks.all.requireSame(
      TensorStorage(copying: [madeWith, TensorStorage(copying: samples.labels).hash]).hash,
      "the model or the data")
    if let path = command.checkpoint, let file = try TrainingSession.contents(path) {
      try checkpoint.restore(&run, from: file)
      resumedAt = run.step
      Console.report(Diagnostic(.note, "goes on behind step \(run.step)", at: path))
    }
  }

  private static func hash(_ graph: Graph) -> String {
    String(TensorStorage(copying: Array(graph.text(.hashed).utf8)).hash, radix: 16)
  }

  /// Rank 0's checkpoint, on every rank; nil when there is none yet.
  private static func contents(_ path: String) throws -> SafetensorsFile? {
    guard Ranks.isDistributed else {
      return access(path, F_OK) == 0 ? try SafetensorsFile(path: path) : nil
    }
    let isThere = Ranks.isFirst && access(path, F_OK) == 0
    let bytes = try Ranks.all.broadcast(isThere ? MappedFile(path: path).contents : [])
    return bytes.isEmpty ? nil : try SafetensorsFile(MappedFile(path: path, holding: bytes))
  }

  /// The graph to train, the float network, and the choices.
  private static func prepared(
    _ imported: Graph, _ command: TrainCommand, _ widths: (weights: Int, activations: Int)?,
    _ calibration: SampleSource
  ) throws -> (graph: Graph, teacher: Graph, supernet: Supernet) {
    if command.elastic, imported.isTrainedSupernet {
      try checkContinuation(of: imported, command)
      return (imported, imported, Supernet(imported))
    }
    guard imported.stage < .elastic else {
      throw CompilerError(
        "the graph is \(imported.stage.text): qcc train takes a float network, or with --elastic a supernet that it made",
        at: command.model)
    }
    guard command.target != nil || !(command.elastic || widths != nil) else {
      throw CompilerError("--elastic and --bits need --target", status: .usage)
    }
    var context = PassContext(
      threads: command.general.threadCount, seed: command.data.seed, progress: Console.progress)
    context.calibration = FirstSamples(source: calibration, count: command.calibrationSamples)
    var instrumentation = Instrumentation()
    instrumentation.reproducer = .never
    func apply(_ text: String, to graph: Graph) throws -> Graph {
      var graph = graph
      _ = try PassManager(instrumentation).run(
        Pipeline(text: text, passes: allPasses, named: namedPipelines), on: &graph, &context)
      return graph
    }
    var teacher = imported
    if teacher.stage == .imported { try canonicalize(&teacher, command.general) }
    guard let target = command.target else {
      let graph = try apply("restore-batch-norm", to: teacher)
      return (graph, teacher, Supernet(graph))
    }
    var graph = try apply(
      "insert-quantizers{target = \(target.quotedText), own-inputs = true}, restore-batch-norm", to: teacher)
    let elastic = Supernet(graph)
    try checkWidths(command.testBits + (widths.map { [$0.weights, $0.activations] } ?? []), elastic, target)
    if let widths {
      let style = Supernet.Style(granularity: .channel, weights: .symmetric, activations: .asymmetric)
      let forms = elastic.uniform(style, weightBits: widths.weights, activationBits: widths.activations)
      graph = try graph.keeping(graph.quantizers.map { forms[$0.id] })
      graph.stage = .assigned
    }
    graph = try apply("calibrate", to: graph)
    context.diagnostics.forEach(Console.report)
    return (graph, teacher, Supernet(graph))
  }

  /// The float network at `path`, which must take the samples of `student` and know its classes.
  private static func teacher(_ path: String, of student: Graph, _ command: TrainCommand) throws -> Graph {
    let graph = try canonicalModel(path, command.general, for: "train --teacher")
    func shapes(_ graph: Graph) throws -> [Shape] {
      let logits = try graph.logits()
      return [graph.inputs[0], logits].map { graph[$0].type.shape }
    }
    let (own, its) = (try shapes(student), try shapes(graph))
    guard own == its else {
      throw CompilerError(
        "the teacher takes \(its[0]) to \(its[1]), the network to train \(own[0]) to \(own[1])", at: path,
        status: .rejected)
    }
    return graph
  }

  /// A supernet keeps the forms and the weights it was trained with.
  private static func checkContinuation(of supernet: Graph, _ command: TrainCommand) throws(CompilerError) {
    let made = supernet.metadata("target") ?? ""
    if let target = try command.target.map(Target.named), target.name != made {
      throw CompilerError(
        "the supernet was trained for target '\(made)', not '\(target.name)'", at: command.model,
        status: .usage)
    }
    guard command.distill == 0 || command.teacher != nil else {
      throw CompilerError(
        "--distill needs a float network, which a supernet is no longer: name one by --teacher",
        at: command.model, status: .usage)
    }
    try checkWidths(command.testBits, Supernet(supernet), made)
  }

  private static func checkWidths(
    _ named: [Int], _ supernet: Supernet, _ target: String
  ) throws(CompilerError) {
    let legal = Set(supernet.widths)
    for bits in named where !legal.contains(bits) {
      throw CompilerError(
        "\(bits) bits are not legal on target '\(target)', which allows \(legal.sorted())", status: .usage)
    }
  }

  /// How many steps fit, from the time of a few (the first, which prepares, left out); a twentieth is kept for the rest.
  private static func steps(within seconds: Double, _ run: TrainingRun) throws -> Int {
    var trial = run, times: [Double] = []
    for _ in 0..<6 {
      let start = ContinuousClock.now
      try trial.advance()
      times.append((ContinuousClock.now - start).seconds)
    }
    let step = times.dropFirst().sorted()[2]
    return max(Int(0.95 * seconds / step), 1)
  }

  // MARK: Training

  /// Trains to the end.
  /// - Throws: `interrupted` when the user asked to stop, with the checkpoint written.
  mutating func train() throws {
    let start = ContinuousClock.now, every = command.checkpointEvery ?? run.stepsPerEpoch
    while !run.isDone {
      let stepStart = ContinuousClock.now
      try run.advance()
      stepSeconds.append((ContinuousClock.now - stepStart).seconds)
      Console.progress("training", run.step, run.options.steps)
      if run.step % run.stepsPerEpoch == 0 {
        Console.line("epoch \(run.step / run.stepsPerEpoch): loss \(fixed(run.averageLoss ?? .nan, 4))")
      }
      // A signal reaches ranks at different steps.
      let isInterrupted = try Ranks.all.any(Interruption.isRequested)
      let isDue = run.step % every == 0 || run.isDone || isInterrupted
      if isDue { try Ranks.all.requireSame(run.hash, "the network behind step \(run.step)") }
      guard let path = command.checkpoint else {
        if isInterrupted { throw interruption() }
        continue
      }
      if isDue, Ranks.isFirst { try checkpoint.save(run, to: path) }
      if isInterrupted {
        throw CompilerError(
          "interrupted behind step \(run.step) of \(run.options.steps); the same command goes on from there",
          at: path,
          status: .interrupted)
      }
    }
    seconds = (ContinuousClock.now - start).seconds
    result = try run.result(estimateSamples: command.estimateSamples)
  }

  /// What to save: for a network in float, which nothing is measured anew for, with its normalizations folded.
  func trained() throws -> Graph {
    var graph = result.learned()
    if graph.stage == .canonical { try canonicalize(&graph, command.general) }
    return graph
  }

  // MARK: Measuring

  /// What was trained, and how right it answers on --test.
  func report(savedTo path: String) throws -> TrainingReport {
    var report = TrainingReport(
      path: path, steps: run.options.steps, averagedSteps: run.options.averagedSteps, samples: samples.count,
      batch: run.options.batch,
      seconds: seconds, steppedHere: run.step - resumedAt, weights: result.weightCount,
      loss: run.averageLoss, stepSeconds: stepSeconds)
    guard let test = command.test else { return report }
    var flags = command.data
    flags.data = test
    flags.labels = command.testLabels
    flags.samples = command.testSamples
    guard let source = try flags.source(for: result.graph) else { return report }
    let held = try TrainingSamples(source.prepared, shape: samples.shape, classes: nil, threads: threads) {
      Console.progress("reading test samples", $0, $1)
    }
    let evaluation = try SubnetworkEvaluation(result, threads: threads)
    let rows = TrainingReport.rows(supernet, isElastic: command.elastic, widths: command.testBits)
    let top1 = try Ranks.all.dealt(rows.count, idle: 0) { index throws(CompilerError) in
      let subnetwork = rows[index].subnetwork
      let statistics =
        command.elastic
        ? try evaluation.statistics(subnetwork, samples, count: command.estimateSamples) : nil
      Console.progress("measuring sub-networks", index + 1, rows.count)
      return try evaluation.accuracy(subnetwork, statistics: statistics, on: held)
    }
    report.accuracies = zip(rows, top1).map { ($0.name, $1) }
    report.testSamples = held.count
    return report
  }
}

/// The first few of many samples.
private struct FirstSamples: CalibrationData {
  let source: SampleSource
  let limit: Int
  init(source: SampleSource, count: Int) { (self.source, limit) = (source, count) }
  var count: Int { min(source.count, limit) }
  func sample(_ index: Int) throws -> [Float] { try source.sample(index) }
}
