import IR
import Numerics
import Passes
import Search
import Support
import Trainer

/// A trained supernet as a space to search: what holds for the whole network, then a width for every quantizer.
struct SupernetSpace {
  let graph: Graph
  let supernet: Supernet
  let space: ElasticSpace
  /// The layers with weights, for costs; positions count quantizers.
  let layers: [SearchLayer]
  private static let granularities: [Granularity] = [.tensor, .channel]
  private static let symmetries: [Symmetry] = [.symmetric, .asymmetric]
  private static let conditionNames = ElasticSpace.conditions.map(\.name)
  private static let conditions = conditionNames.count

  /// - Parameter target: leaves the forms that are legal there.
  init(_ graph: Graph, _ target: Target) throws(CompilerError) {
    self.graph = graph
    let legal = [
      Quantize.Role.weight: Set(target.weights.forms), .activation: Set(target.activations.forms),
    ]
    let supernet = try Supernet(graph).restricted { site, form in
      legal[site.role]?.contains(form) == true
    }
    self.supernet = supernet
    let styles = supernet.styles
    func options<Value: Equatable>(
      _ name: String, _ all: [Value], _ of: (Supernet.Style) -> Value
    )
      -> ElasticSpace.Site
    {
      let present = all.indices.filter { index in styles.contains { of($0) == all[index] } }
      return ElasticSpace.Site(name, .condition, choices: present)
    }
    var sites = [
      options(Self.conditionNames[0], Self.granularities, \.granularity),
      options(Self.conditionNames[1], Self.symmetries, \.weights),
      options(Self.conditionNames[2], Self.symmetries, \.activations),
    ]
    for site in supernet.sites {
      sites.append(
        ElasticSpace.Site(
          site.name, site.role == .weight ? .weights : .activations, choices: site.widths.reversed(),
          elements: site.elements))
    }
    space = ElasticSpace(sites)
    layers = Searcher.layers(of: graph)
  }

  /// The space with the conditions that a search is to keep to; nil leaves one open.
  /// - Throws: `rejected` where the target and the supernet share no such forms.
  func restricted(
    granularity: Granularity?, weights: Symmetry?, activations: Symmetry?
  ) throws(CompilerError) -> ElasticSpace {
    let wanted: [(choice: Int?, text: String)] = [
      (
        granularity.flatMap(Self.granularities.firstIndex),
        "weights per \(granularity == .channel ? "channel" : "tensor")"
      ),
      (weights.flatMap(Self.symmetries.firstIndex), "\(weights.map { "\($0)" } ?? "") weights"),
      (activations.flatMap(Self.symmetries.firstIndex), "\(activations.map { "\($0)" } ?? "") activations"),
    ]
    var result = space, problems: [Diagnostic] = []
    for ((name, site), want) in zip(zip(Self.conditionNames, space.sites), wanted) {
      guard let choice = want.choice else { continue }
      if site.choices.contains(choice) {
        result = try result.restricting(name, to: [choice])
      } else {
        problems.append(.error("the supernet was trained for no \(want.text) that are legal here", at: name))
      }
    }
    if !problems.isEmpty { throw CompilerError(problems) }
    return result
  }

  /// Granularity and symmetries of a sub-network, one for all quantizers.
  func style(_ subnet: [Int]) -> Supernet.Style {
    let values = space.values(subnet)
    return Supernet.Style(
      granularity: Self.granularities[values[0]], weights: Self.symmetries[values[1]],
      activations: Self.symmetries[values[2]])
  }

  /// The forms of a sub-network.
  func subnetwork(_ subnet: [Int]) -> Subnetwork {
    let values = space.values(subnet), style = style(subnet)
    var result: Subnetwork = [:]
    for (index, site) in supernet.sites.enumerated() {
      result[site.id] = style.form(of: site, bits: values[Self.conditions + index])
    }
    return result
  }

  /// The sub-networks of one width, or the next wider one a site has, in every style; widest first.
  var uniform: [(bits: Int, subnet: [Int])] {
    supernet.widths.flatMap { bits in
      supernet.styles.map { style in
        let values = [
          Self.granularities.firstIndex(of: style.granularity), Self.symmetries.firstIndex(of: style.weights),
          Self.symmetries.firstIndex(of: style.activations),
        ]
        let conditions = zip(space.sites, values).map { site, value in
          site.choices.firstIndex { $0 == value } ?? 0
        }
        let widths = space.sites.dropFirst(Self.conditions).map { site in
          site.choices.lastIndex { $0 >= bits } ?? 0
        }
        return (bits, conditions + widths)
      }
    }
  }

  /// What budgets of this kind count.
  /// - Throws: for kinds that depend on more than the sum over layers.
  func resource(_ kind: BudgetKind, _ costs: CostTable?) throws(CompilerError) -> Resource {
    let searched = layers.compactMap { layer in
      layer.input.map { input in
        ElasticSpace.Layer(
          weights: Self.conditions + layer.weights, activations: Self.conditions + input,
          multiplyAccumulates: layer.multiplyAccumulates)
      }
    }
    switch kind {
    case .averageBits: return space.averageBits(.weights)
    case .size: return space.sizeInBytes()
    case .bitOperations: return space.bitOperations(searched)
    case .latency:
      guard let costs else {
        throw CompilerError("there is no cost table for this target; give one with --costs", status: .usage)
      }
      let timed = layers.filter { $0.input != nil }
      return space.latency(searched) { index, weightBits, activationBits in
        costs.seconds(timed[index], timed[index].kind(weightBits: weightBits, activationBits: activationBits))
          ?? 0
      }
    case .memory:
      throw CompilerError(
        "--ram is not known for supernets: inputs of layers are narrowed one at a time", status: .usage)
    }
  }

  /// The assignment of a sub-network, for `qcc compile`.
  /// - Parameter losses: what every site takes from the score.
  func file(
    _ subnet: [Int], losses: [Double], target: Target, notes: [(key: String, text: String)]
  ) -> AssignmentFile {
    let forms = subnetwork(subnet)
    var file = AssignmentFile(
      target: target.name, model: graph.metadata("source-hash") ?? "",
      entries: supernet.sites.enumerated().map { index, site in
        let position = Self.conditions + index
        return .init(
          site: site.name, role: site.role, form: site.forms[forms[site.id] ?? 0],
          score: space.sites[position].isPinned ? nil : losses[position])
      })
    file.notes = notes
    return file
  }
}
