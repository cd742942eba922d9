import Numerics

/// Rules that hold from the canonical stage on.
let canonicalRules: [VerificationRule] = [
  VerificationRule("no-identity", "no operation merely passes its operand on", .canonical ... .lowered) {
    graph, findings in
    for id in graph.order {
      if case .identity = graph[id].op { findings.report("identity remains", at: graph[id]) }
    }
  },
  // Shapes were computed at compile time: no operation reads or makes one, and none takes its geometry as an operand.
  VerificationRule("no-shape-computation", "no shape is computed at run time", .canonical ... .lowered) {
    graph, findings in
    for id in graph.order {
      let node = graph[id]
      switch node.op.shapeOperands {
      case .reads: findings.report("\(node.op.mnemonic) remains", at: node)
      case .geometry:
        if node.operands.count > 1 {
          findings.report("\(node.op.mnemonic) takes its geometry as operands", at: node)
        }
      case .none: break
      }
    }
  },
  // A normalization that only one convolution feeds is part of that convolution, but for the time of training.
  VerificationRule(
    "folded-batch-norm", "no batch normalization stands behind a convolution of its own",
    .canonical ... .lowered
  ) {
    graph, findings in
    guard graph.metadata("batch-norm") != "separate" || graph.stage == .lowered else { return }
    for id in graph.order {
      let node = graph[id]
      guard case .batchNorm = node.op, let producer = graph.definingOp(of: node.operands[0]),
        case .conv2d(let conv) = graph[producer].op, conv.activation == .none,
        graph.uses(of: node.operands[0]).count == 1, !graph.isOutput(node.operands[0]),
        graph.constant(graph[producer].operands[1]) != nil,
        node.operands.dropFirst().allSatisfy({
          graph.constant($0).map { $0.floats.allSatisfy(\.isFinite) } ?? false
        })
      else { continue }
      findings.report("batch normalization stands behind convolution '\(graph[producer].name)'", at: node)
    }
  },
]

/// Rules of the fake-quantized stages.
let quantizationRules: [VerificationRule] = [
  VerificationRule(
    "quantized-edges", "weights and activations of every convolution and gemm carry a quantizer",
    .elastic ... .assigned
  ) {
    graph, findings in
    for id in graph.order {
      let node = graph[id]
      guard node.op.isWeighted else { continue }
      if graph.quantizerRole(of: node.operands[0]) != .activation {
        findings.report("its activations carry no quantizer", at: node)
      }
      if graph.quantizerRole(of: node.operands[1]) != .weight {
        findings.report("its weights carry no quantizer", at: node)
      }
    }
  },
  VerificationRule("sites", "quantizer sites have different names", .elastic ... .assigned) {
    graph, findings in
    var seen = Set<String>()
    for (node, quantizer) in graph.quantizers where !seen.insert(quantizer.site).inserted {
      findings.report("the site '\(quantizer.site)' occurs twice", at: node)
    }
  },
  VerificationRule("one-form", "every quantizer has exactly one form", .assigned ... .assigned) {
    graph, findings in
    for (node, quantizer) in graph.quantizers where quantizer.forms.all.count != 1 {
      findings.report("\(quantizer.forms.all.count) forms remain: \(quantizer.forms.text)", at: node)
    }
  },
  // A quantizer without parameters is not calibrated yet; lowering refuses it.
  VerificationRule(
    "quantizer-parameters", "scales are finite and positive, zero points are stored integers",
    .elastic ... .assigned
  ) {
    graph, findings in
    for (node, quantizer) in graph.quantizers where quantizer.isCalibrated(operandCount: node.operands.count)
    {
      for (index, form) in quantizer.forms.all.enumerated() {
        guard let scales = graph.constant(node.operands[1 + 2 * index]),
          let zeroPoints = graph.constant(node.operands[2 + 2 * index])
        else {
          findings.report("the parameters of form \(form.text) are not constant", at: node)
          continue
        }
        if !scales.floats.allSatisfy({ $0 > 0 && $0.isFinite }) {
          findings.report("a scale of form \(form.text) is not finite and positive", at: node)
        }
        let range = form.storedRange(quantizer.role.numerics)
        if !zeroPoints.elements(as: Int32.self).allSatisfy({ range.contains($0) }) {
          findings.report("a zero point of form \(form.text) lies outside \(range)", at: node)
        }
      }
    }
  },
]

extension Graph {
  fileprivate var quantizers: [(node: Node, quantizer: Quantize)] {
    order.compactMap { id in
      if case .quantize(let quantizer) = self[id].op { (self[id], quantizer) } else { nil }
    }
  }
  /// The role of the quantizer that `value` comes from, directly or through operations that keep stored integers.
  fileprivate func quantizerRole(of value: ValueID) -> Quantize.Role? {
    var value = value
    while let id = definingOp(of: value) {
      let node = self[id]
      if case .quantize(let quantizer) = node.op { return quantizer.role }
      guard node.op.keepsElements, node.operands.count == 1 else { return nil }
      value = node.operands[0]
    }
    return nil
  }
}

extension Op {
  fileprivate enum ShapeOperands { case none, reads, geometry }
  /// Whether the operation computes with shapes, or may take shapes as operands behind the first.
  fileprivate var shapeOperands: ShapeOperands {
    if case .shapeOf = self { return .reads }
    if case .constantOfShape = self { return .reads }
    if case .reshape = self { return .geometry }
    if case .slice = self { return .geometry }
    if case .pad = self { return .geometry }
    if case .expand = self { return .geometry }
    return .none
  }
  fileprivate var isWeighted: Bool {
    if case .conv2d = self { return true }
    if case .convTranspose2d = self { return true }
    if case .gemm = self { return true }
    return false
  }
  /// Whether results consist of elements of the operands, moved or selected, so that stored integers stay valid.
  package var keepsElements: Bool {
    switch self {
    case .identity, .reshape, .flatten, .transpose, .squeeze, .unsqueeze, .concat, .split, .slice, .pad,
      .gather,
      .expand, .maxPool:
      true
    case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select,
      .averagePool,
      .globalAveragePool, .reduce, .softmax, .resize, .shapeOf, .cast, .constantOfShape, .quantize,
      .quantizeLinear,
      .dequantizeLinear, .integerConv2d, .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply,
      .integerAveragePool, .lookup:
      false
    }
  }
}
