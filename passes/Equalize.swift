import IR
import PassKit
import Support

package struct EqualizeOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("by", \.by, help: "what to even out between channels: weights, activations or both"),
    Attribute(
      "alpha", \.alpha, help: "share of the spread that moves from what computes a channel to its readers"),
    Attribute("limit", \.limit, help: "largest factor, and the inverse of the smallest"),
    Attribute("sweeps", \.sweeps, help: "rounds over the network at most"),
    Attribute("margin", \.margin, help: "a clip counts as unreached below its bound divided by this"),
    Attribute("spread", \.spread, help: "without data: deviations beyond the mean that a channel may reach"),
  ]
  package var by = "weights"
  package var alpha: Float = 0.5
  package var limit: Float = 65_536
  package var sweeps = 50
  package var margin: Float = 1.1
  package var spread: Float = 6
  package init() {}
}

/// Scales channels between layers so that all of them need about the same range, which one step per tensor then serves.
///
///     %y = conv2d(%x, %w, %b){activation = relu}             %y' = conv2d(%x, %w / s, %b / s){activation = relu}
///     %z = conv2d(%y, %v)                              ->    %z  = conv2d(%y', %v · s)
///
/// With `by = weights` cross-layer equalization (Nagel et al., arXiv 1906.04721), s = √(max|w| max|v|) / max|v| per
/// channel; with `by = activations` the spread of a channel's values moves into the weights that read it: SmoothQuant
/// (arXiv 2211.10438) at alpha 0.5, AQT's activation scales per channel at alpha 1. Scales pass through relu, leaky and
/// parametric relu, pooling, sums, concatenations, slices and paddings with zeros; all producers and readers of a channel
/// share one (`ChannelClasses`), also layer normalizations before products. Channels behind an upper clip are scaled only
/// if calibration samples, or else batch normalization statistics, show that they never reach it, and then stay below it.
/// Rounds go on until Σ |s - 1| < 1e-4. Exact but for the rounding of weights, and for inputs that reach an unreached
/// clip. Statistics follow. Channels that something else reads or computes are counted by the reason.
package let equalize = Pass(
  "equalize", "scale channels between layers so that one step per tensor suits all of them",
  accepts: .canonical ... .canonical, options: EqualizeOptions.self
) { rewriter, context, options in
  guard let target = EqualizationTarget(rawValue: options.by) else {
    throw CompilerError(
      "equalize: by must be \(EqualizationTarget.expectation), not '\(options.by)'", status: .usage)
  }
  guard (0...1).contains(options.alpha), options.limit >= 1, options.sweeps > 0, options.margin >= 1,
    options.spread > 0
  else {
    throw CompilerError(
      "equalize: alpha must be in [0, 1], limit and margin at least 1, sweeps and spread positive",
      status: .usage)
  }
  let graph = rewriter.graph, classes = ChannelClasses(graph)
  let watched = classes.watchedValues(graph, withActivations: target != .weights)
  let maxima: ChannelMaxima
  if let data = context.calibration, data.count > 0, !watched.isEmpty {
    maxima = try ChannelMaxima(watched, in: graph, data, context)
  } else {
    maxima = ChannelMaxima(statistics: watched, in: graph, spread: options.spread)
  }
  var equalizer = Equalizer(
    classes, graph, target, alpha: Double(options.alpha), limit: Double(options.limit), maxima,
    leastFactors: classes.leastFactors(maxima, margin: options.margin))
  for (reason, count) in equalizer.kept { rewriter.count("channels kept: \(reason)", count) }
  var groupCount = 0
  while groupCount < equalizer.groupCount, rewriter.takeStep() { groupCount += 1 }
  var sweeps = 0, change = Double.infinity
  while sweeps < options.sweeps, change >= 1e-4 {
    change = equalizer.sweep(first: groupCount)
    sweeps += 1
  }
  rewriter.count("channels scaled", equalizer.factors.scaledCount)
  rewriter.scale(by: equalizer.factors)
}

extension ChannelClasses {
  /// The values whose channel maxima decide: those behind upper clips, and all activations.
  fileprivate func watchedValues(_ graph: Graph, withActivations: Bool) -> [ValueID] {
    var result = clamps.map(\.value), seen = Set(result)
    guard withActivations else { return result }
    let layerOps = Set(layers.map(\.op))
    for id in graph.order where layerOps.contains(id) || integerRole(of: graph[id].op) == .computed {
      for value in graph[id].results where !elements(of: value).isEmpty && seen.insert(value).inserted {
        result.append(value)
      }
    }
    return result
  }

  /// The least factor of every class with which its channels stay below the clips they pass; infinite where they reach
  /// one or nothing is known of them.
  fileprivate func leastFactors(_ maxima: ChannelMaxima, margin: Float) -> [Double] {
    var result = [Double](repeating: 0, count: elementCount)
    for clamp in clamps {
      let known = maxima[clamp.value]
      for (channel, element) in elements(of: clamp.value).enumerated() {
        let share = known.map { Double($0[channel] * margin / clamp.bound) } ?? .infinity
        result[root(element)] = max(result[root(element)], share < 1 ? share : .infinity)
      }
    }
    return result
  }
}
