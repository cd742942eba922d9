import IR
import Numerics
import Passes
import Search
import Support
import Trainer

/// A trained supernet as a space to search: granularity and symmetry of the whole network and a width for every quantizer
/// (EQ-Net), or a form for every quantizer.
struct SupernetSpace {
  /// What granularity and symmetry hold for.
  enum Conditions: String, CaseIterable { case network, quantizer }

  let graph: Graph
  let supernet: Supernet
  let space: ElasticSpace
  /// The layers with weights, for costs; positions count quantizers.
  let layers: [SearchLayer]
  private static let granularities: [Granularity] = [.tensor, .channel]
  private static let symmetries: [Symmetry] = [.symmetric, .asymmetric]
  /// Sites in front of those of quantizers.
  private let conditionCount: Int
  /// By quantizer and choice, where every quantizer has its own conditions.
  private let forms: [[Int]]

  /// - Parameters:
  ///   - target: leaves the forms that are legal there.
  ///   - granularity: of all weights; nil: searched.
  init(
    _ graph: Graph, _ target: Target, granularity: Granularity?, conditions: Conditions = .network
  ) throws(CompilerError) {
    self.graph = graph
    let legal = [
      Quantize.Role.weight: Set(target.weights.forms), .activation: Set(target.activations.forms),
    ]
    let supernet = try Supernet(graph).restricted { site, form in
      legal[site.role]?.contains(form) == true
        && (site.role == .activation || granularity == nil || form.granularity == granularity)
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
    let global =
      conditions == .quantizer
      ? []
      : [
        options("granularity", Self.granularities, \.granularity),
        options("weight symmetry", Self.symmetries, \.weights),
        options("activation symmetry", Self.symmetries, \.activations),
      ]
    var forms: [[Int]] = []
    let quantizers = supernet.sites.map { site in
      func width(_ form: Int) -> Int { site.forms[form].width.storageBits }
      var choices = Set(site.legal.map(width)).sorted(by: >), styles: [Int]?
      if conditions == .quantizer {
        let legal = site.legal.sorted { (-width($0), $0) < (-width($1), $1) }
        choices = legal.map(width)
        styles = legal.map { Self.style(site.forms[$0]) }
        forms.append(legal)
      }
      return ElasticSpace.Site(
        site.name, site.role == .weight ? .weights : .activations, choices: choices, styles: styles,
        elements: graph[graph[site.id].operands[0]].type.shape.bound(batch: 1).reduce(1, *))
    }
    space = ElasticSpace(global + quantizers)
    (self.forms, conditionCount) = (forms, global.count)
    layers = Searcher.layers(of: graph)
  }

  private static func style(_ form: QuantizationForm) -> Int {
    (form.granularity == .channel ? 2 : 0) + (form.symmetry == .asymmetric ? 1 : 0)
  }

  /// The forms of a sub-network.
  func subnetwork(_ subnet: [Int]) -> Subnetwork {
    var result: Subnetwork = [:]
    if conditionCount == 0 {
      for (index, site) in supernet.sites.enumerated() { result[site.id] = forms[index][subnet[index]] }
      return result
    }
    let values = space.values(subnet)
    let style = Supernet.Style(
      granularity: Self.granularities[values[0]], weights: Self.symmetries[values[1]],
      activations: Self.symmetries[values[2]])
    for (index, site) in supernet.sites.enumerated() {
      result[site.id] = style.form(of: site, bits: values[conditionCount + index])
    }
    return result
  }

  /// The sub-networks of one width, or the next wider one a site has, in every style; widest first.
  var uniform: [(bits: Int, subnet: [Int])] {
    supernet.widths.flatMap { bits in
      supernet.styles.map { style in
        if conditionCount == 0 {
          let subnet = supernet.sites.enumerated().map { index, site in
            forms[index].firstIndex(of: style.form(of: site, bits: bits)) ?? 0
          }
          return (bits, subnet)
        }
        let values = [
          Self.granularities.firstIndex(of: style.granularity), Self.symmetries.firstIndex(of: style.weights),
          Self.symmetries.firstIndex(of: style.activations),
        ]
        let conditions = zip(space.sites, values).map { site, value in
          site.choices.firstIndex { $0 == value } ?? 0
        }
        let widths = space.sites.dropFirst(conditionCount).map { site in
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
          weights: conditionCount + layer.weights, activations: conditionCount + input,
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
  func file(_ subnet: [Int], target: Target, notes: [(key: String, text: String)]) -> AssignmentFile {
    let forms = subnetwork(subnet)
    var file = AssignmentFile(
      target: target.name, model: graph.metadata("source-hash") ?? "",
      entries: supernet.sites.map { site in
        .init(site: site.name, role: site.role, form: site.forms[forms[site.id] ?? 0], score: nil)
      })
    file.notes = notes
    return file
  }
}
