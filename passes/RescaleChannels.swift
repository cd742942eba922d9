import IR
import Numerics
import PassKit
import Support

package struct RescaleChannelsOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("samples", \.samples, help: "calibration samples to gather inputs from"),
    Attribute("rows", \.rows, help: "input rows gathered for every layer"),
  ]
  package var samples = 128
  package var rows = 2048
  package init() {}
}

/// Fits every weight scale to its rounded weights: the integers stay, the scale takes the least squared error.
///
///     %wq = quantize(%w, %s, %z) {role = weight, …}
///     %y  = conv2d(%x, %wq, %b)
///   ->
///     %wq = quantize(%w', %s', %z) {role = weight, …}        s' = s · r,  w' = r · ŵ,  r = <w, H ŵ> / <ŵ, H ŵ>
///     %y  = conv2d(%x, %wq, %b')                             b' = b + (w - w') E[x]
///
/// H is the covariance of the layer's inputs on calibration samples (`ScaleFit`): one r for each scale, which enters the
/// requantization and costs nothing at run time. Biases keep the mean of every output, since
/// correct-bias no longer sees what was rounded. Layers with several
/// forms or grouped or asymmetric scales stay, and so do scales that their bias or output needs wide; without data all do.
/// Where gptq has rounded, w = ŵ already, and nothing is left to do; its descent fits steps itself.
package let rescaleChannels = Pass(
  "rescale-channels", "fit weight scales to the rounded weights by least squares",
  accepts: .assigned ... .assigned, options: RescaleChannelsOptions.self
) { rewriter, context, options in
  guard options.samples > 0, options.rows > 0 else {
    throw CompilerError("rescale-channels: samples and rows must be positive", status: .usage)
  }
  var layers: [RescalableLayer] = []
  for id in rewriter.ops where integerRole(of: rewriter.graph[id].op) == .weighted {
    guard let layer = RescalableLayer(id, rewriter.graph) else {
      rewriter.count("left alone")
      continue
    }
    if layer.isRounded { rewriter.count("fits already") } else { layers.append(layer) }
  }
  guard !layers.isEmpty else { return }
  guard let data = context.calibration, data.count > 0 else {
    return rewriter.count("skipped for want of data", layers.count)
  }
  let moments = try inputMoments(
    layers.map(\.geometry), float: rewriter.graph, rounded: nil, data, samples: options.samples,
    rowsWanted: options.rows, context)
  let work = zip(layers, moments).map { (layer: $0, moments: $1) }
  let results = parallelMap(work, threads: context.threads) { layer, moments in
    layer.fitted(moments)
  }
  for (layer, fitted) in zip(layers, results) where fitted.count > 0 {
    guard rewriter.takeStep() else { return }
    let operands = rewriter.graph[layer.quantizer].operands
    for (operand, values) in [(0, fitted.weights), (1, fitted.scales)] {
      let old = operands[operand]
      let new = Constant(
        rewriter.graph[old].name, rewriter.graph.shape(old).sizes ?? [values.count], values)
      rewriter.setOperand(
        layer.quantizer, operand, to: rewriter.constant(new, replacing: old, of: layer.quantizer))
    }
    if let bias = layer.bias, let values = fitted.bias {
      let constant = Constant("\(bias.name).refitted", [values.count], values)
      rewriter.setOperand(layer.op, 2, to: rewriter.constant(constant))
    }
    rewriter.count("scales fitted", fitted.count)
  }
}

private struct RescalableLayer: Sendable {
  struct Fitted: Sendable {
    var weights: [Float]
    var scales: [Float]
    var bias: [Float]?
    /// Scales that changed.
    var count = 0
  }
  let op: OpID
  let quantizer: OpID
  let bias: Constant?
  let geometry: LayerGeometry
  private let weights: [Float]
  private let rounded: [Float]
  private let parameters: [AffineParameters]
  private let leastScales: [Float]
  private var rows: Int { leastScales.count }

  init?(_ id: OpID, _ graph: Graph) {
    let node = graph[id]
    guard let quantizer = graph.definingOp(of: node.operands[1]),
      case .quantize(let op) = graph[quantizer].op,
      op.forms.all.count == 1, let weights = graph.floats(graph[quantizer].operands[0]), !weights.isEmpty,
      let geometry = LayerGeometry(id, graph), let channels = graph.shape(node.operands[1]).size(0),
      channels > 0, let parameters = graph.parameters(of: graph[quantizer], op),
      parameters.allSatisfy({ $0.zeroPoint == 0 })
    else { return nil }
    if case .group = op.form.granularity { return nil }
    self.op = id
    self.quantizer = quantizer
    bias = node.operands.count > 2 ? graph.constant(node.operands[2]) : nil
    self.geometry = geometry
    self.weights = weights
    self.parameters = parameters
    let perScale = weights.count / parameters.count, form = op.form
    rounded = weights.indices.map {
      let own = parameters[$0 / perScale]
      return own.dequantize(form.quantize(weights[$0], own, .weight))
    }
    leastScales = graph.leastWeightScales(of: id, channels: channels)
  }

  /// Whether the weights are multiples of their scales, but for the rounding of floats.
  var isRounded: Bool {
    let perScale = weights.count / parameters.count
    return weights.indices.allSatisfy {
      abs(weights[$0] - rounded[$0]) <= 1e-4 * parameters[$0 / perScale].scale
    }
  }

  func fitted(_ moments: InputMoments) -> Fitted {
    let length = geometry.rowLength, perGroup = rows / geometry.groups
    var fits = [ScaleFit](repeating: ScaleFit(), count: parameters.count)
    for group in 0..<geometry.groups {
      for row in group * perGroup..<(group + 1) * perGroup {
        let range = row * length..<(row + 1) * length
        fits[parameters.count == 1 ? 0 : row].add(weights[range], rounded[range], moments.second[group])
      }
    }
    var result = Fitted(weights: weights, scales: parameters.map(\.scale), bias: bias?.floats)
    let rowsPerScale = rows / parameters.count
    for (index, fit) in fits.enumerated() {
      let rows = index * rowsPerScale..<(index + 1) * rowsPerScale, old = parameters[index].scale
      guard let ratio = fit.ratio, abs(ratio - 1) > 1e-6 else { continue }
      let new = Float(Double(old) * ratio)
      guard new >= rows.reduce(0, { max($0, leastScales[$1]) }) else { continue }
      result.scales[index] = new
      for position in rows.lowerBound * length..<rows.upperBound * length {
        result.weights[position] = (rounded[position] / old).rounded() * new
      }
      for row in rows where row < result.bias?.count ?? 0 {
        let means = moments.floatMeans[row / perGroup]
        let shift = (0..<length).reduce(0.0) {
          $0 + Double(weights[row * length + $1] - result.weights[row * length + $1]) * means[$1]
        }
        result.bias?[row] += Float(shift)
      }
      result.count += 1
    }
    return result
  }
}

extension Graph {
  /// The least weight scale of every output channel of a layer whose activation quantizers are calibrated.
  func leastWeightScales(of id: OpID, channels: Int) -> [Float] {
    let node = self[id]
    func step(_ quantizer: OpID) -> Float? {
      guard case .quantize(let op) = self[quantizer].op else { return nil }
      return parameters(of: self[quantizer], op)?.first?.scale
    }
    guard let input = activationQuantizer(of: node.operands[0]).flatMap(step) else {
      return Array(repeating: 0, count: channels)
    }
    let output = uses(of: node.results[0]).compactMap { step($0.user) }.max() ?? 0
    let bias = node.operands.count > 2 ? constant(node.operands[2])?.floats ?? [] : []
    return (0..<channels).map {
      leastWeightScale(bias: $0 < bias.count ? abs(bias[$0]) : 0, output: output, input: input)
    }
  }
}
