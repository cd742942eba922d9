import Evaluator
import Foundation
import IR
import Numerics
import Support
import Testing
import Training

@testable import Trainer

@Suite("Training runs")
struct TrainingRunTests {
  private func options(steps: Int, supernet: Bool) -> TrainingOptions {
    var options = TrainingOptions()
    (options.steps, options.batch, options.shard, options.seed) = (steps, 32, 8, 3)
    options.optimizer.rate = 5e-3
    options.augmentation = Augmentation(padding: 1, flips: true)
    if supernet { options.supernet = SupernetOptions() }
    return options
  }
  private func run(
    _ options: TrainingOptions, _ samples: TrainingSamples, elastic: Bool, threads: Int = 2
  ) throws -> TrainingRun {
    let network = try SmallNetwork(elastic: elastic)
    return try TrainingRun(
      TrainableGraph(network.graph, options.optimizer), samples, options, supernet: network.supernet,
      teacher: options.distillation > 0 ? SmallNetwork(elastic: false).graph : nil, threads: threads)
  }
  private func bytes(_ run: TrainingRun) -> [[UInt8]] {
    run.network.parameters.map(\.tensor.bytes)
      + run.network.running.keys.sorted().map { value in
        (run.network.running[value] ?? []).withUnsafeBytes { Array($0) }
      }
  }

  @Test func floatNetworkLearns() throws {
    let samples = try SmallNetwork.samples(400, seed: 1), held = try SmallNetwork.samples(400, seed: 2)
    var run = try run(options(steps: 120, supernet: false), samples, elastic: false)
    let before = try SubnetworkEvaluation(run.network, threads: 2).accuracy([:], statistics: nil, on: held)
    while !run.isDone { try run.advance() }
    let after = try SubnetworkEvaluation(run.network, threads: 2).accuracy([:], statistics: nil, on: held)
    #expect(before < 75 && after > 95, "\(before) -> \(after)")
    // The saved graph answers as the trained network does.
    let graph = run.network.learned()
    let (inputs, labels) = try held.batch(Array(0..<64), nil, seed: 0, number: 0, threads: 1)
    let logits = try Evaluator(graph, threads: 1).run([inputs])[0].floats
    let right = labels.indices.count { (logits[2 * $0] > logits[2 * $0 + 1] ? 0 : 1) == labels[$0] }
    #expect(right >= 58)
  }

  @Test func everyWidthOfASupernetLearns() throws {
    let samples = try SmallNetwork.samples(400, seed: 1), held = try SmallNetwork.samples(300, seed: 2)
    let network = try SmallNetwork(elastic: true)
    var run = try run(options(steps: 150, supernet: true), samples, elastic: true)
    while !run.isDone { try run.advance() }
    let evaluation = try SubnetworkEvaluation(run.network, batch: 32, threads: 2)
    for bits in [8, 4, 2] {
      for style in network.supernet.styles {
        let subnetwork = network.supernet.uniform(style, weightBits: bits, activationBits: bits)
        let statistics = try evaluation.statistics(subnetwork, samples, count: 256)
        let top1 = try evaluation.accuracy(subnetwork, statistics: statistics, on: held)
        #expect(top1 > 85, "\(bits) bits, \(style): \(top1)")
      }
    }
  }

  @Test func fidelityIsThatOfProbabilities() throws {
    let samples = try SmallNetwork.samples(100, seed: 1), network = try SmallNetwork(elastic: true)
    let run = try run(options(steps: 1, supernet: true), samples, elastic: true)
    let evaluation = try SubnetworkEvaluation(run.network, batch: 16, threads: 2)
    let style = try #require(network.supernet.styles.first)
    func subnetwork(_ bits: Int) -> Subnetwork {
      network.supernet.uniform(style, weightBits: bits, activationBits: bits)
    }
    let wide = try evaluation.logProbabilities(subnetwork(8), statistics: nil, on: samples)
    let narrow = try evaluation.logProbabilities(subnetwork(2), statistics: nil, on: samples)
    func probabilities(_ logs: [Float]) -> [Double] { logs.map { Foundation.exp(Double($0)) } }
    let p = probabilities(wide), q = probabilities(narrow)
    for first in stride(from: 0, to: p.count, by: 2) { #expect(abs(p[first] + p[first + 1] - 1) < 1e-6) }
    let divergence = zip(p, q).reduce(0) { $0 + $1.0 * Foundation.log($1.0 / $1.1) } / 100
    let quality = try evaluation.quality(subnetwork(2), statistics: nil, on: samples, beside: wide)
    #expect(divergence > 1e-4 && abs(quality.fidelity - 100 * Foundation.exp(-divergence)) < 1e-3)
    #expect(
      try quality.accuracy == evaluation.accuracy(subnetwork(2), statistics: nil, on: samples))
    let itself = try evaluation.quality(subnetwork(8), statistics: nil, on: samples, beside: wide)
    #expect(abs(itself.fidelity - 100) < 1e-5)
  }

  @Test(arguments: [false, true])
  func sameBytesForAnyThreadsAndWhenResumed(isElastic: Bool) throws {
    let samples = try SmallNetwork.samples(200, seed: 1)
    var options = options(steps: 12, supernet: isElastic)
    (options.distillation, options.averagedShare, options.schedule) = (0.5, 0.5, .cosine(floor: 0.3))
    var whole = try run(options, samples, elastic: isElastic, threads: 1)
    while !whole.isDone { try whole.advance() }
    var other = try run(options, samples, elastic: isElastic, threads: 4)
    while !other.isDone { try other.advance() }
    #expect(bytes(other) == bytes(whole))

    let path = FileManager.default.temporaryDirectory.appending(path: "qcc-\(UUID().uuidString).safetensors")
      .path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let checkpoint = Checkpoint(fingerprint: "this run")
    var first = try run(options, samples, elastic: isElastic)
    for _ in 0..<7 { try first.advance() }
    try checkpoint.save(first, to: path)
    var second = try run(options, samples, elastic: isElastic)
    try checkpoint.restore(&second, from: SafetensorsFile(path: path))
    #expect(second.step == 7 && bytes(second) == bytes(first))
    while !second.isDone { try second.advance() }
    #expect(bytes(second) == bytes(whole) && second.averageLoss == whole.averageLoss)
    let results = try [whole, other, second].map {
      try $0.result(estimateSamples: 64).learned().text(.hashed)
    }
    #expect(results[1] == results[0] && results[2] == results[0])

    var third = try run(options, samples, elastic: isElastic)
    #expect(throws: CompilerError.self) {
      try Checkpoint(fingerprint: "another").restore(&third, from: SafetensorsFile(path: path))
    }
    let damaged = try Data(contentsOf: URL(filePath: path)).dropLast(5000)
    try damaged.write(to: URL(filePath: path))
    #expect(throws: CompilerError.self) { try checkpoint.restore(&third, from: SafetensorsFile(path: path)) }
  }

  @Test func averageIsTheMeanOfTheLastSteps() throws {
    let samples = try SmallNetwork.samples(96, seed: 1)
    var options = options(steps: 10, supernet: true)
    (options.averagedShare, options.schedule) = (0.4, .cosine(floor: 0.5))
    var run = try run(options, samples, elastic: true), seen: [[Parameter]] = []
    while !run.isDone {
      try run.advance()
      seen.append(run.network.parameters)
    }
    let result = try run.result(estimateSamples: 96)
    for (index, parameter) in result.parameters.enumerated() {
      for element in parameter.position.indices {
        let mean = seen.suffix(4).reduce(0) { $0 + Double($1[index].position[element]) } / 4
        #expect(abs(Double(parameter.position[element]) - mean) <= 1e-6 * max(abs(mean), 1))
      }
    }
    #expect(zip(result.parameters, run.network.parameters).contains { $0.position != $1.position })
    // Running statistics are those of the mean's own answers, in the forms in force.
    let evaluation = try SubnetworkEvaluation(result, threads: 1)
    for (value, tensor) in try evaluation.statistics([:], samples, count: 96) {
      #expect(result.running[value] == tensor.floats && run.network.running[value] != tensor.floats)
    }

    // Without a share the result is the last step's, statistics included.
    options.averagedShare = 0
    var plain = try self.run(options, samples, elastic: true)
    while !plain.isDone { try plain.advance() }
    #expect(
      try plain.result(estimateSamples: 96).learned().text(.hashed) == plain.network.learned().text(.hashed))
  }

  @Test func formsThatAreNotTakenStay() throws {
    let samples = try SmallNetwork.samples(64, seed: 1)
    var options = options(steps: 1, supernet: true)
    options.supernet?.randomSubnetworks = 0
    var run = try run(options, samples, elastic: true)
    let before = run.network.parameters
    try run.advance()
    for (old, new) in zip(before, run.network.parameters) {
      guard let form = old.form, let quantizer = old.quantizer,
        case .quantize(let op) = run.network.graph[quantizer].op
      else { continue }
      // Neither the widest nor the narrowest takes four bits.
      if op.forms.all[form].width.storageBits == 4 { #expect(old.position == new.position) }
    }
    #expect(zip(before, run.network.parameters).contains { $0.form != nil && $0.position != $1.position })
  }
}
