/// Something that a sub-network takes: a sum over sites, and over pairs of them such as the weights and the input of a
/// layer.
package struct Resource: Hashable, Sendable {
  package struct Coupling: Hashable, Sendable {
    package var first: Int
    package var second: Int
    /// `[i][j]` for choice i of the first site and j of the second.
    package var costs: [[Double]]
  }
  package var name: String
  /// What people count it in, and how much of it one such unit is.
  package var unit = Unit(symbol: "", size: 1)
  /// By site and choice.
  package var costs: [[Double]]
  package var couplings: [Coupling] = []

  package struct Unit: Hashable, Sendable {
    package var symbol: String
    package var size: Double
  }

  /// A cost for people: four digits and the unit.
  package func text(_ cost: Double) -> String {
    let value = cost / unit.size
    var scale = 1.0
    while abs(value) * scale < 1000, scale < 1e9, value != 0 { scale *= 10 }
    return "\((value * scale).rounded() / scale)" + (unit.symbol.isEmpty ? "" : " \(unit.symbol)")
  }

  package func cost(_ subnet: [Int]) -> Double {
    var sum = 0.0
    for site in costs.indices { sum += costs[site][subnet[site]] }
    for pair in couplings { sum += pair.costs[subnet[pair.first]][subnet[pair.second]] }
    return sum
  }
}

extension ElasticSpace {
  /// The sites of a layer with weights.
  package struct Layer: Hashable, Sendable {
    package var weights: Int
    package var activations: Int
    package var multiplyAccumulates: Int

    package init(weights: Int, activations: Int, multiplyAccumulates: Int) {
      self.weights = weights
      self.activations = activations
      self.multiplyAccumulates = multiplyAccumulates
    }
  }

  /// The mean width of all elements of a role, but for pinned sites.
  package func averageBits(_ role: Role) -> Resource {
    averageBits(role == .weights ? "average weight bits" : "average activation bits") { $0 == role }
  }
  /// The mean width of weights and activations together, each element counted once and pinned sites left out: what one
  /// sample reads and writes, where weights may be narrower for activations that are wider.
  package func averageBits() -> Resource {
    averageBits("average bits of weights and activations") { $0 != .condition }
  }
  private func averageBits(_ name: String, of isCounted: (Role) -> Bool) -> Resource {
    let counted = sites.filter { isCounted($0.role) && !$0.isPinned }
    let total = Double(max(counted.reduce(0) { $0 + $1.elements }, 1))
    return resource(name) { site, bits in
      isCounted(site.role) && !site.isPinned ? Double(site.elements * bits) / total : 0
    }
  }
  /// Of all weights, pinned ones too.
  package func sizeInBytes() -> Resource {
    resource("size in bytes") { site, bits in
      site.role == .weights ? Double(site.elements * bits) / 8 : 0
    }
  }
  /// Σ multiply-accumulates · weight bits · activation bits (AQT, arXiv 2105.03536).
  package func bitOperations(_ layers: [Layer]) -> Resource {
    resource("bit operations", layers) { Double(layers[$0].multiplyAccumulates * $1 * $2) }
  }
  /// - Parameter seconds: of layer `$0` with weights of `$1` and activations of `$2` bits.
  package func latency(_ layers: [Layer], seconds: (Int, Int, Int) -> Double) -> Resource {
    var result = resource("latency", layers, seconds)
    result.unit = Resource.Unit(symbol: "us", size: 1e-6)
    return result
  }

  /// What sites cost alone, by their bits or options.
  package func resource(_ name: String, _ cost: (Site, Int) -> Double) -> Resource {
    Resource(name: name, costs: sites.map { site in site.choices.map { cost(site, $0) } })
  }
  /// What layers cost, by their index, weight bits and activation bits.
  package func resource(
    _ name: String, _ layers: [Layer], _ cost: (Int, Int, Int) -> Double
  ) -> Resource {
    var result = resource(name) { _, _ in 0 }
    result.couplings = layers.enumerated().map { index, layer in
      Resource.Coupling(
        first: layer.weights, second: layer.activations,
        costs: sites[layer.weights].choices.map { weightBits in
          sites[layer.activations].choices.map { cost(index, weightBits, $0) }
        })
    }
    return result
  }
}
