import Evaluator
import IR
import Training

/// How far the channels of some values are from the means and deviations they should have: for every value the mean
/// over its channels of `((mean - μ)² + (deviation - σ)²) / u²`, u a channel's typical size.
struct StatisticsLoss: Sendable {
  struct Layer: Sendable {
    let tap: GradientPlan.Tap
    let means: [Float]
    let deviations: [Float]
    /// By channel: `1 / u²`. Deviations far below those of the other channels would make units of them too small.
    fileprivate let weights: [Float]

    init(_ tap: GradientPlan.Tap, _ statistics: ChannelStatistics) {
      self.tap = tap
      means = statistics.means
      deviations = statistics.deviations
      let floor = deviations.reduce(0, +) / Float(max(deviations.count, 1)) * 0.1 + 1e-6
      weights = deviations.map { 1 / (($0 + floor) * ($0 + floor)) }
    }
  }
  let layers: [Layer]

  /// The layers with weights whose statistics batch normalization left, in the order of the graph.
  static func layers(of graph: Graph) -> [Layer] {
    graph.order.compactMap { id in
      let node = graph[id]
      guard let activation = activation(of: node.op), let statistics = graph[node.results[0]].statistics,
        statistics.means.count == graph[node.results[0]].type.shape.size(1)
      else { return nil }
      // Statistics are those before the activation, see `AnalyticStatistics`.
      return Layer(.init(node.results[0], beforeActivation: activation != .none), statistics)
    }
  }

  /// - Parameter share: of the whole loss that falls on this shard.
  func callAsFunction(_ shard: GradientPlan.Shard, share: Double) -> GradientPlan.ShardLoss {
    var value = 0.0, gradients: [Tensor?] = []
    for (layer, output) in zip(layers, shard.outputs) {
      let part = lossPart(output, layer, share: share)
      value += part.value
      gradients.append(part.gradient)
    }
    return GradientPlan.ShardLoss(value, gradients)
  }

  private func lossPart(_ y: Tensor, _ layer: Layer, share: Double) -> LossPart {
    let channels = layer.means.count, perChannel = Double(y.count / max(channels, 1))
    let (sums, squares) = moments(y, around: layer.means)
    var value = 0.0, offsets = [Float](repeating: 0, count: channels), slopes = offsets
    for channel in 0..<channels {
      let shift = sums[channel] / perChannel
      let deviation = max(squares[channel] / perChannel - shift * shift, 1e-12).squareRoot()
      let excess = deviation - Double(layer.deviations[channel])
      let weight = Double(layer.weights[channel]) * share / Double(channels)
      value += weight * (shift * shift + excess * excess)
      // d/dx: 2 weight / n (shift + excess (x - μ - shift) / deviation)
      let slope = excess / deviation, factor = 2 * weight / perChannel
      slopes[channel] = Float(factor * slope)
      offsets[channel] = Float(factor * (shift - slope * (shift + Double(layer.means[channel]))))
    }
    let gradient = Tensor(y.shape, .f32, order: y.order)
    let from = y.pointer(Float.self), to = gradient.pointer(Float.self)
    withExtendedLifetime((y, gradient)) {
      forEachRun(y, channels) { start, count, channel in
        switch channel {
        case .one(let channel):
          let slope = slopes[channel], offset = offsets[channel]
          for index in start..<start + count { to[index] = offset + slope * from[index] }
        case .all:
          slopes.withUnsafeBufferPointer { slopes in
            offsets.withUnsafeBufferPointer { offsets in
              for index in 0..<count {
                to[start + index] = offsets[index] + slopes[index] * from[start + index]
              }
            }
          }
        }
      }
    }
    return LossPart(value: value, gradient: gradient)
  }

  /// Σ (y - center) and its squares by channel: relative to the wanted means little cancels.
  private func moments(_ y: Tensor, around centers: [Float]) -> ([Double], [Double]) {
    let channels = centers.count, from = y.pointer(Float.self)
    var sums = [Double](repeating: 0, count: channels), squares = sums
    // Of one image each, in single precision.
    var partialSums = [Float](repeating: 0, count: channels), partialSquares = partialSums
    let perImage = y.count / max(y.shape[0], 1)
    withExtendedLifetime(y) {
      forEachRun(y, channels) { start, count, channel in
        switch channel {
        case .one(let channel):
          let center = centers[channel]
          var sum: Float = 0, square: Float = 0
          for index in start..<start + count {
            let x = from[index] - center
            sum += x
            square += x * x
          }
          sums[channel] += Double(sum)
          squares[channel] += Double(square)
        case .all:
          partialSums.withUnsafeMutableBufferPointer { sums in
            partialSquares.withUnsafeMutableBufferPointer { squares in
              centers.withUnsafeBufferPointer { centers in
                for index in 0..<count {
                  let x = from[start + index] - centers[index]
                  sums[index] += x
                  squares[index] += x * x
                }
              }
            }
          }
          guard (start + count) % perImage == 0 else { return }
          for index in 0..<count {
            sums[index] += Double(partialSums[index])
            squares[index] += Double(partialSquares[index])
            (partialSums[index], partialSquares[index]) = (0, 0)
          }
        }
      }
    }
    return (sums, squares)
  }
}

/// Of an operation with weights; nil: it has none.
func activation(of op: Op) -> Activation? {
  if case .conv2d(let conv) = op { return conv.activation }
  if case .gemm(let gemm) = op { return gemm.activation }
  return nil
}

/// Whose elements follow one another in memory.
private enum RunChannel {
  case one(Int)
  /// One element of each.
  case all
}

/// Calls `body` with the first index and the length of every piece of memory that belongs to one channel, or has one
/// element of each, in the order of memory.
private func forEachRun(_ y: Tensor, _ channels: Int, _ body: (Int, Int, RunChannel) -> Void) {
  let area = y.shape.dropFirst(2).reduce(1, *)
  if y.order == .channelsLast || area == 1 {
    for start in stride(from: 0, to: y.count, by: channels) { body(start, channels, .all) }
  } else {
    for (index, start) in stride(from: 0, to: y.count, by: area).enumerated() {
      body(start, area, .one(index % channels))
    }
  }
}
