import IR
import Numerics
import Passes
import Search
import Support
import Trainer

/// `qcc search` through a trained supernet (EQ-Net, arXiv 2308.07650): measures sub-networks, trains a predictor of their
/// accuracy, evolves the best one within the budgets by it, and measures the best few for real.
struct SupernetSearch {
  struct Request {
    var flags: SupernetFlags
    var target: Target
    var budgets: Budgets
    var costs: CostTable?
    var seed: UInt64
    var threads: Int
    var cacheFolder: String?
  }
  private let request: Request
  private let space: SupernetSpace
  private var measurements: SubnetMeasurements
  private let predictor: AccuracyPredictor
  private let quality: PredictionQuality?
  private let region: FeasibleRegion
  private let test: TrainingSamples?
  private let averages: (weights: Resource, activations: Resource)

  /// - Parameter samples: `measureSamples` to answer and others to estimate normalizations on.
  init(
    _ graph: Graph, _ samples: TrainingSamples, test: TrainingSamples?, _ request: Request
  ) throws {
    self.request = request
    self.test = test
    let flags = request.flags
    space = try SupernetSpace(
      graph, request.target, granularity: flags.granularity.map { $0 == .channel ? .channel : .tensor })
    averages = (space.space.averageBits(.weights), space.space.averageBits(.activations))
    // Infeasible budgets are told before anything is measured.
    var windows: [FeasibleRegion.Window] = []
    for (kind, limit) in request.budgets.limits {
      let resource = try space.resource(kind, request.costs)
      windows.append(kind == .averageBits ? .target(limit, resource) : .init(resource, atMost: limit))
    }
    if let bits = flags.averageActivationBits { windows.append(.target(bits, averages.activations)) }
    region = try FeasibleRegion(space.space, windows, seed: request.seed)
    measurements = try SubnetMeasurements(
      space, samples, measured: flags.measureSamples, cacheFolder: request.cacheFolder,
      threads: request.threads)
    var sampler = SubnetSampler(space.space, seed: request.seed)
    let drawn = sampler.spread(flags.pairs)
    let accuracies = try measurements.accuracies(drawn, "measuring sub-networks")
    var options = AccuracyPredictor.Options()
    options.seed = request.seed
    options.threads = request.threads
    let encoded = drawn.map { [space] in space.space.encode($0) }
    quality = AccuracyPredictor.train(encoded, accuracies, options).quality
    // What is searched by has seen all pairs.
    options.heldOut = 0
    predictor = AccuracyPredictor.train(encoded, accuracies, options).predictor
  }

  private func predictions(_ subnets: [[Int]]) -> [Double] {
    predictor.predict(subnets.map { space.space.encode($0) })
  }
  private var uniformInside: [[Int]] { space.uniform.map(\.subnet).filter { region.contains($0) } }

  private func entries(_ subnets: [[Int]], measured: [Double]) throws -> [SupernetReport.Entry] {
    let predicted = predictions(subnets),
      tested = try test.map { try measurements.accuracies(subnets, on: $0) }
    return subnets.indices.map { index in
      SupernetReport.Entry(
        subnet: subnets[index], weightBits: averages.weights.cost(subnets[index]),
        activationBits: averages.activations.cost(subnets[index]), predicted: predicted[index],
        measured: measured[index], tested: tested?[index])
    }
  }

  /// The best sub-network within the budgets, and the uniform ones beside it.
  mutating func best() throws -> SupernetReport {
    var found: [[Int]]
    switch request.flags.method {
    case .genetic:
      var options = GeneticSearch.Options()
      options.population = request.flags.population
      options.generations = request.flags.generations
      options.mutationProbability = request.flags.mutation
      options.seed = request.seed
      let result = GeneticSearch(region, options).run(initial: uniformInside) { predictions($0) }
      found = result.candidates.prefix(request.flags.candidates).map(\.subnet)
    case .policy:
      var options = PolicySearch.Options()
      options.seed = request.seed
      let window = region.windows.first
      let target = window.map { (resource: $0.resource, cost: $0.limit) }
      let scale = max(predictionSpread, 1e-9)
      let result = PolicySearch(space.space, target: target, options).run { predictions([$0])[0] / scale }
      found = [result.subnet].filter { region.contains($0) }
      if found.isEmpty { found = [region.member] }
    }
    let measured = try measurements.accuracies(found, "measuring candidates")
    var entries: [SupernetReport.Entry] = []
    let order = found.indices.sorted { (measured[$0], $1) > (measured[$1], $0) }
    for (rank, index) in order.enumerated() {
      var entry = SupernetReport.Entry(
        subnet: found[index], weightBits: averages.weights.cost(found[index]),
        activationBits: averages.activations.cost(found[index]), predicted: predictions([found[index]])[0],
        measured: measured[index])
      if rank == 0, let test { entry.tested = try measurements.accuracies([found[index]], on: test)[0] }
      entries.append(entry)
    }
    return SupernetReport(
      entries: entries, uniform: try uniformEntries(), quality: quality, pairs: request.flags.pairs)
  }

  /// Sub-networks that none predicted beats in both accuracy and cost, measured, cheapest first.
  mutating func front(_ count: Int, _ kind: BudgetKind) throws -> SupernetReport {
    var options = ParetoSearch.Options()
    options.population = max(request.flags.population, 2 * count)
    options.generations = request.flags.generations
    options.mutationProbability = request.flags.mutation
    options.seed = request.seed
    let resource = try space.resource(kind, request.costs)
    let points = ParetoSearch(region, resource, options).run(initial: uniformInside) { predictions($0) }
    // As many, evenly spread, as were asked for.
    let last = max(points.count - 1, 1), wanted = min(count, points.count)
    let chosen = (0..<wanted).map { points[wanted > 1 ? $0 * last / (wanted - 1) : 0].subnet }
    let measured = try measurements.accuracies(chosen, "measuring the front")
    return SupernetReport(
      entries: try entries(chosen, measured: measured), uniform: try uniformEntries(), quality: quality,
      pairs: request.flags.pairs)
  }

  private mutating func uniformEntries() throws -> [SupernetReport.Entry] {
    // Of every width the conditions that answer best.
    var best: [Int: (subnet: [Int], accuracy: Double)] = [:]
    let all = space.uniform,
      accuracies = try measurements.accuracies(all.map(\.subnet), "measuring uniform widths")
    for (index, (bits, subnet)) in all.enumerated() where accuracies[index] > best[bits]?.accuracy ?? -1 {
      best[bits] = (subnet, accuracies[index])
    }
    let chosen = best.keys.sorted(by: >).compactMap { best[$0] }
    return try entries(chosen.map(\.subnet), measured: chosen.map(\.accuracy))
  }

  private var predictionSpread: Double {
    var sampler = SubnetSampler(space.space, seed: request.seed)
    let values = predictions(sampler.uniform(64))
    return (values.max() ?? 1) - (values.min() ?? 0)
  }

  func file(_ subnet: [Int]) -> AssignmentFile {
    let notes =
      [("method", request.flags.method.rawValue)]
      + request.budgets.limits.map { ($0.kind.rawValue, $0.kind.text($0.limit)) }
      + (request.flags.averageActivationBits.map { [("avg-activation-bits", "\($0)")] } ?? [])
    return space.file(subnet, target: request.target, notes: notes)
  }
}
