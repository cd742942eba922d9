import ArgumentParser
import Datasets
import Evaluator
import Glibc
import IR
import Passes
import Program
import Runtime
import Support

struct EvalCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract: "Measure accuracy on labelled samples, paired with another model if one is given.",
    discussion: """
      Example: qcc eval model.qpk --data test/ --against model.onnx
               qcc eval model.qpk --data images/ --labels labels.tsv --samples 500 --json
               qcc eval lowered.qir --data test/            exact integers by the reference, bit for bit the program's
      A program brings its own preprocessing; for graphs give --preprocess. Without labels only agreement is measured.
      """)
  @Argument(help: "An .onnx, .qir or .qpk model.") var model: String
  @Option(
    help: ArgumentHelp(
      "A model to compare with on the same samples, usually the float one.", valueName: "model"))
  var against: String?
  @Flag(help: "Evaluate quantizers of a .qir graph as if they were not there.") var float = false
  @Option(
    help:
      "Instructions the interpreter may use: auto, portable, avx2, avxvnni, vnni or popcount. Also QCC_CPU.")
  var cpu: String?
  @Flag(help: "Print one JSON object.") var json = false
  @OptionGroup var tuningFlags: TuningFlags
  @OptionGroup var data: DataFlags
  @OptionGroup var general: GeneralFlags

  func run() throws {
    general.apply()
    let features = try chosenFeatures(cpu)
    let predictor = try Predictor(
      try LoadedModel(path: model, check: general.onnxCheck, shapes: general.inputShapes),
      mode: float ? .float : .quantized, features: features,
      threads: general.threadCount, tuning: tuningFlags.tuning)
    let reference = try against.map {
      try Predictor(
        try LoadedModel(path: $0, check: general.onnxCheck, shapes: general.inputShapes), mode: .quantized,
        features: features, threads: general.threadCount, tuning: tuningFlags.tuning)
    }
    guard
      let source = try data.source(
        inputShape: predictor.inputShape, embedded: predictor.preprocessing ?? reference?.preprocessing)
    else { throw CompilerError("qcc eval needs --data", status: .usage) }
    guard source.hasLabels || reference != nil else {
      throw CompilerError(
        "the samples have no labels; give --labels, or --against to measure agreement", status: .usage)
    }
    let tally = try measure(predictor, reference, source)
    print(json ? tally.json.text : tally.text)
  }

  private func measure(
    _ predictor: Predictor, _ reference: Predictor?, _ source: SampleSource
  ) throws -> Tally {
    var tally = Tally(isLabelled: source.hasLabels, isPaired: reference != nil)
    let loader = source.loader(threads: general.threadCount)
    while let batch = try loader.next(64) {
      let answers = try predictor.predict(batch.inputs)
      let others = try reference?.predict(batch.inputs)
      for index in 0..<batch.count { tally.add(answers[index], others?[index], label: batch.labels[index]) }
      Console.progress("evaluating", batch.positions[batch.count - 1] + 1, source.count)
    }
    for warning in loader.unreadable { Console.report(warning) }
    return tally
  }
}

/// Counts over samples: how often the model is right, and how it fares beside another.
struct Tally {
  let isLabelled: Bool
  let isPaired: Bool
  private var samples = 0
  private var top1 = 0
  private var top5 = 0
  private var otherTop1 = 0
  private var same = 0
  private var wins = 0
  private var losses = 0
  /// Of the other model's outputs, and of the differences from them.
  private var signal = 0.0
  private var noise = 0.0

  init(isLabelled: Bool, isPaired: Bool) {
    self.isLabelled = isLabelled
    self.isPaired = isPaired
  }

  mutating func add(_ answer: [Float], _ other: [Float]?, label: Int?) {
    samples += 1
    let best = argmax(answer)
    if let label {
      if best == label { top1 += 1 }
      if answer.indices.contains(label) {
        // Equal values before the label rank before it, as in argmax.
        let rank = answer.enumerated().count { $1 > answer[label] || ($1 == answer[label] && $0 < label) }
        if rank < 5 { top5 += 1 }
      }
    }
    guard let other else { return }
    for (x, y) in zip(answer, other) {
      signal += Double(y) * Double(y)
      noise += Double(x - y) * Double(x - y)
    }
    let otherBest = argmax(other)
    if best == otherBest { same += 1 }
    if let label {
      if otherBest == label { otherTop1 += 1 }
      if best == label && otherBest != label { wins += 1 }
      if best != label && otherBest == label { losses += 1 }
    }
  }

  private func percent(_ count: Int) -> Double { 100 * Double(count) / Double(max(samples, 1)) }

  /// How far the outputs are from the other model's, in decibels; nil where they are the same.
  private var signalToNoise: Double? { noise > 0 && signal > 0 ? 10 * log10(signal / noise) : nil }

  var text: String {
    var lines = ["\(samples) samples"]
    if isLabelled { lines.append("top-1 \(fixed(percent(top1), 2)) %, top-5 \(fixed(percent(top5), 2)) %") }
    if isPaired {
      let accuracy = isLabelled ? "top-1 \(fixed(percent(otherTop1), 2)) %, " : ""
      lines.append("against: \(accuracy)same answer on \(fixed(percent(same), 2)) %")
      if isLabelled {
        lines.append("wins \(wins), losses \(losses): \(fixed(percent(top1) - percent(otherTop1), 2)) points")
      }
    }
    return lines.joined(separator: "\n")
  }

  var json: Json {
    var members: [(String, Json)] = [("samples", .int(samples))]
    if isLabelled { members += [("top1", .double(percent(top1))), ("top5", .double(percent(top5)))] }
    if isPaired {
      var pair: [(String, Json)] = []
      if isLabelled { pair.append(("top1", .double(percent(otherTop1)))) }
      pair.append(("agreement", .double(percent(same))))
      if let signalToNoise { pair.append(("sqnr-db", .double(signalToNoise))) }
      if isLabelled { pair += [("wins", .int(wins)), ("losses", .int(losses))] }
      members.append(("against", .object(pair)))
    }
    return .object(members)
  }
}
