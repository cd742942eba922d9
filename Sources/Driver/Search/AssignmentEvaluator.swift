import Datasets
import Evaluator
import Glibc
import IR
import KernelInterface
import PassKit
import Passes
import Program
import Support

/// How a network compiled with an assignment answers, beside the float network on the same samples.
struct AssignmentQuality: Hashable, Sendable {
  var bytes = 0
  var samples = 0
  var same = 0
  /// Counted where samples have labels.
  var correct = 0
  var floatCorrect = 0
  var wins = 0
  var losses = 0
  /// Energy of the float outputs and of the errors.
  var signal = 0.0
  var noise = 0.0

  private func percent(_ count: Int) -> Double { 100 * Double(count) / Double(max(samples, 1)) }
  var agreement: Double { percent(same) }
  var top1: Double { percent(correct) }
  var floatTop1: Double { percent(floatCorrect) }
  var drop: Double { floatTop1 - top1 }
  var signalToNoise: Double { noise > 0 ? 10 * log10(signal / noise) : .infinity }
}

/// Compiles assignments as `qcc compile` would and runs the programs.
struct AssignmentEvaluator {
  private let elastic: Graph
  private let searcher: Searcher
  private let context: PassContext
  private let test: SampleSource
  private let features: CPUFeatures
  private let store: EvaluationStore?
  private let floatAnswers: [[Float]]
  private let labels: [Int?]
  /// Bytes of a program that depend on neither network nor assignment: what `qcc compile` stores about the target.
  private let metadata: Metadata
  private let isCompact: Bool

  var hasLabels: Bool { test.hasLabels }

  init(
    _ elastic: Graph, _ searcher: Searcher, test: SampleSource, metadata: Metadata, context: PassContext,
    cacheFolder: String?
  ) throws {
    self.elastic = elastic
    self.searcher = searcher
    self.context = context
    self.test = test
    self.metadata = metadata
    isCompact = searcher.settings.isCompact
    features = try chosenFeatures(nil)
    let predictor = try Predictor(
      .graph(elastic), mode: .float, features: features, threads: context.threads)
    var answers: [[Float]] = [], labels: [Int?] = [], hashes: [UInt64] = []
    let loader = test.loader(threads: context.threads)
    while let batch = try loader.next(64) {
      answers += try predictor.predict(batch.inputs)
      labels += batch.labels
      hashes += batch.inputs.map { TensorStorage(copying: $0).hash }
      Console.progress("float answers", answers.count, test.count)
    }
    floatAnswers = answers
    self.labels = labels
    store = try cacheFolder.map { folder throws(CompilerError) in
      var key = hashes + [TensorStorage(copying: Array(elastic.text(.hashed).utf8)).hash]
      if searcher.settings.isCompact { key.append(1) }
      do {
        for index in 0..<(context.calibration?.count ?? 0) {
          key.append(TensorStorage(copying: try context.calibration?.sample(index) ?? []).hash)
        }
      } catch { throw CompilerError("a calibration sample cannot be read: \(error)") }
      return try EvaluationStore(folder: folder, key: TensorStorage(copying: key).hash)
    }
  }

  /// - Throws: `interrupted` when the user asked to stop; what was evaluated before is kept.
  func evaluate(_ forms: [Int]) throws -> AssignmentQuality {
    if let known = store?.load(forms) { return known }
    var context = context
    context.progress = { _, _, _ in }
    let lowered = try searcher.lowered(forms, from: elastic, &context)
    var program = try emit(lowered, metadata: metadata)
    program.isCompact = isCompact
    var quality = AssignmentQuality()
    quality.bytes = program.serialize().count
    let predictor = try Predictor(
      .program(program), mode: .quantized, features: features, threads: context.threads)
    let loader = test.loader(threads: context.threads)
    while let batch = try loader.next(64) {
      if Interruption.isRequested { throw interruption() }
      for answer in try predictor.predict(batch.inputs) { add(answer, to: &quality) }
    }
    try store?.save(forms, quality)
    return quality
  }

  private func add(_ answer: [Float], to quality: inout AssignmentQuality) {
    let float = floatAnswers[quality.samples], label = labels[quality.samples]
    for (x, y) in zip(float, answer) {
      quality.signal += Double(x) * Double(x)
      quality.noise += Double(x - y) * Double(x - y)
    }
    let best = argmax(answer), floatBest = argmax(float)
    if best == floatBest { quality.same += 1 }
    if let label {
      if best == label { quality.correct += 1 }
      if floatBest == label { quality.floatCorrect += 1 }
      if best == label, floatBest != label { quality.wins += 1 }
      if best != label, floatBest == label { quality.losses += 1 }
    }
    quality.samples += 1
  }
}

/// Qualities that were measured before, a small file for each assignment: what lets a sweep or bisection go on.
private struct EvaluationStore {
  private let folder: String
  private let key: UInt64

  init(folder: String, key: UInt64) throws(CompilerError) {
    self.folder = folder
    self.key = key
    try createFolder(folder)
  }
  private func path(_ forms: [Int]) -> String {
    let hash = TensorStorage(copying: [key] + forms.map { UInt64($0) }).hash
    return "\(folder)/\(String(hash, radix: 16)).evaluation"
  }

  func load(_ forms: [Int]) -> AssignmentQuality? {
    guard let file = try? MappedFile(path: path(forms)), file.bytes.count < 4096 else { return nil }
    let parts = String(decoding: file.contents, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    let counts = parts.dropFirst(2).prefix(7).compactMap { Int($0) }
    let energies = parts.dropFirst(9).compactMap { Double($0) }
    guard parts.count == 11, parts[0] == "qcc-evaluation", parts[1] == "1", counts.count == 7, counts[1] > 0,
      energies.count == 2, energies.allSatisfy(\.isFinite)
    else { return nil }
    return AssignmentQuality(
      bytes: counts[0], samples: counts[1], same: counts[2], correct: counts[3], floatCorrect: counts[4],
      wins: counts[5], losses: counts[6], signal: energies[0], noise: energies[1])
  }

  func save(_ forms: [Int], _ q: AssignmentQuality) throws(CompilerError) {
    try writeFile(
      path(forms),
      "qcc-evaluation 1\n\(q.bytes) \(q.samples) \(q.same) \(q.correct) \(q.floatCorrect) \(q.wins) \(q.losses)\n"
        + "\(q.signal) \(q.noise)\n")
  }
}
