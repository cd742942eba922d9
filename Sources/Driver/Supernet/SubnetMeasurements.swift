import Evaluator
import IR
import Support
import Trainer

/// Measured accuracies of sub-networks, kept in a text file from run to run: what a search spends its time on.
struct SubnetMeasurements {
  private let space: SupernetSpace
  private let evaluation: SubnetworkEvaluation
  private let estimating: TrainingSamples
  private let measuring: TrainingSamples
  private let path: String?
  private var known: [[Int]: Double] = [:]
  private static let title = "qcc-subnet-accuracies 1"

  /// - Parameters:
  ///   - samples: the first `measured` are answered, the others estimate normalizations.
  ///   - cacheFolder: nil keeps nothing.
  init(
    _ space: SupernetSpace, _ samples: TrainingSamples, measured: Int, cacheFolder: String?, threads: Int
  ) throws {
    self.space = space
    let count = max(min(measured, samples.count - 1), 1)
    measuring = samples.part(0..<count)
    estimating = samples.count > count ? samples.part(count..<samples.count) : measuring
    evaluation = try SubnetworkEvaluation(
      TrainableGraph(space.graph, Optimizer.Settings()), threads: threads)
    path = try cacheFolder.map { [measuring, estimating] folder throws(CompilerError) in
      var key = [TensorStorage(copying: Array(space.graph.text(.hashed).utf8)).hash]
      for part in [measuring, estimating] {
        key += [UInt64(part.count), TensorStorage(copying: part.labels).hash]
        let first = try part.batch(Array(0..<min(part.count, 256)), nil, seed: 0, number: 0, threads: 1)
        key.append(TensorStorage(copying: first.inputs.bytes).hash)
      }
      try createFolder(folder)
      return "\(folder)/\(String(TensorStorage(copying: key).hash, radix: 16)).accuracies"
    }
    read()
  }

  /// Top-1 in percent on the measured samples.
  mutating func accuracy(_ subnet: [Int]) throws -> Double {
    // What sub-networks have in common depends on the target; their forms do not.
    let forms = space.subnetwork(subnet), key = space.supernet.sites.map { forms[$0.id] ?? 0 }
    if let known = known[key] { return known }
    let statistics = try evaluation.statistics(forms, estimating, count: estimating.count)
    let result = try evaluation.accuracy(forms, statistics: statistics, on: measuring)
    known[key] = result
    return result
  }

  /// Of many sub-networks; what was measured is kept when the user interrupts.
  mutating func accuracies(_ subnets: [[Int]], _ phase: String) throws -> [Double] {
    var results: [Double] = []
    for (index, subnet) in subnets.enumerated() {
      if Interruption.isRequested {
        try write()
        throw CompilerError(
          "interrupted; the same command goes on where it stopped", at: path ?? "", status: .interrupted)
      }
      results.append(try accuracy(subnet))
      if index % 20 == 19 { try write() }
      Console.progress(phase, index + 1, subnets.count)
    }
    try write()
    return results
  }

  /// Top-1 of a sub-network on other samples.
  func accuracy(_ subnet: [Int], on test: TrainingSamples) throws -> Double {
    let forms = space.subnetwork(subnet)
    let statistics = try evaluation.statistics(forms, estimating, count: estimating.count)
    return try evaluation.accuracy(forms, statistics: statistics, on: test)
  }

  // MARK: Keeping

  private mutating func read() {
    guard let path, let file = try? MappedFile(path: path), file.bytes.count < 1 << 28 else { return }
    let lines = String(decoding: file.contents, as: UTF8.self).split(separator: "\n")
    guard lines.first == Self.title[...] else { return }
    for line in lines.dropFirst() {
      let parts = line.split(separator: " ")
      let forms = parts.dropLast().compactMap { Int($0) }
      guard forms.count == space.supernet.sites.count, forms.count + 1 == parts.count,
        let accuracy = parts.last.flatMap({ Double($0) }), (0...100).contains(accuracy)
      else { continue }
      known[forms] = accuracy
    }
  }
  private func write() throws(CompilerError) {
    guard let path else { return }
    let lines = known.map { $0.key.map(String.init).joined(separator: " ") + " \($0.value)" }.sorted()
    try writeFile(path, ([Self.title] + lines).joined(separator: "\n") + "\n")
  }
}
