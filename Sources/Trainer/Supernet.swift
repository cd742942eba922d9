import IR
import Numerics
import Search
import Support

/// One form for each quantizer: a network inside a supernet.
package typealias Subnetwork = [OpID: Int]

/// The quantizers of a graph and the forms that training and search may choose from.
package struct Supernet: Sendable {
  package struct Site: Sendable {
    package let id: OpID
    package let name: String
    package let role: Quantize.Role
    package let forms: [QuantizationForm]
    /// Indices of `forms`; those of the widest alone where the site is pinned.
    package let legal: [Int]
    /// Weights, or numbers of an activation for one sample.
    package let elements: Int

    /// Of the legal forms, each once, narrowest first.
    package var widths: [Int] { Set(legal.map { forms[$0].width.storageBits }).sorted() }
  }
  package let sites: [Site]

  /// The first and the last layer's weights and inputs always take their widest forms.
  package init(_ graph: Graph) {
    let pinned = graph.outerQuantizers
    sites = graph.order.compactMap { id in
      guard case .quantize(let quantizer) = graph[id].op else { return nil }
      let forms = quantizer.forms.all, widest = forms.map(\.width.storageBits).max() ?? 8
      let legal = forms.indices.filter { !pinned.contains(id) || forms[$0].width.storageBits == widest }
      let shape = graph[graph[id].operands[0]].type.shape
      return Site(
        id: id, name: quantizer.site, role: quantizer.role, forms: forms, legal: legal,
        elements: shape.bound(batch: 1).reduce(1, *))
    }
  }

  private init(sites: [Site]) { self.sites = sites }

  /// The same with the forms that `isLegal` accepts.
  /// - Throws: with every site that has none left.
  package func restricted(
    _ isLegal: (Site, QuantizationForm) -> Bool
  ) throws(CompilerError) -> Supernet {
    let left = sites.map { site in
      Site(
        id: site.id, name: site.name, role: site.role, forms: site.forms,
        legal: site.legal.filter { isLegal(site, site.forms[$0]) }, elements: site.elements)
    }
    let problems = left.filter(\.legal.isEmpty).map {
      Diagnostic.error("the supernet was trained for no form of '\($0.name)' that is legal here", at: $0.name)
    }
    if !problems.isEmpty { throw CompilerError(problems) }
    return Supernet(sites: left)
  }

  /// How wide the quantizers of a drawn sub-network are.
  package enum Breadth: Hashable, Sendable {
    case widest, narrowest, any
    /// For weights and for activations an average is drawn from this range, in bits, then widths that have it
    /// (`WidthDistribution`).
    case average(ClosedRange<Double>)
  }

  /// Every site draws granularity and symmetry, and its width where it is free, independently of the others.
  package func draw(_ breadth: Breadth, _ random: inout SeededRandom) -> Subnetwork {
    var result: Subnetwork = [:], averaged: [OpID: Int] = [:]
    if case .average(let range) = breadth { averaged = widths(averaging: range, &random) }
    for site in sites {
      let widths = site.legal.map { site.forms[$0].width.storageBits }
      let width: Int? =
        switch breadth {
        case .widest: widths.max()
        case .narrowest: widths.min()
        case .any: widths.isEmpty ? nil : widths[Int(random.below(UInt64(widths.count)))]
        case .average: averaged[site.id]
        }
      let choices = site.legal.filter { width == nil || site.forms[$0].width.storageBits == width }
      result[site.id] = choices[Int(random.below(UInt64(choices.count)))]
    }
    return result
  }

  /// Widths of the sites that have several.
  private func widths(averaging range: ClosedRange<Double>, _ random: inout SeededRandom) -> [OpID: Int] {
    var result: [OpID: Int] = [:]
    for role in [Quantize.Role.weight, .activation] {
      let free = sites.filter { $0.role == role && $0.widths.count > 1 }
      guard !free.isEmpty else { continue }
      let distribution = WidthDistribution(free.map { ($0.elements, $0.widths.map(Double.init)) })
      let average = range.lowerBound + random.unit() * (range.upperBound - range.lowerBound)
      for (site, drawn) in zip(free, distribution.draw(average: average, &random)) {
        result[site.id] = site.widths[drawn]
      }
    }
    return result
  }

  /// The sub-network of one width for weights and one for activations; sites that lack it take the next wider one they have.
  package func uniform(_ style: Style, weightBits: Int, activationBits: Int) -> Subnetwork {
    var result: Subnetwork = [:]
    for site in sites {
      result[site.id] = style.form(of: site, bits: site.role == .weight ? weightBits : activationBits)
    }
    return result
  }

  /// What all sites have in common in evaluated sub-networks, as far as they allow it.
  package struct Style: Hashable, Sendable, CustomStringConvertible {
    package var granularity: Granularity
    package var weights: Symmetry
    package var activations: Symmetry

    package init(granularity: Granularity, weights: Symmetry, activations: Symmetry) {
      (self.granularity, self.weights, self.activations) = (granularity, weights, activations)
    }
    package var description: String {
      "\(granularity == .tensor ? "tensor" : "channel"), weights \(weights), activations \(activations)"
    }

    /// The legal form of `site` that comes closest: first by width, not below `bits` where it can, then by granularity and
    /// symmetry.
    package func form(of site: Site, bits: Int) -> Int {
      func distance(_ index: Int) -> (Int, Int) {
        let form = site.forms[index], width = form.width.storageBits
        var mismatches = form.symmetry == (site.role == .weight ? weights : activations) ? 0 : 1
        if site.role == .weight, form.granularity != granularity { mismatches += 2 }
        return (width >= bits ? width - bits : 100 + bits - width, mismatches)
      }
      return site.legal.min { distance($0) < distance($1) } ?? 0
    }
  }
  /// The styles that weights and activations of the unpinned sites can have.
  package var styles: [Style] {
    func values<T: Hashable>(_ role: Quantize.Role, _ of: (QuantizationForm) -> T, _ all: [T]) -> [T] {
      let present = Set(
        sites.filter { $0.role == role }.flatMap { site in site.legal.map { of(site.forms[$0]) } })
      return all.filter { present.contains($0) }
    }
    var result: [Style] = []
    for granularity in values(.weight, \.granularity, [.channel, .tensor]) {
      for weights in values(.weight, \.symmetry, [.symmetric, .asymmetric]) {
        for activations in values(.activation, \.symmetry, [.symmetric, .asymmetric]) {
          result.append(Style(granularity: granularity, weights: weights, activations: activations))
        }
      }
    }
    return result
  }
  /// The widths of unpinned sites, widest first.
  package var widths: [Int] {
    Set(sites.flatMap(\.widths)).sorted(by: >)
  }
}

extension Graph {
  /// The quantizers of the first and the last layer's weights and inputs.
  var outerQuantizers: Set<OpID> {
    let layers = order.filter { id in
      switch self[id].op {
      case .conv2d, .convTranspose2d, .gemm: true
      default: false
      }
    }
    var result = Set<OpID>()
    for layer in [layers.first, layers.last] {
      guard let layer else { continue }
      for operand in self[layer].operands.prefix(2) {
        var value = operand
        while let id = definingOp(of: value) {
          if case .quantize = self[id].op {
            result.insert(id)
            break
          }
          guard self[id].op.keepsElements else { break }
          value = self[id].operands[0]
        }
      }
    }
    return result
  }
}
