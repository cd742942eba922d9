import IR
import Numerics
import PassKit

extension Rewriter {
  /// Puts `affine` into the sole producer of `value`, a convolution with fake-quantized weights, whose result then takes
  /// the place of the result of `op`. The stored integers stay the same: each channel's step takes its factor up.
  ///
  ///     %wq = quantize(%w, s, z)             ->   %wq = quantize(f·w, |f|·s, z) {granularity = channel}
  ///     %y  = conv2d(%x, %wq, %b), f·%y + t  ->   conv2d(%x, %wq, f·b + t)
  ///
  /// - Returns: false, and changes nothing, unless the weights are symmetric or no factor is negative, and one form is left.
  mutating func fold(
    _ affine: ChannelAffine, behindQuantized value: ValueID, insteadOf op: OpID,
    statistics: ChannelStatistics?
  ) throws(VerificationError) -> Bool {
    guard affine.isFinite, let producer = graph.soleProducer(of: value),
      case .conv2d(let convolution) = graph[producer].op, convolution.activation == .none
    else { return false }
    let node = graph[producer]
    guard let id = graph.soleProducer(of: node.operands[1]), case .quantize(var quantizer) = graph[id].op,
      quantizer.forms.all.count == 1, quantizer.axis == 0,
      let parameters = graph.parameters(of: graph[id], quantizer),
      let weights = graph.constant(graph[id].operands[0]), let shape = weights.type.shape.sizes,
      parameters.count == 1 || parameters.count == affine.channels,
      parameters.allSatisfy({ $0.zeroPoint == 0 }) || affine.factors.allSatisfy({ $0 >= 0 }), takeStep()
    else { return false }
    let name = graph[graph[id].results[0]].name, length = weights.elementCount / affine.channels
    var values = weights.floats, scales: [Float] = [], zeroPoints: [Int32] = []
    for (channel, factor) in affine.factors.enumerated() {
      let own = parameters[parameters.count == 1 ? 0 : channel]
      for index in channel * length..<(channel + 1) * length {
        let level = quantizer.form.quantize(values[index], own, .weight) - own.zeroPoint
        values[index] = Float(Double(level) * Double(own.scale) * factor)
      }
      scales.append(AffineParameters.usable(Float(Double(own.scale) * abs(factor))))
      zeroPoints.append(own.zeroPoint)
    }
    if case .tensor = quantizer.form.granularity {
      let form = quantizer.form
      quantizer.forms = FormSet([QuantizationForm(form.width, .channel, form.symmetry)])
    }
    let folded = try replace(
      id, with: .quantize(quantizer),
      [
        constant(Constant(weights.name, shape, values)),
        constant(Constant("\(name).scale", [scales.count], scales)),
        constant(Constant("\(name).zero-point", [scales.count], zeroPoints)),
      ])[0]
    let bias = node.operands.count > 2 ? graph.floats(node.operands[2]) : nil
    let shifts = affine.factors.indices.map {
      Float(affine.factors[$0] * Double(bias?[$0] ?? 0) + affine.shifts[$0])
    }
    let shift = constant(Constant("\(node.name).bias", [shifts.count], shifts))
    let result = try replace(op, with: node.op, [node.operands[0], folded, shift], name: node.name)[0]
    setStatistics(result, statistics)
    return true
  }
}
