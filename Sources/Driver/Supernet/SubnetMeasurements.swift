import Evaluator
import IR
import Support
import Trainer

/// Measured accuracies of sub-networks and their fidelities to the widest one, kept in a text file from run to run: what a
/// search spends its time on.
struct SubnetMeasurements {
  private let space: SupernetSpace
  private let evaluation: SubnetworkEvaluation
  private let estimating: TrainingSamples
  private let measuring: TrainingSamples
  private let path: String?
  private var known: [[Int]: SubnetworkQuality] = [:]
  /// What the widest sub-network answers on the measured samples; made when something is to be measured.
  private var reference: [Float]?
  private static let title = "qcc-subnet-accuracies 2"

  /// - Parameters:
  ///   - measuring: the samples that are answered.
  ///   - estimating: those that normalizations are estimated on.
  ///   - cacheFolder: nil keeps nothing.
  init(
    _ space: SupernetSpace, measuring: TrainingSamples, estimating: TrainingSamples, cacheFolder: String?,
    threads: Int
  ) throws {
    self.space = space
    self.measuring = measuring
    self.estimating = estimating
    evaluation = try SubnetworkEvaluation(
      TrainableGraph(space.graph, Optimizer.Settings()), threads: threads)
    var key = [TensorStorage(copying: Array(space.graph.text(.hashed).utf8)).hash]
    for part in [measuring, estimating] {
      key += [UInt64(part.count), TensorStorage(copying: part.labels).hash]
      let first = try part.batch(Array(0..<min(part.count, 256)), nil, seed: 0, number: 0, threads: 1)
      key.append(TensorStorage(copying: first.inputs.bytes).hash)
    }
    let hash = TensorStorage(copying: key).hash
    try Ranks.all.requireSame(hash, "the supernet or the data")
    path = cacheFolder.map { "\($0)/\(String(hash, radix: 16)).accuracies" }
    if let cacheFolder, Ranks.isFirst { try createFolder(cacheFolder) }
    try read()
  }

  /// What sub-networks reach on the measured samples; what was measured is kept when the user interrupts.
  mutating func qualities(_ subnets: [[Int]], _ phase: String) throws -> [SubnetworkQuality] {
    // What sub-networks have in common depends on the target; their forms do not.
    let keys = subnets.map { subnet in
      let forms = space.subnetwork(subnet)
      return space.supernet.sites.map { forms[$0.id] ?? 0 }
    }
    var seen = Set(known.keys)
    let unknown = keys.indices.filter { seen.insert(keys[$0]).inserted }
    try Ranks.all.requireSame(
      TensorStorage(copying: unknown.flatMap { subnets[$0] }).hash, "what is to be measured")
    let reference = unknown.isEmpty ? [] : try referenceAnswers()
    // In every round one on each rank.
    for first in stride(from: 0, to: unknown.count, by: Ranks.all.rankCount) {
      if try Ranks.all.any(Interruption.isRequested) {
        try write()
        throw CompilerError(
          "interrupted; the same command goes on where it stopped", at: path ?? "", status: .interrupted)
      }
      let round = unknown[first..<min(first + Ranks.all.rankCount, unknown.count)].map { $0 }
      let measured = try Ranks.all.dealt(round.count, idle: SubnetworkQuality(accuracy: 0, fidelity: 0)) {
        index throws(CompilerError) in
        let forms = space.subnetwork(subnets[round[index]])
        return try evaluation.quality(forms, statistics: statistics(forms), on: measuring, beside: reference)
      }
      for (index, quality) in zip(round, measured) { known[keys[index]] = quality }
      let done = first + round.count
      if done / 20 > first / 20 { try write() }
      Console.progress(phase, done, unknown.count)
    }
    try write()
    return keys.compactMap { known[$0] }
  }

  /// Top-1 of sub-networks on other samples.
  func accuracies(_ subnets: [[Int]], on test: TrainingSamples) throws(CompilerError) -> [Double] {
    try Ranks.all.dealt(subnets.count, idle: 0) { index throws(CompilerError) in
      let forms = space.subnetwork(subnets[index])
      return try evaluation.accuracy(forms, statistics: statistics(forms), on: test)
    }
  }

  private func statistics(_ forms: Subnetwork) throws(CompilerError) -> [ValueID: Tensor] {
    try evaluation.statistics(forms, estimating, count: estimating.count)
  }

  /// Of the widest sub-network of all, whatever the target leaves of it, so that targets share what was measured.
  private mutating func referenceAnswers() throws(CompilerError) -> [Float] {
    if let reference { return reference }
    let all = Supernet(space.graph), widest = all.widths.first ?? 8
    let forms = all.styles.first.map { all.uniform($0, weightBits: widest, activationBits: widest) } ?? [:]
    let answers = try evaluation.logProbabilities(forms, statistics: statistics(forms), on: measuring)
    reference = answers
    return answers
  }

  // MARK: Keeping

  private mutating func read() throws(CompilerError) {
    guard let path else { return }
    var bytes: [UInt8] = []
    if Ranks.isFirst, let file = try? MappedFile(path: path), file.bytes.count < 1 << 28 {
      bytes = file.contents
    }
    bytes = try Ranks.all.broadcast(bytes)
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    guard lines.first == Self.title[...] else { return }
    for line in lines.dropFirst() {
      let parts = line.split(separator: " ")
      let forms = parts.dropLast(2).compactMap { Int($0) }
      let values = parts.suffix(2).compactMap { Double($0) }
      guard forms.count == space.supernet.sites.count, forms.count + 2 == parts.count, values.count == 2,
        values.allSatisfy((0...100).contains)
      else { continue }
      known[forms] = SubnetworkQuality(accuracy: values[0], fidelity: values[1])
    }
  }
  private func write() throws(CompilerError) {
    guard let path, Ranks.isFirst else { return }
    let lines = known.map { forms, quality in
      (forms.map(String.init) + ["\(quality.accuracy)", "\(quality.fidelity)"]).joined(separator: " ")
    }.sorted()
    try writeFile(path, ([Self.title] + lines).joined(separator: "\n") + "\n")
  }
}
