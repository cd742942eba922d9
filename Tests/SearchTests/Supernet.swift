import Search
import Support

/// A made-up supernet whose accuracy is known: what narrow widths lose adds up over layers, and more than adds up where
/// neighbours are narrow together.
struct Supernet {
  let space: ElasticSpace
  let layers: [ElasticSpace.Layer]
  private let sensitivities: [Double]

  /// Conditions, weights of all layers, activations of all layers; the first and last layers have 8 bits.
  init(layers count: Int, widths: [Int] = [2, 3, 4, 5, 6, 7, 8], seed: UInt64 = 1) {
    var random = SeededRandom(seed: seed), sites = ElasticSpace.conditions
    for (role, name) in [(ElasticSpace.Role.weights, "weights"), (.activations, "activations")] {
      for layer in 0..<count {
        sites.append(
          .init(
            "\(name) \(layer)", role, choices: layer == 0 || layer == count - 1 ? [8] : widths,
            elements: 100 + Int(random.below(2000))))
      }
    }
    space = ElasticSpace(sites)
    layers = (0..<count).map {
      .init(weights: 3 + $0, activations: 3 + count + $0, multiplyAccumulates: 1000 + Int(random.below(9000)))
    }
    sensitivities = sites.map { _ in 0.2 + random.unit() }
  }

  func accuracy(_ subnet: [Int]) -> Double {
    let values = space.values(subnet)
    var loss = 0.0, previous = 0.0
    for layer in layers {
      func part(_ site: Int, _ factor: Double) -> Double {
        sensitivities[site] * factor / Double(1 << values[site])
      }
      let weights = part(layer.weights, (values[0] == 0 ? 1.5 : 1) * (values[1] == 0 ? 1.1 : 1))
      let activations = part(layer.activations, values[2] == 0 ? 1.3 : 1)
      loss += weights + activations + 4 * (weights * (activations + previous)).squareRoot()
      previous = weights
    }
    return 0.93 - 0.3 * loss / Double(layers.count)
  }

  /// All sub-networks, in order.
  var all: [[Int]] {
    space.sites.reduce([[]]) { subnets, site in subnets.flatMap { subnet in site.open.map { subnet + [$0] } }
    }
  }

  /// About a target of average bits of weights and of activations.
  func windows(_ target: Double, width: Double = 0.5) -> [FeasibleRegion.Window] {
    [ElasticSpace.Role.weights, .activations].map {
      .init(space.averageBits($0), above: target - width, atMost: target)
    }
  }
}
