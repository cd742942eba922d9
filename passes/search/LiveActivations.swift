import IR

/// Which activations are alive together: what bounds the arena from below, whatever the plan.
struct LiveActivations {
  /// Sets of quantizers (positions among all) whose integers one operation needs at once; none is part of another.
  private(set) var sets: [[Int]] = []

  init(_ graph: Graph, sites: [OpID: Int]) {
    var lastUse: [Int: Int] = [:], firstUse: [Int: Int] = [:]
    for (step, id) in graph.order.enumerated() {
      if let site = sites[id], case .quantize(let quantizer) = graph[id].op, quantizer.role == .activation {
        firstUse[site] = step
        lastUse[site] = step
      }
      for operand in graph[id].operands {
        if let quantizer = graph.activationQuantizer(of: operand), let site = sites[quantizer] {
          lastUse[site] = step
        }
      }
    }
    var found: [[Int]] = []
    for step in graph.order.indices {
      let alive = firstUse.keys.filter { firstUse[$0]! <= step && step <= lastUse[$0]! }.sorted()
      if !alive.isEmpty, found.last != alive { found.append(alive) }
    }
    sets = found.enumerated().filter { index, set in
      !found.enumerated().contains { other, larger in
        other != index && Set(set).isSubset(of: larger) && (larger.count > set.count || other < index)
      }
    }.map(\.element)
  }
}
