import IR
import Numerics
import PassKit
import Support

/// How the weights of a layer are rounded, from the second moments of its inputs.
enum RoundingMethod: Sendable {
  /// - damping: the share of the mean diagonal that is added to the Hessian.
  /// - sweeps: passes over all weights that move single ones by a step where that helps.
  case gptq(damping: Float, sweeps: Int)
  case adaptive(AdaptiveRounding)

  fileprivate var damping: Float {
    switch self {
    case .gptq(let damping, _): damping
    case .adaptive(let adaptive): adaptive.damping
    }
  }
}

/// A layer whose weights can be rounded for its outputs.
struct RoundableLayer: Sendable {
  struct Rounded: Sendable {
    var weights: [Float]
    var scales: [Float]
    var bias: [Float]?
  }
  let geometry: LayerGeometry
  private let op: OpID
  private let quantizer: OpID
  private let weights: Constant
  private let bias: Constant?
  private let parameters: [AffineParameters]
  private let range: ClosedRange<Int32>

  init?(_ id: OpID, _ graph: Graph, bitsBelow: Int) {
    let node = graph[id]
    guard let geometry = LayerGeometry(id, graph), let quantizer = graph.definingOp(of: node.operands[1]),
      case .quantize(let op) = graph[quantizer].op, op.forms.all.count == 1,
      op.form.width.storageBits < bitsBelow,
      op.form.width != .bits(1), let weights = graph.constant(graph[quantizer].operands[0]),
      let parameters = graph.parameters(of: graph[quantizer], op)
    else { return nil }
    if case .group = op.form.granularity { return nil }
    self.op = id
    self.geometry = geometry
    self.quantizer = quantizer
    self.weights = weights
    self.parameters = parameters
    bias = node.operands.count > 2 ? graph.constant(node.operands[2]) : nil
    range = op.storedRange
  }

  /// Puts the result into the graph that is rewritten, and as plain weights into the one that later stages run.
  func apply(_ new: Rounded, _ rewriter: inout Rewriter, _ rounded: inout Graph) {
    let operands = rewriter.graph[quantizer].operands, shape = weights.type.shape.sizes ?? []
    let constant = Constant("\(weights.name).rounded", shape, new.weights)
    rewriter.setOperand(quantizer, 0, to: rewriter.constant(constant))
    let scaleName = rewriter.graph[operands[1]].name
    rewriter.setOperand(
      quantizer, 1, to: rewriter.constant(Constant("\(scaleName).rounded", [new.scales.count], new.scales)))
    rounded.setOperand(op, 1, to: rounded.addConstant(constant))
    guard let values = new.bias, let bias else { return }
    let newBias = Constant("\(bias.name).refitted", [values.count], values)
    rewriter.setOperand(op, 2, to: rewriter.constant(newBias))
    rounded.setOperand(op, 2, to: rounded.addConstant(newBias))
  }

  /// The rounded weights; nil when the inputs do not determine them.
  /// - Parameters:
  ///   - refits: moves the weights first, towards the float outputs on the inputs seen.
  func rounded(
    _ moments: InputMoments, refits: Bool, _ method: RoundingMethod
  ) throws(CompilerError) -> Rounded? {
    let length = geometry.rowLength, groups = geometry.groups,
      channels = weights.elementCount / max(length, 1)
    var result = Rounded(weights: weights.floats, scales: parameters.map(\.scale), bias: bias?.floats)
    var isUsable = false
    let perGroup = channels / groups
    for group in 0..<groups {
      let hessian = moments.second[group]
      let solver = GptqSolver(hessian: hessian, size: length, damping: method.damping)
      guard let solver else { continue }
      isUsable = true
      let first = group * perGroup
      let old = Array(result.weights[first * length..<(first + perGroup) * length])
      var target = old
      if refits {
        let difference = zip(moments.cross[group], hessian).map { $0 - $1 }
        solver.refit(&target, rows: perGroup, difference: difference)
      }
      var chosen = (0..<perGroup).map { parameters[parameters.count == 1 ? 0 : first + $0] }
      if parameters.count > 1 {
        let energies = (0..<length).map { hessian[$0 * length + $0] }
        for row in 0..<perGroup {
          chosen[row] = refined(chosen[row], Array(target[row * length..<(row + 1) * length]), energies)
        }
      }
      var own = target
      let steps = chosen
      switch method {
      case .adaptive(let adaptive):
        let isRounded = try adaptive.round(
          &own, rows: perGroup, size: length, hessian: hessian, { steps[$0] }, range)
        if !isRounded { continue }
      case .gptq(_, let sweeps):
        solver.round(&own, rows: perGroup, { steps[$0] }, range)
        let descent = RoundingDescent(hessian: hessian, size: length, damping: solver.added, range)
        for row in 0..<perGroup {
          let wanted = Array(target[row * length..<(row + 1) * length])
          var weights = Array(own[row * length..<(row + 1) * length])
          descent.improve(&weights, wanted, &chosen[row], fitsStep: parameters.count > 1, sweeps: sweeps)
          own.replaceSubrange(row * length..<(row + 1) * length, with: weights)
        }
      }
      if parameters.count > 1 {
        for row in 0..<perGroup { result.scales[first + row] = chosen[row].scale }
      }
      result.weights.replaceSubrange(first * length..<(first + perGroup) * length, with: own)
      guard result.bias != nil else { continue }
      for row in 0..<perGroup {
        // The outputs keep their mean: w E[x] + b = w' E[x̂] + b'.
        var shift = 0.0
        for k in 0..<length {
          shift +=
            Double(old[row * length + k]) * moments.floatMeans[group][k]
            - Double(own[row * length + k]) * moments.seenMeans[group][k]
        }
        result.bias?[first + row] += Float(shift)
      }
    }
    return isUsable ? result : nil
  }

  /// The step, of 36 from covering all weights downwards, with the least Σ energy (w - ŵ)².
  private func refined(_ old: AffineParameters, _ row: [Float], _ energies: [Float]) -> AffineParameters {
    let widest = row.reduce(0) { max($0, abs($1)) } / Float(range.upperBound)
    guard widest.isNormal, old.scale <= widest * 1.05, old.zeroPoint == 0 else { return old }
    var best = old, least = Float.infinity
    let low = Float(range.lowerBound), high = Float(range.upperBound), magic: Float = 12_582_912
    for step in 0..<36 {
      let scale = widest * (1 - 0.02 * Float(step)), inverse = 1 / scale
      var error: Float = 0
      for index in row.indices {
        let level = min(max(row[index] * inverse, low), high)
        let difference = row[index] - ((level + magic) - magic) * scale
        error += energies[index] * difference * difference
      }
      if error < least {
        least = error
        best.scale = scale
      }
    }
    return best
  }
}
