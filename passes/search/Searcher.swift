import IR
import Numerics
import PassKit
import Program
import Search
import Support

/// What a search takes besides the network, the data and the budgets.
package struct SearchSettings: Sendable {
  package var target = ""
  package var score = SearchScore.divergence
  package var sensitivity = SensitivityOptions()
  package var pins: [String] = []
  /// Widths that are considered; empty: all legal ones.
  package var weightBits: [Int] = []
  /// The same of activations; empty: all legal ones if a budget counts them, else the policy's.
  package var activationBits: [Int] = []
  /// Scores all forms of a width, not the target's preferred one alone.
  package var scoresAllForms = false
  /// Whether a size is that of a compact file (`Program.isCompact`).
  package var isCompact = false
  /// Seconds for one exact solution.
  package var seconds = 60.0
  package var costs: CostTable?

  package init() {}
}

/// Measures a network once and then finds the best assignment for any budgets.
package struct Searcher: Sendable {
  package let table: SensitivityTable
  package let layers: [SearchLayer]
  package let target: Target
  package let settings: SearchSettings
  let graph: Graph
  private let costs: CostTable?
  private let liveActivations: LiveActivations
  /// Bytes of the program besides weights.
  private let fixedBytes: Int
  /// Bytes of one sample of each activation, for 8 bits.
  private let activationBytes: [Int]

  /// - Parameter budgets: those that will be asked for, as far as they decide what is measured.
  package init(
    _ elastic: Graph, _ settings: SearchSettings, _ budgets: Budgets, _ context: inout PassContext
  ) throws {
    self.settings = settings
    target = try Target.named(
      settings.target.isEmpty ? elastic.metadata("target") ?? "generic-int8" : settings.target)
    costs = try settings.costs ?? CostTable.shipped(for: target)
    if budgets[.latency] != nil, costs == nil {
      throw CompilerError(
        "there is no cost table for target '\(target.name)'; give one with --costs", status: .usage)
    }
    let sites = try Self.sites(elastic, target, settings, budgets, &context)
    let rounded = try RoundedLayers(elastic, sites, &context)
    graph = rounded.graph
    var positions: [OpID: Int] = [:]
    for (index, site) in graph.quantizers.enumerated() { positions[site.id] = index }
    let graph = graph
    layers = Self.layers(of: graph)
    liveActivations = LiveActivations(graph, sites: positions)
    activationBytes = graph.quantizers.map { id, _ in
      var type = graph[graph[id].results[0]].type
      if type.shape.rank == 4 { type.layout = .channelsLast4 }
      type.element = .u8
      return type.bytesPerSample ?? 0
    }
    fixedBytes =
      budgets[.size] == nil
      ? 0 : try Self.bytesBesideWeights(graph, sites, layers, &context)
    var sensitivity = settings.sensitivity
    sensitivity.curvature = settings.score.curvature
    table = try measureSensitivity(rounded, sites, sensitivity, &context)
  }

  /// The quantizers with the policy's forms and the candidates.
  private static func sites(
    _ graph: Graph, _ target: Target, _ settings: SearchSettings, _ budgets: Budgets,
    _ context: inout PassContext
  ) throws -> [SearchSite] {
    for (bits, role, flag) in [
      (settings.weightBits, target.weights, "weight-bits"),
      (settings.activationBits, target.activations, "activation-bits"),
    ] {
      for width in bits where !role.bits.contains(width) {
        throw CompilerError(
          "\(flag) \(width) is not legal on target '\(target.name)', which allows \(role.bits.sorted())",
          status: .usage)
      }
    }
    let pins = settings.pins.compactMap { Pin(text: $0) }
    let pinList = "[" + settings.pins.map(\.text).joined(separator: ", ") + "]"
    let assigned = try graph.applying(
      assign, [("target", target.name.text), ("pins", pinList)], &context)
    return zip(graph.quantizers, assigned.quantizers).enumerated().map { index, pair in
      let (id, quantizer) = pair.0, forms = quantizer.forms.all
      let policy = forms.firstIndex(of: pair.1.quantizer.form) ?? 0
      let isPinned = pins.contains {
        $0.matches(quantizer.site, quantizer.role)
          && (quantizer.role == .weight ? $0.weightBits : $0.activationBits) != nil
      }
      let wanted = quantizer.role == .weight ? settings.weightBits : settings.activationBits
      let isSearched =
        quantizer.role == .weight || !settings.activationBits.isEmpty || budgets.countsActivations
      var candidates: [Int] = []
      for (form, value) in forms.enumerated() {
        let bits = value.width.storageBits
        guard
          isPinned
            ? value.width == forms[policy].width
            : isSearched ? wanted.isEmpty || wanted.contains(bits) : form == policy
        else { continue }
        // Forms of one width cost the same, and the target lists the preferred one first.
        let isFirst = !candidates.contains { forms[$0].width == value.width }
        if isFirst || settings.scoresAllForms { candidates.append(form) }
      }
      let shape = graph[graph[id].operands[0]].type.shape
      return SearchSite(
        index: index, name: quantizer.site, role: quantizer.role, forms: forms, policy: policy,
        candidates: candidates.isEmpty ? [policy] : candidates,
        elements: (quantizer.role == .weight ? shape : Shape(Array(shape.extents.dropFirst()))).elementCount
          ?? 0)
    }
  }

  /// Compiles the policy's assignment, without rounding, to see what a program takes besides its weights.
  private static func bytesBesideWeights(
    _ graph: Graph, _ sites: [SearchSite], _ layers: [SearchLayer], _ context: inout PassContext
  ) throws -> Int {
    var lowered = try graph.keeping(sites.map(\.policy))
    lowered.stage = .assigned
    for pass in [correctBias, lowerInteger, chooseLayouts, packWeights, planMemory] {
      lowered = try lowered.applying(pass, [], &context)
    }
    let weights = lowered.order.reduce(0) {
      $0 + (convolutionGeometry(of: $1, in: lowered)?.weightBytes ?? 0)
    }
    return try emit(lowered, metadata: .init()).serialize().count - weights
  }
}

// MARK: Problems

extension Searcher {
  /// The assignment problem under these budgets; `rows[i]` says which budget its i-th limit belongs to.
  package func problem(
    _ budgets: Budgets
  ) throws(CompilerError) -> (problem: AssignmentProblem, rows: [BudgetKind]) {
    var rows: [(kind: BudgetKind, name: String, limit: Double, live: [Int])] = []
    for (kind, limit) in budgets.limits {
      switch kind {
      case .size: rows.append((kind, kind.rawValue, limit - Double(fixedBytes), []))
      case .averageBits:
        let total = limit * Double(weightCount)
        rows.append((kind, kind.rawValue, total.isFinite ? total : .greatestFiniteMagnitude, []))
      case .bitOperations, .latency: rows.append((kind, kind.rawValue, limit, []))
      case .memory:
        for set in liveActivations.sets {
          rows.append((kind, "ram at \(table.sites[set[set.count - 1]].name)", limit, set))
        }
      }
    }
    let sites = table.sites.map { site in
      AssignmentProblem.Site(
        site.name,
        site.candidates.map { form in
          let entry = table.entries[site.index][form]
          let bits = site.forms[form].width.storageBits
          return AssignmentProblem.Choice(
            score: entry.map(settings.score.of) ?? 0,
            costs: rows.map { row in
              switch row.kind {
              case .averageBits: site.role == .weight ? Double(site.elements * bits) : 0
              case .memory: row.live.contains(site.index) ? bytes(ofActivation: site.index, bits) : 0
              case .size, .bitOperations, .latency: 0
              }
            })
        })
    }
    var pairs: [AssignmentProblem.Pair] = [], unknown: Set<String> = []
    for layer in layers {
      let first = table.sites[layer.weights]
      // An activation that is never rounded counts as one of 8 bits.
      let second = layer.input.map { table.sites[$0] }
      let widths = second?.candidates.map { second?.forms[$0].width.storageBits ?? 8 } ?? [8]
      func matrix(_ cost: (Int, Int) -> Double) -> [[Double]] {
        first.candidates.map { form in widths.map { cost(first.forms[form].width.storageBits, $0) } }
      }
      let matrices = rows.map { row -> [[Double]] in
        switch row.kind {
        case .averageBits, .memory: return []
        case .bitOperations: return matrix { Double(layer.multiplyAccumulates * $0 * $1) }
        case .size:
          return matrix {
            let kind = layer.kind(weightBits: $0, activationBits: $1)
            return Double(settings.isCompact ? layer.compactBytes(kind, weightBits: $0) : layer.bytes(kind))
          }
        case .latency:
          return matrix {
            let kind = layer.kind(weightBits: $0, activationBits: $1)
            let seconds = costs?.seconds(layer, kind)
            if seconds == nil { unknown.insert(CostTable.name(of: kind)) }
            return seconds ?? 0
          }
        }
      }
      guard matrices.contains(where: { !$0.isEmpty }) else { continue }
      pairs.append(.init(layer.weights, second?.index ?? layer.weights, costs: matrices))
    }
    if let kind = unknown.min() {
      throw CompilerError("the cost table '\(costs?.name ?? "")' says nothing about '\(kind)' layers")
    }
    pairs += interactionPairs()
    var all = sites
    // A layer without a quantized input costs what its weights alone do.
    for pair in pairs where pair.first == pair.second {
      for choice in all[pair.first].choices.indices {
        for row in rows.indices where !pair.costs[row].isEmpty {
          all[pair.first].choices[choice].costs[row] += pair.costs[row][choice][0]
        }
      }
    }
    pairs.removeAll { $0.first == $0.second }
    return (
      AssignmentProblem(sites: all, pairs: pairs, budgets: rows.map { .init($0.name, $0.limit) }),
      rows.map(\.kind)
    )
  }

  private var weightCount: Int {
    table.sites.reduce(0) { $0 + ($1.role == .weight ? $1.elements : 0) }
  }
  private func bytes(ofActivation site: Int, _ bits: Int) -> Double {
    Double(costs?.packsActivations == true ? (activationBytes[site] * bits + 7) / 8 : activationBytes[site])
  }

  private func interactionPairs() -> [AssignmentProblem.Pair] {
    var result: [AssignmentProblem.Pair] = []
    for interaction in table.interactions {
      let (a, b) = (table.sites[interaction.sites[0]], table.sites[interaction.sites[1]])
      guard let i = a.candidates.firstIndex(of: interaction.forms[0]),
        let j = b.candidates.firstIndex(of: interaction.forms[1])
      else { continue }
      let score: Double? =
        switch settings.score {
        case .divergence, .hessian, .eigenvalue: interaction.divergence
        case .outputNoise: interaction.outputNoise
        case .localNoise, .weightNoise: nil
        }
      guard let score else { continue }
      if result.last?.first != a.index || result.last?.second != b.index {
        let zeros = a.candidates.map { _ in b.candidates.map { _ in 0.0 } }
        result.append(.init(a.index, b.index, scores: zeros, costs: []))
      }
      result[result.count - 1].scores[i][j] = score
    }
    return result
  }

  // MARK: Solutions

  /// The best assignment.
  /// - Throws: `infeasible` with what is feasible and the layers that decide it.
  package func solve(_ budgets: Budgets) throws(CompilerError) -> Solution {
    let (problem, rows) = try problem(budgets)
    guard let assignment = try problem.solved(seconds: settings.seconds) else {
      throw try infeasibility(problem, rows, budgets)
    }
    return solution(assignment, problem, rows, budgets)
  }

  package struct Solution: Hashable, Sendable {
    /// For every quantizer the index of its form.
    package var forms: [Int]
    package var score: Double
    package var isOptimal: Bool
    /// What it takes of every budget that was given.
    package var costs: [(kind: BudgetKind, cost: Double)]

    package static func == (a: Solution, b: Solution) -> Bool { a.forms == b.forms }
    package func hash(into hasher: inout Hasher) { hasher.combine(forms) }
  }

  private func solution(
    _ assignment: Assignment, _ problem: AssignmentProblem, _ rows: [BudgetKind], _ budgets: Budgets
  ) -> Solution {
    Solution(
      forms: zip(table.sites, assignment.choices).map { $0.candidates[$1] }, score: assignment.score,
      isOptimal: assignment.isOptimal,
      costs: budgets.limits.map { kind, _ in
        let own = rows.indices.filter { rows[$0] == kind }.map { assignment.costs[$0] }
        return (kind, absolute(own.max() ?? 0, kind))
      })
  }
  /// What people call the cost of a row.
  private func absolute(_ cost: Double, _ kind: BudgetKind) -> Double {
    switch kind {
    case .size: cost + Double(fixedBytes)
    case .averageBits: cost / Double(max(weightCount, 1))
    case .bitOperations, .latency, .memory: cost
    }
  }

  /// The mean width of all weights.
  package func averageBits(_ forms: [Int]) -> Double {
    let bits = table.sites.reduce(0) {
      $0 + ($1.role == .weight ? $1.elements * $1.forms[forms[$1.index]].width.storageBits : 0)
    }
    return Double(bits) / Double(max(weightCount, 1))
  }

  package func file(_ solution: Solution, _ budgets: Budgets) -> AssignmentFile {
    var file = AssignmentFile(
      target: target.name, model: graph.metadata("source-hash") ?? "",
      entries: table.sites.map { site in
        let form = solution.forms[site.index], entry = table.entries[site.index][form]
        return .init(
          site: site.name, role: site.role, form: site.forms[form], score: entry.map(settings.score.of))
      })
    file.notes = [("score", settings.score.rawValue)]
    file.notes += budgets.limits.map { ($0.kind.rawValue, $0.kind.text($0.limit)) }
    file.notes += [("pins", settings.pins.joined(separator: " "))].filter { !$0.1.isEmpty }
    return file
  }

  private func infeasibility(
    _ problem: AssignmentProblem, _ rows: [BudgetKind], _ budgets: Budgets
  ) throws(CompilerError) -> CompilerError {
    var open = problem
    for index in open.budgets.indices { open.budgets[index].limit = .greatestFiniteMagnitude }
    let best = try open.solved(seconds: settings.seconds)
    var problems: [Diagnostic] = []
    for (kind, limit) in budgets.limits {
      // Of several limits of one kind the one that the best choices miss by most.
      var least = -Double.infinity, row = -1
      var cheapest: Assignment?
      for index in rows.indices where rows[index] == kind {
        guard let found = try open.cheapest(index, seconds: settings.seconds), found.costs[index] > least
        else { continue }
        (least, row, cheapest) = (found.costs[index], index, found)
      }
      guard row >= 0, let cheapest, let best, !problem.fits(least, row) || budgets.limits.count > 1 else {
        continue
      }
      let high = absolute(best.costs[row], kind), low = absolute(least, kind)
      let reaches = problem.fits(least, row)
      problems.append(
        Diagnostic(
          reaches ? .note : .error,
          reaches
            ? "\(kind.rawValue) \(kind.text(limit)) alone could be kept"
            : "no assignment has \(kind.rawValue) of at most \(kind.text(limit))",
          notes: ["feasible: \(kind.text(low)) to \(kind.text(high)), which has the best score"]
            + (reaches ? [] : [binding(cheapest, row, kind, problem)])))
    }
    if !problems.contains(where: { $0.severity == .error }) {
      problems.insert(
        .error("no assignment keeps to all budgets at once, though each alone can be kept"), at: 0)
    }
    return CompilerError(problems, status: .infeasible)
  }

  /// The sites that take most of the least cost.
  private func binding(
    _ cheapest: Assignment, _ row: Int, _ kind: BudgetKind, _ problem: AssignmentProblem
  ) -> String {
    var shares = problem.sites.indices.map { problem.sites[$0].choices[cheapest.choices[$0]].costs[row] }
    for pair in problem.pairs {
      shares[pair.first] += pair.cost(row, cheapest.choices[pair.first], cheapest.choices[pair.second])
    }
    let largest = shares.indices.filter { shares[$0] > 0 }.sorted { (-shares[$0], $0) < (-shares[$1], $1) }
    let text = largest.prefix(4).map { index -> String in
      let site = table.sites[index]
      let bits = site.forms[site.candidates[cheapest.choices[index]]].width.storageBits
      let pinned = site.candidates.count == 1 ? ", fixed" : ""
      let share = Int((100 * shares[index] / max(cheapest.costs[row], 1e-300)).rounded())
      return "'\(site.name)' at \(bits) bits (\(share) %\(pinned))"
    }
    return "most of the least is taken by \(text.joined(separator: ", "))"
  }
}

extension Searcher {
  /// The layers with weights of a network with quantizers.
  package static func layers(of graph: Graph) -> [SearchLayer] {
    var positions: [OpID: Int] = [:]
    for (index, site) in graph.quantizers.enumerated() { positions[site.id] = index }
    return graph.weightedOps.compactMap { SearchLayer($0, graph, sites: positions) }
  }

  /// The least cost of a kind under other budgets, and the cost of the best assignment without a limit of this kind.
  package func range(of kind: BudgetKind, _ others: Budgets) throws(CompilerError) -> ClosedRange<Double> {
    var budgets = others
    budgets[kind] = .greatestFiniteMagnitude
    let (problem, rows) = try problem(budgets)
    guard let best = try problem.solved(seconds: settings.seconds) else {
      throw try infeasibility(problem, rows, budgets)
    }
    var low = -Double.infinity, high = -Double.infinity
    for row in rows.indices where rows[row] == kind {
      guard let cheapest = try problem.cheapest(row, seconds: settings.seconds) else { continue }
      low = max(low, absolute(cheapest.costs[row], kind))
      high = max(high, absolute(best.costs[row], kind))
    }
    return min(low, high)...high
  }

  /// `elastic` with these forms, through the passes that `qcc compile` runs behind assign.
  package func lowered(_ forms: [Int], from elastic: Graph, _ context: inout PassContext) throws -> Graph {
    var graph = try elastic.keeping(forms)
    graph.stage = .assigned
    for pass in [calibrate, gptq, correctBias, lowerInteger, chooseLayouts, packWeights, planMemory] {
      graph = try graph.applying(pass, [], &context)
    }
    try graph.verify(status: .internalError)
    return graph
  }
}
