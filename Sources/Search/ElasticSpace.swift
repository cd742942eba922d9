import Support

/// Everything that a trained supernet can be (EQ-Net, arXiv 2308.07650): sites in order, each with its choices.
///
/// A sub-network is one choice for every site, by index. What holds for the whole network, such as the granularity, is a
/// site too: a search varies it, or keeps it where `restricting` has left one choice.
package struct ElasticSpace: Hashable, Sendable {
  package enum Role: Hashable, Sendable { case condition, weights, activations }

  package struct Site: Hashable, Sendable {
    package let name: String
    package let role: Role
    /// Widths in bits, or the numbers of a condition's options. A site with one width is pinned.
    package let choices: [Int]
    /// Parameters of weights or elements of an activation: what the site weighs in averages and sizes.
    package let elements: Int
    /// Indices of the choices that a search may take.
    package fileprivate(set) var open: [Int]

    /// - Requires: a choice, and no choice twice.
    package init(_ name: String, _ role: Role, choices: [Int], elements: Int = 0) {
      precondition(!choices.isEmpty && Set(choices).count == choices.count)
      self.name = name
      self.role = role
      self.choices = choices
      self.elements = elements
      open = Array(choices.indices)
    }
    package var isPinned: Bool { role != .condition && choices.count == 1 }
  }

  /// The global conditions of EQ-Net. Granularity 0 is a scale a tensor, 1 a scale a channel; symmetry 0 is symmetric, 1
  /// asymmetric.
  package static let conditions = ["granularity", "weight symmetry", "activation symmetry"].map {
    Site($0, .condition, choices: [0, 1])
  }

  package private(set) var sites: [Site]
  /// The widths that the encoding has a slot for at every site.
  private let widths: [Int]

  /// - Parameter sites: in the order of the encoding; EQ-Net's is conditions, weights, activations.
  package init(_ sites: [Site]) {
    self.sites = sites
    widths = Set(sites.filter { $0.role != .condition && !$0.isPinned }.flatMap(\.choices)).sorted()
  }

  /// The same space and encoding with fewer choices at one site.
  /// - Throws: `usage` when the supernet has no such site or was not trained for one of the choices.
  package func restricting(_ name: String, to choices: [Int]) throws(CompilerError) -> ElasticSpace {
    guard let index = sites.firstIndex(where: { $0.name == name }) else {
      throw CompilerError("the supernet has no site '\(name)'", status: .usage)
    }
    let site = sites[index]
    guard !choices.isEmpty, choices.allSatisfy(site.choices.contains) else {
      throw CompilerError("site '\(name)' has the choices \(site.choices), not \(choices)", status: .usage)
    }
    var result = self
    result.sites[index].open = site.choices.indices.filter { choices.contains(site.choices[$0]) }
    return result
  }

  /// Bits or options of a sub-network, by site.
  package func values(_ subnet: [Int]) -> [Int] { zip(sites, subnet).map { $0.choices[$1] } }
}

// MARK: Encoding

extension ElasticSpace {
  package var encodedCount: Int { sites.reduce(0) { $0 + slots($1) } }

  /// A sub-network as the input of an accuracy predictor: a one-hot vector for every condition, and one over all widths for
  /// every other site; those of pinned sites stay zero.
  package func encode(_ subnet: [Int]) -> [Double] {
    var result: [Double] = []
    result.reserveCapacity(encodedCount)
    for (site, choice) in zip(sites, subnet) {
      let hot = site.role == .condition ? choice : widths.firstIndex(of: site.choices[choice])
      for slot in 0..<slots(site) { result.append(slot == hot && !site.isPinned ? 1 : 0) }
    }
    return result
  }

  private func slots(_ site: Site) -> Int { site.role == .condition ? site.choices.count : widths.count }
}
