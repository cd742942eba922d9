import IR
import Numerics
import Passes
import Search
import Support
import Trainer

/// `qcc search` through a trained supernet (EQ-Net, arXiv 2308.07650): measures sub-networks, trains a predictor of their
/// score, evolves the best one within the budgets by it, and measures the best few for real. The score is fidelity to
/// the widest sub-network, or accuracy: training samples tell the latter coarsely, since a trained network knows most by heart.
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
  /// A sub-network and its score on the measured samples.
  private typealias Measured = (subnet: [Int], score: Double)

  private let request: Request
  private let space: SupernetSpace
  /// Many sub-networks are measured on few samples, the finalists on more.
  private var measurements: SubnetMeasurements
  private var finals: SubnetMeasurements
  /// All that was measured, which the predictor has learned from.
  private var known: [Measured] = []
  private var predictor: AccuracyPredictor
  private let quality: PredictionQuality?
  private let region: FeasibleRegion
  private let test: TrainingSamples?
  private let averages: (weights: Resource, activations: Resource, joint: Resource)
  private let bitOperations: Resource

  /// - Parameter samples: estimate normalizations in front, are answered behind.
  init(
    _ graph: Graph, _ samples: TrainingSamples, test: TrainingSamples?, _ request: Request
  ) throws {
    self.request = request
    self.test = test
    let flags = request.flags
    space = try SupernetSpace(graph, request.target)
    // Pairs are of all styles, so that searches for several of them share what was measured.
    let open = try space.restricted(
      granularity: flags.granularity.map { $0 == .channel ? .channel : .tensor },
      weights: flags.weightSymmetry?.symmetry, activations: flags.activationSymmetry?.symmetry)
    averages = (
      space.space.averageBits(.weights), space.space.averageBits(.activations), space.space.averageBits()
    )
    bitOperations = try space.resource(.bitOperations, nil)
    // Infeasible budgets are told before anything is measured.
    var windows: [FeasibleRegion.Window] = []
    for (kind, limit) in request.budgets.limits {
      let resource = try space.resource(kind, request.costs)
      windows.append(kind == .averageBits ? .target(limit, resource) : .init(resource, atMost: limit))
    }
    if let bits = flags.averageActivationBits { windows.append(.target(bits, averages.activations)) }
    if let bits = flags.averageJointBits { windows.append(.target(bits, averages.joint)) }
    region = try FeasibleRegion(open, windows, seed: request.seed)
    let count = samples.count, estimated = max(min(4 * flags.estimateSamples, count / 3), 1)
    let measured = count > estimated ? samples.part(estimated..<count) : samples
    func measurements(_ space: SupernetSpace, answered: Int, estimated: Int) throws -> SubnetMeasurements {
      try SubnetMeasurements(
        space, measuring: measured.part(0..<min(answered, measured.count)),
        estimating: samples.part(0..<estimated), cacheFolder: request.cacheFolder, threads: request.threads)
    }
    self.measurements = try measurements(
      space, answered: flags.measureSamples, estimated: min(flags.estimateSamples, estimated))
    finals = try measurements(
      space, answered: max(flags.measureSamples, flags.finalSamples), estimated: estimated)
    var sampler = SubnetSampler(space.space, seed: request.seed)
    let drawn = sampler.spread(flags.pairs)
    known = try Self.measured(&self.measurements, drawn, flags, "measuring sub-networks")
    (predictor, quality) = Self.predictor(known, space.space, request, heldOut: 0.2)
    known += try Self.measured(
      &self.measurements, space.uniform.map(\.subnet), flags, "measuring uniform widths")
    learn()
  }

  private static func measured(
    _ measurements: inout SubnetMeasurements, _ subnets: [[Int]], _ flags: SupernetFlags, _ phase: String
  ) throws -> [Measured] {
    zip(subnets, try measurements.qualities(subnets, phase)).map { ($0, flags.rank.score($1)) }
  }
  private static func predictor(
    _ known: [Measured], _ space: ElasticSpace, _ request: Request, heldOut: Double
  ) -> (AccuracyPredictor, PredictionQuality?) {
    var options = AccuracyPredictor.Options()
    options.seed = request.seed
    options.threads = request.threads
    options.heldOut = heldOut
    let trained = AccuracyPredictor.train(space, known.map(\.subnet), known.map(\.score), options)
    return (trained.predictor, trained.quality)
  }
  private mutating func learn() {
    predictor = Self.predictor(known, space.space, request, heldOut: 0).0
  }

  private func predictions(_ subnets: [[Int]]) -> [Double] {
    predictor.predict(subnets)
  }
  private var knownInside: [Measured] { known.filter { region.contains($0.subnet) } }
  /// The best first; of equal ones the one measured earlier.
  private func bestInside(_ count: Int) -> [[Int]] {
    let inside = knownInside
    return inside.indices.sorted { (inside[$0].score, $1) > (inside[$1].score, $0) }.prefix(count).map {
      inside[$0].subnet
    }
  }

  /// Searches by the predictor again and again; it learns from what it proposed. An optimum of a predictor is first of all
  /// where the predictor errs upwards; measured, such places lose their charm.
  private mutating func refine(_ propose: (SupernetSearch) -> [[Int]]) throws {
    for round in 1...request.flags.rounds {
      var seen = Set(known.map(\.subnet))
      let new = propose(self).filter { seen.insert($0).inserted }.prefix(request.flags.candidates)
      guard !new.isEmpty else { return }
      let phase = "measuring candidates, round \(round) of \(request.flags.rounds)"
      known += try Self.measured(&measurements, Array(new), request.flags, phase)
      learn()
    }
  }

  /// The entries of measured sub-networks, in their order, with what finalists measure.
  private mutating func entries(_ subnets: [[Int]], _ phase: String) throws -> [SupernetReport.Entry] {
    let predicted = predictions(subnets), measured = try finals.qualities(subnets, phase)
    return subnets.indices.map { index in
      SupernetReport.Entry(
        subnet: subnets[index], style: space.style(subnets[index]),
        weightBits: averages.weights.cost(subnets[index]),
        activationBits: averages.activations.cost(subnets[index]),
        jointBits: averages.joint.cost(subnets[index]), bitOperations: bitOperations.cost(subnets[index]),
        predicted: predicted[index], score: request.flags.rank.score(measured[index]),
        quality: measured[index])
    }
  }
  private mutating func addTests(_ entries: inout [SupernetReport.Entry], _ indices: Range<Int>) throws {
    guard let test else { return }
    let tested = try finals.accuracies(indices.map { entries[$0].subnet }, on: test)
    for (index, accuracy) in zip(indices, tested) { entries[index].tested = accuracy }
  }

  /// The best sub-network within the budgets, and the uniform ones beside it.
  mutating func best() throws -> SupernetReport {
    try refine { $0.proposals() }
    // Uniform widths are measured on the larger sample anyway, where they may be the best after all.
    let best = bestInside(request.flags.candidates)
    let others = try bestUniform().filter { region.contains($0) && !best.contains($0) }
    let unsorted = try entries(best + others, "measuring finalists")
    let ranks = unsorted.indices.sorted { (unsorted[$0].score, $1) > (unsorted[$1].score, $0) }
    var found = ranks.prefix(best.count).map { unsorted[$0] }
    try addTests(&found, 0..<min(request.flags.testFinalists, found.count))
    return SupernetReport(
      entries: found, uniform: try uniformEntries(), quality: quality, pairs: request.flags.pairs,
      rank: request.flags.rank)
  }

  /// Sub-networks within the budgets that are predicted to answer best, best first.
  private func proposals() -> [[Int]] {
    switch request.flags.method {
    case .genetic:
      var options = GeneticSearch.Options()
      options.population = request.flags.population
      options.generations = request.flags.generations
      options.mutationProbability = request.flags.mutation
      options.seed = request.seed
      let initial = bestInside(request.flags.population / 2)
      return GeneticSearch(region, options).run(initial: initial) { predictions($0) }.candidates.map(\.subnet)
    case .policy:
      var options = PolicySearch.Options()
      options.seed = request.seed
      let window = region.windows.first
      let target = window.map { (resource: $0.resource, cost: $0.limit) }
      let scale = max(predictionSpread, 1e-9)
      let result = PolicySearch(region.space, target: target, options).run { predictions([$0])[0] / scale }
      return [region.contains(result.subnet) ? result.subnet : region.member]
    }
  }

  /// Sub-networks that none measured beats in both accuracy and cost, cheapest first.
  mutating func front(_ count: Int, _ kind: BudgetKind) throws -> SupernetReport {
    var options = ParetoSearch.Options()
    options.population = max(request.flags.population, 2 * count)
    options.generations = request.flags.generations
    options.mutationProbability = request.flags.mutation
    options.seed = request.seed
    let resource = try space.resource(kind, request.costs)
    let candidates = request.flags.candidates
    try refine { search in
      let points = ParetoSearch(search.region, resource, options).run(
        initial: search.front(of: search.knownInside, resource)
      ) { search.predictions($0) }
      return spread(points.map(\.subnet), candidates)
    }
    let found = try entries(spread(front(of: knownInside, resource), count), "measuring the front")
    // What the larger sample has shown to be dominated goes.
    var rest = Set(front(of: found.map { ($0.subnet, $0.score) }, resource))
    var kept = found.filter { rest.remove($0.subnet) != nil }
    try addTests(&kept, kept.indices)
    return SupernetReport(
      entries: kept, uniform: try uniformEntries(), quality: quality, pairs: request.flags.pairs,
      rank: request.flags.rank)
  }

  private func front(of measured: [Measured], _ resource: Resource) -> [[Int]] {
    let costs = measured.map { resource.cost($0.subnet) }
    let order = measured.indices.sorted {
      (costs[$0], measured[$1].score, $0) < (costs[$1], measured[$0].score, $1)
    }
    var best = -1.0
    return order.filter { index in
      defer { best = max(best, measured[index].score) }
      return measured[index].score > best
    }.map { measured[$0].subnet }
  }

  /// Of every width the conditions that answer best, of those that are searched; widest first.
  private mutating func bestUniform() throws -> [[Int]] {
    var best: [Int: Measured] = [:]
    let all = space.uniform
    let measured = try Self.measured(
      &measurements, all.map(\.subnet), request.flags, "measuring uniform widths")
    for ((bits, subnet), one) in zip(all, measured)
    where region.isOpen(subnet) && one.score > best[bits]?.score ?? -1 { best[bits] = one }
    return best.keys.sorted(by: >).compactMap { best[$0]?.subnet }
  }
  private mutating func uniformEntries() throws -> [SupernetReport.Entry] {
    var result = try entries(bestUniform(), "measuring uniform widths")
    try addTests(&result, result.indices)
    return result
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
      + (request.flags.averageJointBits.map { [("avg-joint-bits", "\($0)")] } ?? [])
    return space.file(
      subnet, losses: predictor.losses(subnet), target: request.target, notes: notes)
  }
}

/// At most `count` of all, evenly spread, with both ends.
private func spread<Element>(_ all: [Element], _ count: Int) -> [Element] {
  let last = max(all.count - 1, 1), wanted = min(count, all.count)
  return (0..<wanted).map { all[wanted > 1 ? $0 * last / (wanted - 1) : 0] }
}
