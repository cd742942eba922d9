import IR
import PassKit
import Support

/// Puts batch normalizations back behind the convolutions they were folded into, for training.
///
///     %y = conv2d(%x, %w, %b) {activation = relu} stats(mean = [m], deviation = [d])
///   ->
///     %c = conv2d(%x, %w')                                       w' = w / f
///     %n = batch-norm(%c, γ, β, μ, σ²)                           β = m, μ = (m - b) / f, σ = d / f, γ = f √(σ² + ε)
///     %y = relu(%n)
///
/// The network computes the same. Each channel's factor f brings its weights to the root mean square 1 / √(inputs of a
/// sum), as for a fresh network, so that one learning rate fits all layers and channels that share a step have weights
/// of one size; f > 0, hence γ > 0. Convolutions without channel statistics stay as they are.
/// `fold-batch-norm` is the way back. Exact but for the rounding of weights.
package let restoreBatchNorm = Pass(
  "restore-batch-norm", "put batch normalizations back behind convolutions, for training",
  accepts: .canonical ... .elastic
) { rewriter, _ in
  for id in rewriter.ops {
    let node = rewriter.graph[id]
    guard case .conv2d(let convolution) = node.op, let result = node.results.first else { continue }
    guard let statistics = rewriter.graph[result].statistics else {
      rewriter.count("left without statistics")
      continue
    }
    guard let (place, weights) = rewriter.graph.soleWeights(of: id),
      let shape = weights.type.shape.sizes, shape[0] == statistics.means.count,
      node.operands.count < 3 || rewriter.graph.constant(node.operands[2]) != nil
    else {
      rewriter.count("left alone")
      continue
    }
    guard rewriter.takeStep() else { return }
    let bias = node.operands.count > 2 ? rewriter.graph.constant(node.operands[2])?.floats : nil
    let parts = Unfolded(weights.floats, bias ?? [], statistics)
    let name = rewriter.graph[result].name
    rewriter.setOperand(
      place.op, place.operand, to: rewriter.constant(Constant(weights.name, shape, parts.weights)))
    var bare = convolution
    bare.activation = .none
    let sums = try rewriter.insert(
      .conv2d(bare), Array(rewriter.graph[id].operands.prefix(2)), name: "\(node.name)", before: id)[0]
    var operands = [sums]
    for (part, values) in [
      ("gain", parts.gain), ("shift", statistics.means), ("mean", parts.mean), ("variance", parts.variance),
    ] {
      operands.append(rewriter.constant(Constant("\(name).\(part)", [values.count], values)))
    }
    var normalization = BatchNorm()
    normalization.epsilon = Unfolded.epsilon
    var value = try rewriter.insert(
      .batchNorm(normalization), operands, name: "\(node.name).norm", before: id)[
        0]
    if convolution.activation != .none {
      value = try rewriter.insert(
        .unary(Unary(clamp: convolution.activation)), [value], name: "\(node.name).clamp", before: id)[0]
    }
    rewriter.replaceResults(of: id, with: [value])
    rewriter.setMetadata(batchNormKey, "separate")
    rewriter.count("restored")
  }
}

/// The metadata under which graphs say that their batch normalizations stand apart.
let batchNormKey = "batch-norm"

/// A convolution's constants with a factor per channel taken out.
private struct Unfolded {
  static let epsilon: Float = 1e-5
  var weights: [Float]
  var gain: [Float] = []
  var mean: [Float] = []
  var variance: [Float] = []

  init(_ folded: [Float], _ bias: [Float], _ statistics: ChannelStatistics) {
    weights = folded
    let channels = statistics.means.count, length = folded.count / max(channels, 1)
    for channel in 0..<channels {
      let range = channel * length..<(channel + 1) * length
      let squares = folded[range].reduce(0.0) { $0 + Double($1) * Double($1) }
      let factor = squares > 0 ? Float(squares.squareRoot()) : 1
      for index in range { weights[index] = folded[index] / factor }
      let deviation = statistics.deviations[channel] / factor
      let spread = max(deviation * deviation - Unfolded.epsilon, 0)
      variance.append(spread)
      gain.append(factor * (spread + Unfolded.epsilon).squareRoot())
      mean.append((statistics.means[channel] - (channel < bias.count ? bias[channel] : 0)) / factor)
    }
  }
}

extension Graph {
  /// The constant weights of a convolution that nothing else reads, and where they are read: by its quantizer, which has
  /// no parameters yet, or by itself.
  fileprivate func soleWeights(of id: OpID) -> (place: (op: OpID, operand: Int), weights: Constant)? {
    var place = (op: id, operand: 1)
    if let quantizer = definingOp(of: self[id].operands[1]), case .quantize = self[quantizer].op {
      guard self[quantizer].operands.count == 1, uses(of: self[id].operands[1]).count == 1 else { return nil }
      place = (quantizer, 0)
    }
    let value = self[place.op].operands[place.operand]
    guard let weights = constant(value), uses(of: value).count == 1 else { return nil }
    return (place, weights)
  }
}
