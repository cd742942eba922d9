import ArgumentParser
import IR
import Passes
import Support
import Trainer
import Training

struct TrainCommand: DistributedCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Train a network: in float, for given widths, or as a supernet of all forms at once.",
    discussion: """
      Example: qcc train model.onnx --elastic --target x86-int4 --data train/ --preprocess p.yaml --epochs 30 --random-flip --random-crop 4 -o supernet.qir
               qcc train model.onnx --bits w4a4 --target x86-int4 --data train/ --preprocess p.yaml --test test/ -o trained.qir
               qcc train model.onnx --data train/ --preprocess p.yaml --epochs 3 -o tuned.qir          in float
               qcc opt --pass-pipeline='canonical, equalize{by = both}' model.onnx --data train/ --preprocess p.yaml -o even.qir          before: for depthwise networks
               qcc compile trained.qir --target x86-int4 --data train/ --preprocess p.yaml -o model.qpk
               qcc compile supernet.qir --target x86-int4 --assignment pick.json --data train/ --preprocess p.yaml
               qcc train supernet.qir --elastic --avg-bits 2:4 --data train/ --preprocess p.yaml --epochs 10 -o narrow.qir          goes on from a supernet
      Batch normalizations stand apart from their convolutions while weights move ('restore-batch-norm'); compile measures
      them anew and folds them. Layers with weights narrow their inputs themselves, sums of residual networks keep 8 bits.
      The first and the last layer keep the widest forms. Steps and zero points of every form are learned, zero points
      rounded in the forward pass: what is trained is what is deployed.
      An elastic step trains the widest, a random and the narrowest sub-network on one batch, the wider teaching the next
      narrower (EQ-Net, arXiv 2308.07650). With --checkpoint an interrupted run (Ctrl-C) goes on where it stopped when the
      same command is given again, and ends with the same bytes. Normalization takes statistics of --shard samples.
      'mpirun -n 4 qcc train ...' shares every step's shards among four processes, with the same bytes as one.
      """)
  @Argument(help: "An .onnx model, a .qir graph before assign, or a supernet to train on.") var model: String
  @Option(help: "A target that 'qcc targets' lists, or a YAML file: the legal forms.") var target: String?
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The trained graph; default: the model's name with .trained.qir.", valueName: "qir"))
  var output: String?
  @Flag(help: "Train a supernet of all legal forms.") var elastic = false
  @Option(help: ArgumentHelp("Train for these widths: 'w4a4'.", valueName: "wNaM")) var bits: String?

  @Option(help: "Passes over the data.") var epochs: Double?
  @Option(help: "Steps, in place of --epochs.") var steps: Int?
  @Option(
    name: .customLong("time-budget"),
    help: ArgumentHelp(
      "As many steps as fit in this time, told from the first ones: 90s, 30m, 2h. Repeat a run by its --steps.",
      valueName: "time"))
  var timeBudget: String?
  @Option(help: "Samples in a step.") var batch = 128
  @Option(help: "Samples that are normalized together, on one thread.") var shard = 64
  @Option(name: .customLong("learning-rate"), help: "Of weights, at its highest.") var learningRate: Float?
  @Option(
    name: .customLong("quantizer-rate"), help: "Of steps, as a share of them; zero points move by tens of it."
  )
  var quantizerRate: Float = 1e-3
  @Option(help: "sgd, adam or adamw.") var optimizer = Optimizer.Algorithm.adam
  @Option(help: "Of sgd.") var momentum: Float = 0.9
  @Option(name: .customLong("weight-decay"), help: "Of weights.") var weightDecay: Float = 0
  @Option(help: "cosine, one-cycle or constant.") var schedule = ScheduleName.cosine
  @Option(
    name: .customLong("least-rate"),
    help: ArgumentHelp("Share of --learning-rate at which cosine ends.", valueName: "share"))
  var leastRate: Double?
  @Option(
    help: ArgumentHelp(
      "The result is the mean of the networks behind the last steps, this share of all of them; the schedule ends before.",
      valueName: "share"))
  var average = 0.0
  @Option(name: .customLong("warm-up"), help: "Steps in which the rate rises first.") var warmUp = 0
  @Option(name: .customLong("label-smoothing"), help: "Share of the labels spread over all classes.")
  var labelSmoothing: Float = 0
  @Option(help: "Largest magnitude of a gradient's element.") var clip: Float = 1
  @Option(help: "Augmentation: zeros around images, of which a random part is cut out.") var randomCrop = 0
  @Flag(help: "Augmentation: mirror half of the images.") var randomFlip = false
  @Flag(
    help:
      "Augmentation: blend every image with another, for --distill 1: no label tells what a blend is."
  )
  var mixup = false
  @Option(
    help: "Share of the float network's answers in the loss of the only or widest sub-network, 0 to 1.")
  var distill: Float = 0
  @Option(
    help: ArgumentHelp(
      "The float network that --distill asks, .onnx or .qir; default: the one that is trained.",
      valueName: "model"))
  var teacher: String?

  @Option(help: "With --elastic: random sub-networks in a step.") var subnetworks = 1
  @Option(
    name: .customLong("avg-bits"),
    help: ArgumentHelp(
      "With --elastic: random sub-networks average to widths from this range, drawn for weights and for inputs of layers: 2.2:5. Default: every layer takes each width alike.",
      valueName: "least:most"))
  var averageBits: String?
  @Flag(
    inversion: .prefixedNo, help: "With --elastic: the narrowest sub-network takes part in every step.")
  var narrowest = true
  @Option(help: "With --elastic: share of the wider sub-network's answers in the loss of the next, 0 to 1.")
  var guidance: Float = 0.5
  @Flag(
    inversion: .prefixedNo,
    help: "With --elastic: pull the distribution of weights towards a flat, symmetric one.")
  var regularization = true

  @Option(help: ArgumentHelp("Where the run is kept, to go on from.", valueName: "safetensors"))
  var checkpoint: String?
  @Option(name: .customLong("checkpoint-every"), help: "Steps between checkpoints; default: an epoch.")
  var checkpointEvery: Int?
  @Option(name: .customLong("calibration-samples"), help: "Samples that the first ranges are found on.")
  var calibrationSamples = 256
  @Option(help: "Labelled samples on which the result is measured.") var test: String?
  @Option(name: .customLong("test-labels"), help: "Labels of --test.") var testLabels: String?
  @Option(name: .customLong("test-samples"), help: "How many of --test; default: all.") var testSamples: Int?
  @Option(
    name: .customLong("test-bits"), parsing: .singleValue,
    help: ArgumentHelp(
      "With --elastic: a width that --test measures, may be repeated; default: all.", valueName: "bits"))
  var testBits: [Int] = []
  @Option(
    name: .customLong("estimate-samples"),
    help:
      "Training samples on which normalizations are measured for each evaluated sub-network, and for --average."
  )
  var estimateSamples = 2048
  @Flag(help: "Print the report as JSON.") var json = false
  @OptionGroup var data: DataFlags
  @OptionGroup var general: GeneralFlags

  enum ScheduleName: String, ExpressibleByArgument, CaseIterable {
    case cosine, oneCycle = "one-cycle", constant
    func schedule(floor: Double) -> Schedule {
      switch self {
      case .cosine: .cosine(floor: floor)
      case .oneCycle: .oneCycle()
      case .constant: .constant
      }
    }
  }

  func validate() throws {
    func require(_ condition: Bool, _ message: String) throws {
      if !condition { throw ValidationError(message) }
    }
    try require(!(elastic && bits != nil), "give --elastic or --bits, not both")
    try require(
      (elastic || bits != nil) || target == nil, "--target belongs to --elastic and --bits")
    try require(
      [epochs != nil, steps != nil, timeBudget != nil].count { $0 } <= 1,
      "give one of --epochs, --steps and --time-budget")
    try require((epochs ?? 1) > 0 && (epochs ?? 1) <= 1e6, "--epochs must be positive")
    try require((steps ?? 1) > 0, "--steps must be positive")
    try require(batch > 0 && batch <= 65_536, "--batch must be 1 to 65536")
    try require(
      shard > 1 && shard <= batch, "--shard must be 2 to the batch: normalization needs several samples")
    try require((learningRate ?? 1) > 0 && quantizerRate > 0, "rates must be positive")
    try require((0..<1).contains(momentum), "--momentum must be in [0, 1)")
    try require(
      weightDecay >= 0 && warmUp >= 0 && randomCrop >= 0 && randomCrop <= 1024,
      "--weight-decay, --warm-up and --random-crop must not be negative")
    try require((0..<1).contains(labelSmoothing), "--label-smoothing must be in [0, 1)")
    try require(
      leastRate == nil || schedule == .cosine && (0...1).contains(leastRate ?? 0),
      "--least-rate belongs to --schedule cosine, and is 0 to 1")
    try require((0...1).contains(average), "--average must be in [0, 1]")
    try require(
      average == 0 || schedule == .constant || (leastRate ?? 0) > 0,
      "--average needs steps that still move: --least-rate above 0, or --schedule constant")
    try require(clip > 0, "--clip must be positive")
    try require(
      (0...1).contains(distill) && (0...1).contains(guidance), "--distill and --guidance must be in [0, 1]")
    try require(teacher == nil || distill > 0, "--teacher needs --distill, the share of its answers")
    try require(
      !mixup || (distill == 1 && (!elastic || guidance == 1)),
      "--mixup needs --distill 1, with --elastic --guidance 1 too")
    try require((0...64).contains(subnetworks), "--subnetworks must be 0 to 64")
    try require(
      subnetworks > 0 || narrowest, "--subnetworks 0 and --no-narrowest leave nothing but the widest to train"
    )
    try require((checkpointEvery ?? 1) > 0, "--checkpoint-every must be positive")
    try require(calibrationSamples > 0 && estimateSamples > 0, "numbers of samples must be positive")
    try require((testSamples ?? 1) > 0, "--test-samples must be at least 1")
    try require(
      test != nil || (testLabels == nil && testSamples == nil && testBits.isEmpty),
      "--test-labels, --test-samples and --test-bits belong to --test")
    try require(elastic || testBits.isEmpty, "--test-bits belongs to --elastic")
    try require(
      elastic || (averageBits == nil && narrowest), "--avg-bits and --no-narrowest belong to --elastic")
  }

  func run() throws {
    general.apply()
    var session = try TrainingSession(self)
    Interruption.watch()
    try session.train()
    let destination = output ?? defaultOutput
    if Ranks.isFirst { try session.trained().save(destination) }
    let report = try session.report(savedTo: destination)
    guard Ranks.isFirst else { return }
    print(json ? report.json.text : report.text)
  }

  /// The settings of the run, but for the number of steps.
  func options() throws(CompilerError) -> TrainingOptions {
    var options = TrainingOptions()
    options.batch = batch
    options.shard = shard
    options.optimizer.algorithm = optimizer
    options.optimizer.momentum = momentum
    options.optimizer.weightDecay = weightDecay
    options.optimizer.quantizerRate = quantizerRate
    options.optimizer.rate = learningRate ?? (optimizer == .sgd ? 0.01 : 5e-4)
    options.schedule = schedule.schedule(floor: leastRate ?? 0)
    options.warmUp = warmUp
    options.averagedShare = average
    options.labelSmoothing = labelSmoothing
    options.clipping = clip
    options.seed = data.seed
    options.distillation = distill
    if randomCrop > 0 || randomFlip || mixup {
      options.augmentation = Augmentation(padding: randomCrop, flips: randomFlip, blends: mixup)
    }
    if elastic {
      var supernet = SupernetOptions()
      supernet.randomSubnetworks = subnetworks
      supernet.guidance = guidance
      supernet.averageBits = try averages()
      supernet.trainsNarrowest = narrowest
      supernet.regularization = regularization ? WeightRegularization() : nil
      options.supernet = supernet
    }
    return options
  }

  /// The widths of --bits.
  func widths() throws(CompilerError) -> (weights: Int, activations: Int)? {
    guard let bits else { return nil }
    let parts = bits.dropFirst().split(separator: "a", omittingEmptySubsequences: false).map { Int($0) }
    guard bits.first == "w", parts.count == 2, let weights = parts[0], let activations = parts[1],
      (1...8).contains(weights), (1...8).contains(activations)
    else { throw CompilerError("--bits takes widths such as 'w4a4', not '\(bits)'", status: .usage) }
    return (weights, activations)
  }

  /// The range of --avg-bits.
  private func averages() throws(CompilerError) -> ClosedRange<Double>? {
    guard let averageBits else { return nil }
    let ends = averageBits.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) }
    guard ends.count == 2, let least = ends[0], let most = ends[1], 1 <= least, least <= most, most <= 8
    else {
      throw CompilerError(
        "--avg-bits takes two averages within 1 and 8, such as '2.2:5', not '\(averageBits)'", status: .usage)
    }
    return least...most
  }

  /// The seconds of --time-budget.
  func budget() throws(CompilerError) -> Double? {
    guard let timeBudget else { return nil }
    let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600]
    guard let unit = timeBudget.last.flatMap({ units[$0] }), let number = Double(timeBudget.dropLast()),
      number > 0, number.isFinite
    else {
      throw CompilerError(
        "--time-budget takes a time such as 90s, 30m or 2h, not '\(timeBudget)'", status: .usage)
    }
    return number * unit
  }

  private var defaultOutput: String {
    let name = model == "-" ? "model" : model.split(separator: "/").last.map(String.init) ?? model
    return (name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name) + ".trained.qir"
  }
}

extension Optimizer.Algorithm: ExpressibleByArgument {}
