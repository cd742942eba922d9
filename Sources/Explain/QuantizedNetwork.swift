import Evaluator
import IR
import Numerics
import PassKit
import Passes
import Support

/// A calibrated network beside the float one it was made from: quantizers that can be switched on and off one by one.
///
/// A weight quantizer that is off gives its layer the weights and the bias of the float network, since GPTQ and bias
/// correction changed both.
package struct QuantizedNetwork: Sendable {
  /// One quantizer.
  package struct Site: Sendable {
    package let index: Int
    package let name: String
    package let role: Quantize.Role
    package let form: QuantizationForm
    let op: OpID
    /// Of a weight quantizer: the operations that read the weights.
    let layers: [OpID]
    /// What the site changes first: its layer's output, or the rounded activation.
    let local: ValueID
    /// `w4`, `a8`, `wternary`.
    package var width: String {
      let letter = role == .weight ? "w" : "a"
      return switch form.width {
      case .bits(let bits): "\(letter)\(bits)"
      case .ternary: "\(letter)ternary"
      }
    }
  }

  /// As it is executed.
  package let quantized: Graph
  /// The same operations with the float network's weights and biases; its quantizers are to be passed over.
  package let float: Graph
  package let sites: [Site]
  /// For each weight site, the rounded weights and the bias in place of the float ones.
  private let contents: [[ValueID: Tensor]]

  /// - Parameter original: the canonical float network; nil takes the weights and biases that `quantized` holds.
  package init(_ quantized: Graph, original: Graph?) throws(CompilerError) {
    guard quantized.isCalibrated else {
      throw CompilerError(
        "the graph has no calibrated quantizers", notes: ["'qcc opt' with assign and calibrate makes them"])
    }
    self.quantized = quantized
    let sites = QuantizedNetwork.sites(of: quantized)
    let float =
      try original.map { original throws(CompilerError) in
        try QuantizedNetwork.withFloatWeights(quantized, sites, original)
      } ?? quantized
    let evaluator = try Evaluator(quantized, mode: .quantized, threads: 1)
    self.sites = sites
    self.float = float
    contents = sites.map { site in
      var contents: [ValueID: Tensor] = [:]
      for layer in site.layers {
        for (own, rounded) in zip(float[layer].operands, quantized[layer].operands).dropFirst() {
          contents[own] = evaluator.constantContents(rounded)
        }
      }
      return contents
    }
  }

  private static func sites(of graph: Graph) -> [Site] {
    var sites: [Site] = []
    for id in graph.order {
      guard case .quantize(let quantizer) = graph[id].op else { continue }
      let result = graph[id].results[0]
      let layers = quantizer.role == .weight ? graph.uses(of: result).map(\.user) : []
      sites.append(
        Site(
          index: sites.count, name: quantizer.site.isEmpty ? graph[result].name : quantizer.site,
          role: quantizer.role, form: quantizer.form, op: id, layers: layers,
          local: layers.first.map { graph[$0].results[0] } ?? result))
    }
    return sites
  }

  /// `quantized` with the weights and biases that `original` has in the layers of the same names.
  private static func withFloatWeights(
    _ quantized: Graph, _ sites: [Site], _ original: Graph
  ) throws(CompilerError) -> Graph {
    var layers: [String: OpID] = [:]
    for id in original.order { for result in original[id].results { layers[original[result].name] = id } }
    var graph = quantized, problems: [Diagnostic] = []
    func constant(_ value: ValueID) -> Constant? {
      guard let id = original.definingOp(of: value), case .quantize = original[id].op else {
        return original.constant(value)
      }
      return original.constant(original[id].operands[0])
    }
    for site in sites where site.role == .weight {
      for layer in site.layers {
        let name = quantized[quantized[layer].results[0]].name
        guard let own = quantized.constant(quantized[site.op].operands[0]) else { continue }
        guard let id = layers[name], original[id].op.mnemonic == quantized[layer].op.mnemonic,
          let weights = constant(original[id].operands[1]), weights.type.shape == own.type.shape
        else {
          problems.append(
            .error("the float network has no layer '\(name)' with weights of shape \(own.type.shape)"))
          continue
        }
        graph.setOperand(site.op, 0, to: graph.addConstant(weights))
        guard quantized[layer].operands.count > 2, let bias = quantized.constant(quantized[layer].operands[2])
        else { continue }
        let floatBias =
          original[id].operands.count > 2 ? original.constant(original[id].operands[2]) : nil
        graph.setOperand(
          layer, 2,
          to: graph.addConstant(
            floatBias
              ?? Constant(
                "\(name).no-bias", [bias.elementCount], [Float](repeating: 0, count: bias.elementCount))))
      }
    }
    guard problems.isEmpty else {
      let rest = problems.count - 3
      problems = Array(problems.prefix(3))
      if rest > 0 { problems.append(.error("and \(rest) more layers")) }
      problems[problems.count - 1].notes = [
        "--against takes the float network that MODEL was made from; where passes rewrote it before it was quantized, "
          + "the .qir before insert-quantizers"
      ]
      throw CompilerError(problems)
    }
    return graph
  }

  /// The change of the float network that switches some quantizers on.
  func change(_ active: some Sequence<Site>) -> Change {
    var change = Change()
    for site in active {
      if site.role == .weight {
        change.constants.merge(contents[site.index]) { $1 }
      } else {
        change.quantizers.insert(site.op)
      }
    }
    return change
  }

  /// The network in which the given quantizers round and all others pass their operand on: with all of them it gives
  /// the answers of `quantized`, bit for bit.
  package func graph(active: Set<Int>) throws -> Graph {
    var rewriter = Rewriter(float)
    for site in sites {
      guard active.contains(site.index) else {
        try rewriter.replace(site.op, with: float[site.op].op, [rewriter.graph[site.op].operands[0]])
        continue
      }
      guard site.role == .weight else { continue }
      rewriter.setOperand(site.op, 0, to: quantized[site.op].operands[0])
      for layer in site.layers where quantized[layer].operands.count > 2 {
        rewriter.setOperand(layer, 2, to: quantized[layer].operands[2])
      }
    }
    return rewriter.graph
  }

  /// Layers whose weights differ from the float network's by more than rounding does: passes rewrote them (equalize, say)
  /// before they were rounded, and the float network that was given is not the one that was quantized.
  package var rewrittenLayers: [String] {
    sites.compactMap { site in
      let bits = site.form.width.storageBits
      guard bits > 2, let weights = weights(of: site), accumulatorFinding(site) == nil else { return nil }
      // Rounding to b bits leaves 6 b - 8 dB or more of any usual distribution.
      return Energies([weights.float], [weights.rounded]).decibels < Double(3 * bits - 4) ? site.pinName : nil
    }
  }
  /// What to say of them; nil when there are none.
  package var rewriteWarning: Diagnostic? {
    let layers = rewrittenLayers
    guard let first = layers.first else { return nil }
    return .warning(
      "weights of \(layers.count) layers, the first '\(first)', differ from the float network's by more than rounding does",
      notes: [
        "where passes such as equalize rewrote the network, give --against what they left: "
          + "qcc opt --pass-pipeline='canonical, equalize' model.onnx -o float.qir"
      ])
  }

  /// The rounded and the float weights of a site; nil of activations.
  func weights(of site: Site) -> (float: Tensor, rounded: Tensor)? {
    guard site.role == .weight, let float = float.constant(float[site.op].operands[0]),
      let rounded = contents[site.index][quantized[site.op].results[0]], rounded.element == .f32
    else { return nil }
    return (Tensor(float), rounded)
  }
}
