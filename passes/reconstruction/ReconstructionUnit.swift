import IR

/// A part of the network that is trained on its own: what leads from one value to another with nothing else crossing.
struct ReconstructionUnit: Sendable {
  var input: ValueID
  var output: ValueID
  /// In the graph's order.
  var operations: [OpID]
}

extension Graph {
  /// The network cut, wherever a single activation passes, into units of at least `layers` layers with weights each: a
  /// residual block stays whole. Cuts lie before quantizers, so that a unit learns how its own input is quantized.
  func reconstructionUnits(from input: ValueID, to output: ValueID, layers: Int) -> [ReconstructionUnit] {
    var varies = Set([input]), lastUse: [ValueID: Int] = [:]
    for (position, id) in order.enumerated() {
      for operand in self[id].operands { lastUse[operand] = position }
      if self[id].operands.contains(where: varies.contains) { varies.formUnion(self[id].results) }
    }
    var units: [ReconstructionUnit] = [], live = Set([input]), start = input
    var operations: [OpID] = [], weighted = 0
    for (position, id) in order.enumerated() where self[id].results.contains(where: varies.contains) {
      operations.append(id)
      if integerRole(of: self[id].op) == .weighted { weighted += 1 }
      live.formUnion(self[id].results)
      live = live.filter { (lastUse[$0] ?? -1) > position || outputs.contains($0) }
      guard live.count == 1, let value = live.first, self[id].results.contains(value) else { continue }
      if case .quantize = self[id].op { continue }
      guard weighted >= layers || value == output else { continue }
      units.append(ReconstructionUnit(input: start, output: value, operations: operations))
      if value == output { break }
      (start, operations, weighted) = (value, [], 0)
    }
    // What is left over joins the last unit.
    guard let last = units.last, last.output != output else { return units }
    units[units.count - 1] = ReconstructionUnit(
      input: last.input, output: output, operations: last.operations + operations)
    return units
  }
}
