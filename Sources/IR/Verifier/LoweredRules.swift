/// Rules of lowered graphs.
let loweredRules: [VerificationRule] = [
  VerificationRule("no-fake-quantizers", "no fake-quantizer remains", .lowered ... .lowered) {
    graph, findings in
    for id in graph.order {
      if case .quantize = graph[id].op { findings.report("a fake-quantizer remains", at: graph[id]) }
    }
  },
  // Float values are inputs on their way to quantize-linear, or the tail behind the last integer operation.
  VerificationRule(
    "float-tail", "only the operations behind the integers compute in float", .lowered ... .lowered
  ) {
    graph, findings in
    var tail = Set<ValueID>()
    for id in graph.order {
      let node = graph[id],
        floats = node.operands.filter { graph[$0].type.element == .f32 && graph.constant($0) == nil }
      let isFromTail = floats.contains { tail.contains($0) }
      if case .quantizeLinear = node.op {
        if isFromTail { findings.report("quantizes a result of the float tail again", at: node) }
      } else if isFromTail || node.op.leavesIntegers {
        tail.formUnion(node.results)
      } else if !floats.isEmpty, !node.op.keepsElements {
        findings.report("\(node.op.mnemonic) computes in float before the integers", at: node)
      }
    }
  },
  VerificationRule(
    "channel-parameters", "multipliers are not negative, shifts are 1 to 62", .lowered ... .lowered
  ) {
    graph, findings in
    for id in graph.order {
      let node = graph[id]
      guard let first = node.op.multiplierOperand else { continue }
      if let multipliers = graph.constant(node.operands[first])?.integers,
        multipliers.contains(where: { $0 < 0 })
      {
        findings.report("a multiplier is negative", at: node)
      }
      if let shifts = graph.constant(node.operands[first + 1])?.integers,
        !shifts.allSatisfy({ (1...62).contains($0) })
      {
        findings.report("a shift is not within 1 to 62", at: node)
      }
    }
  },
  // Copies and views write no borders.
  VerificationRule(
    "borders", "borders are those of images that integer operations write, at most 255 wide",
    .lowered ... .lowered
  ) { graph, findings in
    for id in graph.order {
      let node = graph[id]
      for result in node.results where graph[result].type.layout.border != .none {
        let type = graph[result].type
        if !node.op.writesBorders || type.quantized == nil || type.shape.rank != 4 {
          findings.report("the result '%\(graph[result].name)' cannot have a border: \(type)", at: node)
        } else if !type.layout.border.sides.allSatisfy({ (0...Border.largest).contains($0) }) {
          findings.report("the border of '%\(graph[result].name)' is too wide: \(type)", at: node)
        }
      }
    }
  },
  // |bias| + Σ |w| · largest activation stays below 2^31, or below 2^27 for weights of up to 4 bits, whose kernels scale
  // products by 16. Packed weights were checked before they were packed.
  VerificationRule("accumulator", "no accumulator can overflow", .lowered ... .lowered) { graph, findings in
    for id in graph.order {
      let node = graph[id]
      guard let bits = node.op.unpackedWeightBits,
        let weights = graph.constant(node.operands[1])?.storage.bytes,
        let biases = graph.constant(node.operands[2])?.integers, !biases.isEmpty
      else { continue }
      let largest = 1 << (graph[node.operands[0]].type.quantized?.bits ?? 8) - 1
      let limit = bits <= 4 ? 1 << 27 : 1 << 31, rowLength = weights.count / biases.count
      for (channel, bias) in biases.enumerated() {
        var sum = 0
        for index in channel * rowLength..<(channel + 1) * rowLength {
          sum += Int(Int8(bitPattern: weights[index]).magnitude)
        }
        let bound = abs(bias) + sum * largest
        if bound >= limit {
          findings.report(
            "output channel \(channel) can reach \(bound), which is not below \(limit)", at: node)
          break
        }
      }
    }
  },
]

extension Op {
  /// Its instruction writes images pixel by pixel, and the border around them.
  package var writesBorders: Bool {
    if case .quantizeLinear = self { return true }
    if case .integerConv2d = self { return true }
    if case .integerAdd = self { return true }
    if case .integerMultiply = self { return true }
    if case .integerAveragePool = self { return true }
    if case .maxPool = self { return true }
    if case .lookup = self { return true }
    return false
  }
  fileprivate var leavesIntegers: Bool {
    if case .dequantizeLinear = self { return true }
    if case .integerGemmFloat = self { return true }
    return false
  }
  /// Where the multipliers stand among the operands; the shifts follow.
  fileprivate var multiplierOperand: Int? {
    if case .integerConv2d = self { return 3 }
    if case .integerGemm = self { return 3 }
    if case .integerAveragePool = self { return 1 }
    return nil
  }
  /// The width of weights that lie one to a byte.
  fileprivate var unpackedWeightBits: Int? {
    if case .integerConv2d(let op) = self, op.packing == .none { return op.weightBits }
    if case .integerGemm(let op) = self, op.packing == .none { return op.weightBits }
    if case .integerGemmFloat(let op) = self, op.packing == .none { return op.weightBits }
    return nil
  }
}
