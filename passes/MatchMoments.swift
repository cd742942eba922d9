import Evaluator
import IR
import Numerics
import PassKit
import Support
import Training

package struct MatchMomentsOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("samples", \.samples, help: "calibration samples to compare on"),
    Attribute("scales", \.scales, help: "fit the deviations by scales too, not the means alone by biases"),
  ]
  package var samples = 128
  package var scales = true
  package init() {}
}

/// Fits every channel's scale and bias until its outputs in the quantized network have the mean and deviation that they
/// have in float, layer by layer, each behind those that are fitted already.
///
///     %wq = quantize(%w, %s, %z) {role = weight, …}
///     %y  = conv2d(%x, %wq, %b)
///   ->
///     %wq = quantize(%w', %s', %z) {role = weight, …}        s' = r · s,  w' = r · ŵ,  r = σ / σ̂
///     %y  = conv2d(%x, %wq, %b')                             b' = μ - r (μ̂ - b)
///
/// What re-estimating batch normalization does behind quantization, for networks into which it is folded; with `scales`
/// off it is bias correction by what is seen (Nagel et al., arXiv 1906.04721). Means and deviations are those before the
/// activation. Ratios r stay within 0.8 and 1.25; scales shared by channels, and scales that their bias or output needs
/// wide, stay. The weights become rounded, so that gptq has nothing to do behind this pass.
package let matchMoments = Pass(
  "match-moments", "give quantized channels the means and deviations of the float network",
  accepts: .assigned ... .assigned, options: MatchMomentsOptions.self
) { rewriter, context, options in
  guard options.samples > 0 else {
    throw CompilerError("match-moments: samples must be positive", status: .usage)
  }
  let graph = rewriter.graph
  guard graph.isCalibrated, graph.inputs.count == 1 else { return rewriter.count("left alone") }
  var layers: [MomentLayer] = []
  for id in rewriter.ops where integerRole(of: graph[id].op) == .weighted {
    if let layer = MomentLayer(id, graph) { layers.append(layer) } else { rewriter.count("left alone") }
  }
  guard !layers.isEmpty else { return }
  guard let data = context.calibration, data.count > 0 else {
    return rewriter.count("skipped for want of data", layers.count)
  }
  let inputs = try SampleBank(data, graph, samples: min(options.samples, data.count))
  let wanted = try channelMoments(layers.map(\.tap), graph, inputs, .float, context)
  for (index, layer) in layers.enumerated() {
    guard rewriter.takeStep() else { return }
    let seen = try channelMoments([layer.tap], rewriter.graph, inputs, .quantized, context)[0]
    rewriter.count("channels", layer.fit(wanted[index], seen, scales: options.scales, &rewriter))
    context.progress("fitting moments of channels", index + 1, layers.count)
  }
}

/// Of the values at `taps` over all inputs.
private func channelMoments(
  _ taps: [GradientPlan.Tap], _ graph: Graph, _ inputs: SampleBank, _ mode: Evaluator.Mode,
  _ context: PassContext
) throws -> [ChannelStatistics] {
  let plan = try GradientPlan(
    graph, outputs: taps, gradientsOf: [], mode: mode, shardSize: 8, threads: context.threads)
  var sums = taps.map { _ in SiteStatistics() }
  for first in stride(from: 0, to: inputs.count, by: 16) {
    let samples = Array(first..<min(first + 16, inputs.count))
    for (index, tensor) in try plan.outputs([inputs.batch(samples)]).enumerated() { sums[index].add(tensor) }
  }
  return try sums.map {
    guard let channels = $0.channels else { throw CompilerError("match-moments: a layer has no channels") }
    return channels
  }
}

/// A layer whose bias, and maybe scales, can be fitted.
private struct MomentLayer {
  let tap: GradientPlan.Tap
  private let op: OpID
  private let quantizer: OpID
  private let bias: Constant
  private let weights: Constant
  private let parameters: [AffineParameters]
  private let range: ClosedRange<Int32>
  private let leastScales: [Float]

  init?(_ id: OpID, _ graph: Graph) {
    let node = graph[id]
    guard let activation = activation(of: node.op), node.operands.count > 2,
      let bias = graph.constant(node.operands[2]), let quantizer = graph.definingOp(of: node.operands[1]),
      case .quantize(let op) = graph[quantizer].op, op.forms.all.count == 1,
      let weights = graph.constant(graph[quantizer].operands[0]),
      let parameters = graph.parameters(of: graph[quantizer], op),
      parameters.allSatisfy({ $0.zeroPoint == 0 }),
      graph.shape(node.operands[1]).size(0) == bias.elementCount, bias.elementCount > 0
    else { return nil }
    if case .group = op.form.granularity { return nil }
    self.op = id
    self.quantizer = quantizer
    self.bias = bias
    self.weights = weights
    self.parameters = parameters
    range = op.storedRange
    tap = GradientPlan.Tap(node.results[0], beforeActivation: activation != .none)
    leastScales = graph.leastWeightScales(of: id, channels: bias.elementCount)
  }

  /// How many channels it changed.
  func fit(
    _ wanted: ChannelStatistics, _ seen: ChannelStatistics, scales: Bool, _ rewriter: inout Rewriter
  ) -> Int {
    let channels = bias.elementCount
    guard wanted.means.count == channels, seen.means.count == channels else { return 0 }
    var biases = bias.floats, newScales = parameters.map(\.scale), values = weights.floats
    let length = values.count / channels
    for channel in 0..<channels {
      let own = parameters[parameters.count == 1 ? 0 : channel]
      var ratio: Float = 1
      if scales, parameters.count > 1, seen.deviations[channel] > 0 {
        let wish = min(max(wanted.deviations[channel] / seen.deviations[channel], 0.8), 1.25)
        if wish.isFinite, wish * own.scale >= leastScales[channel] { ratio = wish }
      }
      if parameters.count > 1 { newScales[channel] *= ratio }
      for index in channel * length..<(channel + 1) * length {
        values[index] = own.dequantize(own.quantize(values[index], range)) * ratio
      }
      biases[channel] = wanted.means[channel] - ratio * (seen.means[channel] - biases[channel])
    }
    let operands = rewriter.graph[quantizer].operands
    func replace(_ user: OpID, _ operand: Int, _ name: String, _ shape: [Int], _ floats: [Float]) {
      rewriter.setOperand(user, operand, to: rewriter.constant(Constant("\(name).fitted", shape, floats)))
    }
    replace(quantizer, 0, weights.name, weights.type.shape.sizes ?? [values.count], values)
    let scaleName = rewriter.graph[operands[1]].name
    replace(quantizer, 1, scaleName, [newScales.count], newScales)
    replace(op, 2, bias.name, [channels], biases)
    return channels
  }
}
