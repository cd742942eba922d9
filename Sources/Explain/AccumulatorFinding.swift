import Evaluator
import IR
import Numerics
import Passes

/// What is wrong with a layer's bias or sums.
struct AccumulatorFinding: Sendable {
  var number: Double
  var evidence: String
  var hint: String
}

extension QuantizedNetwork {
  /// Whether the bias or a sum of a weight site's layers can leave 32 bits, or the weight scales were raised for the
  /// bias's sake so far that they lose most of their levels.
  func accumulatorFinding(_ site: Site) -> AccumulatorFinding? {
    guard site.role == .weight, let weights = weights(of: site),
      case .quantize(let quantizer) = quantized[site.op].op,
      let parameters = quantized.parameters(of: quantized[site.op], quantizer)
    else { return nil }
    for layer in site.layers {
      let node = quantized[layer]
      guard let steps = quantized.accumulatorSteps(of: node), !steps.isEmpty,
        let channels = quantized[node.results[0]].type.shape.size(1), channels > 0,
        [1, channels].contains(steps.count)
      else { continue }
      let bias = node.operands.count > 2 ? quantized.constant(node.operands[2])?.floats : nil
      let rounded = weights.rounded.floats, length = rounded.count / channels
      let inputLevels = quantized.inputLevels(of: node)
      var worst = (channel: 0, sum: 0.0, bias: 0.0)
      for channel in 0..<channels where length > 0 {
        let step = steps[steps.count == 1 ? 0 : channel]
        let scale = Double(parameters[parameters.count == 1 ? 0 : min(channel, parameters.count - 1)].scale)
        let own = Double(bias.map { $0[min(channel, $0.count - 1)] } ?? 0) / step
        let row = rounded[channel * length..<(channel + 1) * length]
        let sum = row.reduce(0.0) { $0 + Double($1.magnitude) / scale } * inputLevels + own.magnitude
        if sum > worst.sum { worst = (channel, sum, own.magnitude) }
      }
      if worst.sum >= 0x1p31 {
        let isBias = worst.bias >= 0x1p31
        let share = (isBias ? worst.bias : worst.sum) / 0x1p31
        return AccumulatorFinding(
          number: share,
          evidence:
            "\(isBias ? "the bias" : "the largest sum") of channel \(worst.channel) is \(shortNumber(share)) times what 32 bits hold",
          hint: isBias
            ? "calibrate again: it raises the scales of weights too small for their bias"
            : "fewer bits for the layer's input or weights")
      }
    }
    return raisedScales(site, weights.float, quantizer, parameters)
  }

  /// Channels whose largest weight takes less than a quarter of the levels that it could, with most of the error.
  private func raisedScales(
    _ site: Site, _ weights: Tensor, _ quantizer: Quantize, _ parameters: [AffineParameters]
  ) -> AccumulatorFinding? {
    guard quantizer.form.granularity == .channel, quantizer.axis == 0, !parameters.isEmpty else { return nil }
    let values = weights.floats, length = values.count / parameters.count
    let range = quantizer.storedRange
    var raised: [(channel: Int, factor: Double)] = [], inRaised = 0.0, total = 0.0
    for (channel, p) in parameters.enumerated() {
      let row = values[channel * length..<(channel + 1) * length]
      let noise = row.reduce(0.0) {
        let error = Double(p.dequantize(p.quantize($1, range)) - $1)
        return $0 + error * error
      }
      total += noise
      let largest = row.reduce(Float(0)) { max($0, $1.magnitude) }
      guard largest > 0 else { continue }
      let factor = Double(p.scale) * Double(range.upperBound) / Double(largest)
      if factor > 4 {
        raised.append((channel, factor))
        inRaised += noise
      }
    }
    guard let worst = raised.max(by: { $0.factor < $1.factor }), inRaised > total / 2 else { return nil }
    return AccumulatorFinding(
      number: worst.factor,
      evidence:
        "scales of \(raised.count) channels were raised for their bias, of channel \(worst.channel) \(shortNumber(worst.factor))-fold",
      hint: "these channels are nearly constant: prune them, or retrain without dead channels")
  }
}

extension Graph {
  /// The largest distance of a stored input from the zero point; 255 where the quantizer is not found.
  fileprivate func inputLevels(of node: Node) -> Double {
    var value = node.operands[0]
    while let id = definingOp(of: value) {
      if case .quantize(let quantizer) = self[id].op {
        guard let p = parameters(of: self[id], quantizer)?.first else { return 255 }
        let range = quantizer.storedRange
        return Double(max(range.upperBound - p.zeroPoint, p.zeroPoint - range.lowerBound))
      }
      guard let first = self[id].operands.first else { return 255 }
      value = first
    }
    return 255
  }
}
