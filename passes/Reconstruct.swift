import Evaluator
import IR
import Numerics
import PassKit
import Support
import Training

/// Where the weights of `reconstruct` begin.
package enum StartingRounding: String, TextEnumeration, Hashable { case none, gptq, adaround }

package struct ReconstructOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("bits-below", \.bitsBelow, help: "units with a quantizer of fewer bits than this are trained"),
    Attribute("rounding", \.rounding, help: "roundings that weights start from: none, gptq or adaround"),
    Attribute(
      "reach", \.reach, help: "how far from their first level, at most, weights begin: in steps, below 0.5"),
    Attribute("samples", \.samples, help: "calibration samples to learn from"),
    Attribute("least-samples", \.leastSamples, help: "with fewer of them weights are rounded, not trained"),
    Attribute(
      "memory", \.memory, help: "MiB of activations kept, at most: of fewer samples in large networks"),
    Attribute("layers", \.layers, help: "layers with weights in a unit, at least"),
    Attribute("iterations", \.iterations, help: "steps of training for each unit"),
    Attribute(
      "network-iterations", \.networkIterations, help: "steps of training the whole network afterwards"),
    Attribute(
      "network-rate", \.networkRate, help: "learning rates of that training, as a share of the units'"),
    Attribute("batch", \.batch, help: "samples in a step"),
    Attribute(
      "work", \.work,
      help:
        "multiplications of all steps, at most, in units of 10^12: large networks take smaller batches, then fewer steps; 0: no limit"
    ),
    Attribute("weight-rate", \.weightRate, help: "learning rate of weights, in steps of their quantizer"),
    Attribute("parameter-rate", \.parameterRate, help: "learning rate of steps and biases"),
    Attribute(
      "attempts", \.attempts,
      help: "how often, at most, a unit is trained until it does: each time at a quarter of the rates"),
    Attribute(
      "dropping", \.dropping,
      help: "share of activations that stay unquantized in a step of a unit's training"),
  ]
  package var bitsBelow = 8
  package var rounding = StartingRounding.gptq
  package var reach: Float = 0.25
  package var samples = 2048
  package var leastSamples = 1
  package var memory = 1024
  package var layers = 2
  package var iterations = 100
  package var networkIterations = 300
  package var networkRate: Float = 0.2
  package var batch = 32
  package var work: Float = 0
  package var weightRate: Float = 0.01
  package var parameterRate: Float = 0.005
  package var attempts = 3
  package var dropping: Float = 0.5
  package init() {}
}

/// Learns weights, biases and the steps of all quantizers, block by block, so that each block's outputs come close to
/// those of the float network; then of all blocks together, so that the answers do. Needs no labels.
///
///     %xq = quantize(%x, %s, %z) {role = activation, …}
///     %wq = quantize(%w, %t, %u) {role = weight, …}
///     %y  = conv2d(%xq, %wq, %b)
///   ->
///     %xq = quantize(%x, %s', %z) {role = activation, …}
///     %wq = quantize(%w', %t', %u) {role = weight, …}                 w' = multiples of t'
///     %y  = conv2d(%xq, %wq, %b')
///
/// Block reconstruction (BRECQ, Li et al., arXiv 2102.05426) with activations dropped at random from quantization
/// (QDrop, Wei et al., arXiv 2203.05740); weights move freely under a straight-through rounding with learned steps (LSQ,
/// Esser et al., arXiv 1902.08153), since with a few hundred samples or more they do not overfit. Blocks see inputs from
/// the quantized blocks before them. Weights begin where gptq, or adaround, rounds them to. An eighth of the samples is held
/// out: what training makes worse on those is trained again at a quarter of the rates, and stays as it was if no attempt helps. Without
/// calibration data nothing happens.
///
/// Adam moves every parameter at its rate as long as gradients agree in sign, whatever their size. So many small batches
/// teach more than few large ones, and large learning rates of biases and steps spoil layers that have lost little.
package let reconstruct = Pass(
  "reconstruct", "learn weights, biases and steps block by block from the float network's activations",
  accepts: .assigned ... .assigned, options: ReconstructOptions.self
) { rewriter, context, options in
  guard options.samples > 0, options.memory > 0, options.layers > 0, options.iterations >= 0,
    options.networkIterations >= 0,
    options.batch > 0, options.attempts > 0, options.work >= 0, options.networkRate >= 0, options.reach >= 0,
    options.reach < 0.5,
    options.weightRate >= 0, options.parameterRate >= 0, options.dropping >= 0,
    options.dropping < 1
  else {
    throw CompilerError(
      "reconstruct: samples, memory, layers, batch and attempts must be positive, iterations and rates not negative, dropping in [0, 1), reach in [0, 0.5)",
      status: .usage)
  }
  let teacher = rewriter.graph
  // Networks that cannot be trained are rounded all the same.
  switch options.rounding {
  case .none: break
  case .gptq: try roundWeights(&rewriter, context, GptqOptions())
  case .adaround: try roundWeights(&rewriter, context, GptqOptions(), .adaptive(AdaptiveRounding()))
  }
  guard teacher.isCalibrated, let input = teacher.inputs.first, teacher.inputs.count == 1,
    let logits = teacher.logits
  else { return rewriter.count("left alone") }
  guard let data = context.calibration, data.count > 0 else {
    return rewriter.count("skipped for want of data")
  }
  let units = teacher.reconstructionUnits(from: input, to: logits, layers: options.layers)
  guard units.contains(where: { teacher.isNarrow($0.operations, below: options.bitsBelow) }) else { return }
  guard rewriter.takeStep() else { return }
  // The same operations and activations as the teacher's, other constants.
  let graph = rewriter.graph

  // Gradients of biases and steps are not the same bits yet when threads take shards at once; one thread's always are.
  let threads = context.threads
  let count = min(
    options.samples, data.count, UnitSamples.fitting([input], graph, memory: options.memory))
  guard count >= options.leastSamples else { return rewriter.count("left alone for want of samples") }
  let options = options.limited(graph)
  guard options.iterations + options.networkIterations > 0 else {
    return rewriter.count("left alone for want of work")
  }
  let inputs = try SampleBank(data, graph, samples: count)
  var samples = UnitSamples(
    inputs, at: input, teacher: teacher, graph: graph, memory: options.memory, threads: threads)
  var training = UnitTraining(
    loss: .output, iterations: options.iterations, batch: options.batch, weightRate: options.weightRate,
    parameterRate: options.parameterRate, dropping: options.dropping, seed: context.seed)
  var learned: [Trainable] = []
  let progress = context.progress
  let total = options.iterations * units.count + options.networkIterations
  for (number, unit) in units.enumerated() {
    var own =
      graph.isNarrow(unit.operations, below: options.bitsBelow)
      ? graph.trainables(in: unit.operations, teacher: teacher, reach: options.reach) : []
    guard !own.isEmpty else { continue }
    if options.iterations > 0 {
      let (float, seen) = try samples.inputs(of: unit)
      let floatPlan = try GradientPlan(
        teacher, inputs: [unit.input], outputs: [.init(unit.output)], gradientsOf: [], mode: .float,
        threads: threads)
      let targets = try SampleBank(floatPlan, float, overriding: [:])
      let plan = try GradientPlan(
        graph, inputs: [unit.input], outputs: [.init(unit.output)], gradientsOf: own.map(\.value),
        shardSize: 8, threads: threads)
      training.holdOut(of: seen.count)
      let better = try training.improved(
        plan, own, from: own.values, attempts: options.attempts, inputs: seen, targets: targets
      ) {
        progress(
          "reconstructing unit \(number + 1) of \(units.count)", options.iterations * number + $0, total)
      }
      rewriter.count(better == nil ? "units that training made no better" : "units")
      own = better ?? own
    }
    samples.add(own)
    training.seed &+= 1
    learned += own
  }
  training.loss = graph[logits].type.shape.rank == 2 ? .answers : .output
  if !learned.isEmpty {
    let teacherPlan = try GradientPlan(
      teacher, inputs: [input], outputs: [.init(logits)], gradientsOf: [], mode: .float,
      shardSize: graph.shardSize, threads: threads)
    let answers = try SampleBank(teacherPlan, inputs, overriding: [:])
    training.holdOut(of: count)
    training.iterations = options.networkIterations
    training.weightRate *= options.networkRate
    training.parameterRate *= options.networkRate
    training.dropping = 0  // the network answers with all activations quantized
    let plan = try GradientPlan(
      graph, inputs: [input], outputs: [.init(logits)], gradientsOf: learned.map(\.value),
      shardSize: graph.shardSize,
      threads: threads)
    let better = try training.improved(
      plan, learned.map { $0.restarted() }, from: learned.values, attempts: options.attempts, inputs: inputs,
      targets: answers
    ) {
      progress("reconstructing the network", options.iterations * units.count + $0, total)
    }
    if better == nil { rewriter.count("networks that training made no better") }
    learned = better ?? learned
    // Units that are better one by one may not be so together.
    if try training.worsens(plan, from: [:], to: learned.values, inputs: inputs, targets: answers) {
      return rewriter.count("networks left as they were")
    }
  }
  // Weights last: they become multiples of their new steps.
  for trainable in learned.filter({ $0.kind != .weights }) + learned.filter({ $0.kind == .weights }) {
    apply(trainable, &rewriter)
  }
}

private func apply(_ trainable: Trainable, _ rewriter: inout Rewriter) {
  let name = rewriter.graph[trainable.value].name
  var values = trainable.floats
  if trainable.kind == .weights, case .quantize(let quantizer) = rewriter.graph[trainable.op].op,
    let parameters = rewriter.graph.parameters(of: rewriter.graph[trainable.op], quantizer)
  {
    let length = values.count / max(parameters.count, 1), range = quantizer.storedRange
    for index in values.indices {
      let p = parameters[index / max(length, 1)]
      values[index] = p.dequantize(p.quantize(values[index], range))
    }
  }
  let constant = Constant("\(name).learned", trainable.shape, values)
  rewriter.setOperand(trainable.op, trainable.operand, to: rewriter.constant(constant))
  rewriter.count("constants learned")
}

extension UnitTraining {
  /// What training makes of `start`, if the loss on held-out samples is then not above that of `old`: at these rates, else at a
  /// quarter of them, and so on. Nil when no attempt gets there.
  fileprivate func improved(
    _ plan: GradientPlan, _ start: [Trainable], from old: [ValueID: Tensor], attempts: Int,
    inputs: SampleBank, targets: SampleBank, progress: (_ step: Int) -> Void
  ) throws(CompilerError) -> [Trainable]? {
    var training = self
    for _ in 0..<attempts {
      var result = start
      try training.run(plan, &result, inputs: inputs, targets: targets, progress: progress)
      guard try worsens(plan, from: old, to: result.values, inputs: inputs, targets: targets) else {
        return result
      }
      training.weightRate /= 4
      training.parameterRate /= 4
    }
    return nil
  }

  fileprivate func worsens(
    _ plan: GradientPlan, from old: [ValueID: Tensor], to new: [ValueID: Tensor], inputs: SampleBank,
    targets: SampleBank
  ) throws(CompilerError) -> Bool {
    guard heldOut > 0 else { return false }
    let before = try heldOutLoss(plan, old, inputs: inputs, targets: targets)
    return try heldOutLoss(plan, new, inputs: inputs, targets: targets) > before
  }
}

extension [Trainable] {
  fileprivate var values: [ValueID: Tensor] {
    Dictionary(uniqueKeysWithValues: map { ($0.value, $0.tensor) })
  }
}

extension ReconstructOptions {
  /// The same with smaller batches, down to 8 samples, then fewer steps, as the limit of work wants: forward and backward
  /// take three times the network's multiplications.
  fileprivate func limited(_ graph: Graph) -> ReconstructOptions {
    guard work > 0 else { return self }
    var result = self
    let step = 3 * graph.multiplications * Double(iterations + networkIterations), limit = Double(work) * 1e12
    while result.batch > 8, step * Double(result.batch) > limit { result.batch = max(result.batch / 2, 8) }
    let share = min(limit / max(step * Double(result.batch), 1), 1)
    result.iterations = Int(Double(iterations) * share)
    result.networkIterations = Int(Double(networkIterations) * share)
    return result
  }
}

extension Graph {
  /// So many samples, eight at most, that all values of theirs and the gradients of these take about 256 MiB: what a
  /// thread keeps while it trains the network.
  fileprivate var shardSize: Int {
    let elements = values.filter { $0.type.shape.isBatched }.reduce(0) {
      $0 + $1.type.shape.bound(batch: 1).reduce(1, *)
    }
    return min(max((32 << 20) / max(elements, 1), 1), 8)
  }

  /// Of all layers with weights, for one sample.
  fileprivate var multiplications: Double {
    order.reduce(0) { sum, id in
      guard integerRole(of: self[id].op) == .weighted, let geometry = LayerGeometry(id, self) else {
        return sum
      }
      return sum + Double(geometry.positions) * Double(shape(self[id].operands[1]).sizes?.reduce(1, *) ?? 0)
    }
  }

  /// What the answers are made of: the output, or what its softmax reads.
  fileprivate var logits: ValueID? {
    guard let output = outputs.first, outputs.count == 1 else { return nil }
    if let id = definingOp(of: output), case .softmax = self[id].op { return self[id].operands[0] }
    return output
  }

  /// Whether a quantizer of weights or activations has fewer bits.
  fileprivate func isNarrow(_ operations: [OpID], below bits: Int) -> Bool {
    operations.contains { id in
      ([id] + self[id].operands.compactMap { definingOp(of: $0) }).contains {
        if case .quantize(let quantizer) = self[$0].op {
          quantizer.form.width.storageBits < bits
        } else {
          false
        }
      }
    }
  }
}
