import Evaluator
import IR
import Support
import Synchronization
import Training

/// Training, step by step: all that goes on from one step to the next is in here, and a checkpoint holds all of it.
package struct TrainingRun: Sendable {
  package private(set) var network: TrainableGraph
  package let options: TrainingOptions
  /// Steps done.
  package internal(set) var step = 0
  /// Exponential average of the loss of the widest sub-network.
  package internal(set) var averageLoss: Double?
  package internal(set) var average = WeightAverage()
  private let plan: GradientPlan
  private let teacher: GradientPlan?
  private let supernet: Supernet?
  private let samples: TrainingSamples
  private let threads: Int
  private let ranks: any Communicator
  private var order: BatchOrder

  /// - Parameters:
  ///   - supernet: the choices of a step; nil: quantizers take the forms in force.
  ///   - teacher: the float network, for `distillation`.
  ///   - ranks: share every step, and end with the same bits as one process.
  package init(
    _ network: TrainableGraph, _ samples: TrainingSamples, _ options: TrainingOptions,
    supernet: Supernet? = nil,
    teacher: Graph? = nil, threads: Int, ranks: any Communicator = SingleProcess()
  ) throws(CompilerError) {
    self.network = network
    self.options = options
    self.samples = samples
    self.threads = threads
    self.ranks = ranks
    self.supernet = options.supernet == nil ? nil : supernet
    plan = try GradientPlan(
      network.graph, outputs: [.init(try network.graph.logits())],
      gradientsOf: network.parameters.map(\.value), batchNormalization: .batch, shardSize: options.shard,
      threads: threads)
    self.teacher =
      try options.distillation > 0
      ? teacher.map { graph throws(CompilerError) in
        try GradientPlan(
          graph, outputs: [.init(try graph.logits())], gradientsOf: [], mode: .float,
          shardSize: options.shard,
          threads: threads)
      } : nil
    order = BatchOrder(count: samples.count, batch: options.batch, seed: options.seed)
  }

  /// Of all that goes on to the next step: ranks must agree on it.
  package var hash: UInt64 {
    let parameters = network.parameters.map { TensorStorage(copying: $0.position).hash }
    let running = network.running.keys.sorted().map { value in
      TensorStorage(copying: network.running[value] ?? []).hash
    }
    return TensorStorage(copying: parameters + running).hash
  }
  /// The network with the mean of its parameters, where they are averaged; running means and variances of normalizations,
  /// which belong to other weights, are measured anew.
  /// - Parameter estimateSamples: training samples for these, without augmentation.
  package func result(estimateSamples: Int) throws(CompilerError) -> TrainableGraph {
    guard average.count > 0 else { return network }
    var result = network
    result.parameters = average.applied(to: network.parameters)
    let statistics = try SubnetworkEvaluation(result, threads: threads)
      .statistics([:], samples, count: estimateSamples)
    for (value, tensor) in statistics { result.running[value] = tensor.floats }
    return result
  }
  package var stepsPerEpoch: Int { order.batchesPerEpoch }
  package var isDone: Bool { step >= options.steps }

  /// Takes one step and returns the loss of the widest sub-network.
  @discardableResult
  package mutating func advance() throws(CompilerError) -> Double {
    let chosen = order.samples(step: step)
    let own = try plan.shards(ofBatch: chosen.count).enumerated().filter { ranks.owns($0.offset) }
    let (inputs, labels) = try samples.batch(
      chosen, options.augmentation, seed: options.seed ^ 0xA5A5, number: step * order.batch,
      rows: own.flatMap(\.element), threads: threads)
    let values = network.values
    var gradients = [[Float]?](repeating: nil, count: network.parameters.count)
    var guide = Guide.labels
    if let teacher { guide = .network(teacher, inputs, share: options.distillation) }
    var firstLoss = 0.0
    for (index, subnetwork) in subnetworks().enumerated() {
      let answers = Mutex<[Int: Tensor]>([:])
      let target = Target(labels: labels, guide: guide, smoothing: options.labelSmoothing)
      let result = try plan.run([inputs], overriding: values, forms: subnetwork, among: ranks) {
        shard throws(CompilerError) in
        answers.withLock { $0[shard.samples.lowerBound] = shard.outputs[0] }
        return try target.loss(shard)
      }
      if index == 0 {
        firstLoss = result.loss
        network.average(result.statistics, momentum: options.momentum)
      }
      add(result.gradients, of: subnetwork, to: &gradients)
      guard let settings = options.supernet else { continue }
      // The next, narrower one learns from this one.
      guide = .answers(answers.withLock { $0 }, share: settings.guidance)
    }
    guard firstLoss.isFinite, gradients.allSatisfy({ $0?.allSatisfy(\.isFinite) ?? true }) else {
      throw CompilerError(
        "the loss is \(firstLoss) at step \(step), or a gradient is not finite",
        notes: ["a smaller --learning-rate may help"], status: .gateFailed)
    }
    regularize(&gradients)
    let factor = options.schedule.factor(
      step: step, of: options.steps - options.averagedSteps, warmUp: options.warmUp)
    let rate = options.optimizer.rate * Float(factor)
    for index in network.parameters.indices {
      guard let gradient = gradients[index] else { continue }
      network.parameters[index].update(gradient, rate: rate, clipping: options.clipping)
    }
    if step >= options.steps - options.averagedSteps { average.add(network.parameters) }
    averageLoss = averageLoss.map { 0.98 * $0 + 0.02 * firstLoss } ?? firstLoss
    step += 1
    return firstLoss
  }

  /// Of this step: the widest, random ones, the narrowest; or the one in force.
  private func subnetworks() -> [Subnetwork] {
    guard let supernet, let settings = options.supernet else { return [[:]] }
    var random = SeededRandom(seed: options.seed ^ 0x5A5A, stream: UInt64(step))
    let kind = settings.averageBits.map { Supernet.Breadth.average($0) } ?? .any
    let between = (0..<settings.randomSubnetworks).map { _ in supernet.draw(kind, &random) }
    let widest = supernet.draw(.widest, &random), narrowest = supernet.draw(.narrowest, &random)
    return [widest] + between + (settings.trainsNarrowest ? [narrowest] : [])
  }

  /// Parameters of forms that a sub-network does not take have no part in it: they stay where they are.
  private func add(_ parts: [Tensor], of subnetwork: Subnetwork, to gradients: inout [[Float]?]) {
    for (index, parameter) in network.parameters.enumerated() {
      if let form = parameter.form, let quantizer = parameter.quantizer,
        form != subnetwork[quantizer] ?? network.currentForm(of: quantizer)
      {
        continue
      }
      parts[index].withFloats { part in
        guard var sum = gradients[index] else { return gradients[index] = Array(part) }
        gradients[index] = nil
        for position in part.indices { sum[position] += part[position] }
        gradients[index] = sum
      }
    }
  }

  /// Adds the gradients of the regularization of every layer's weights but the first.
  private func regularize(_ gradients: inout [[Float]?]) {
    guard let regularization = options.supernet?.regularization else { return }
    let layers = network.parameters.indices.filter { network.parameters[$0].kind == .weights }.dropFirst()
    for index in layers {
      guard var gradient = gradients[index] else { continue }
      _ = regularization.add(network.parameters[index].position, layers: layers.count, to: &gradient)
      gradients[index] = gradient
    }
  }

  mutating func restore(_ network: TrainableGraph, step: Int, averageLoss: Double?, _ average: WeightAverage)
  {
    self.network = network
    self.average = average
    self.step = step
    self.averageLoss = averageLoss
  }
}

extension TrainableGraph {
  fileprivate func currentForm(of quantizer: OpID) -> Int {
    if case .quantize(let op) = graph[quantizer].op { op.forms.currentIndex } else { 0 }
  }
}

/// Answers to come close to. Each shard needs those to its own samples alone, so that ranks exchange none.
private enum Guide: Sendable {
  case labels
  case network(GradientPlan, _ inputs: Tensor, share: Float)
  /// By the first sample of each shard.
  case answers([Int: Tensor], share: Float)

  /// nil: the labels say it all.
  func answers(to samples: Range<Int>) throws(CompilerError) -> (logits: Tensor, share: Float)? {
    switch self {
    case .labels: return nil
    case .network(let plan, let inputs, let share):
      return (try plan.outputs([inputs.samples(samples)])[0], share)
    case .answers(let logits, let share):
      return share > 0 ? logits[samples.lowerBound].map { ($0, share) } : nil
    }
  }
}

/// Labels, and answers to come close to.
private struct Target: Sendable {
  let labels: [Int]
  let guide: Guide
  let smoothing: Float

  /// A share of the divergence from the guide and the rest of the cross-entropy with the labels.
  func loss(_ shard: GradientPlan.Shard) throws(CompilerError) -> GradientPlan.ShardLoss {
    let logits = shard.outputs[0]
    let hard = crossEntropy(logits, labels: labels[shard.samples], smoothing: smoothing, batch: shard.batch)
    guard let (teacher, share) = try guide.answers(to: shard.samples) else {
      return GradientPlan.ShardLoss(hard.value, [hard.gradient])
    }
    let soft = distillation(logits, teacher: teacher, batch: shard.batch)
    let value = Double(1 - share) * hard.value + Double(share) * soft.value
    let gradient = zip(hard.gradient.floats, soft.gradient.floats).map { (1 - share) * $0 + share * $1 }
    return GradientPlan.ShardLoss(value, [Tensor(logits.shape, gradient)])
  }
}
