import Evaluator
import IR

/// What a cause is told from: values that a quantizer was given, as many as fit, and the range of each channel over all.
struct SiteSamples: Sendable {
  /// Values kept of a site.
  static let limit = 1 << 16

  /// Values by channel (axis 1), in the order of the samples.
  private(set) var channels: [[Float]] = []
  private(set) var lows: [Float] = []
  private(set) var highs: [Float] = []

  init() {}

  /// Takes every n-th value of each channel, so that about `quota` remain.
  init(_ tensor: Tensor, quota: Int) {
    // A vector, or a matrix whose columns are features rather than channels, counts as one.
    let isImage = tensor.shape.count >= 3 && tensor.element == .f32
    let count = isImage ? tensor.shape[1] : 1, perChannel = max(quota / max(count, 1), 16)
    channels = Array(repeating: [], count: count)
    lows = Array(repeating: .infinity, count: count)
    highs = Array(repeating: -.infinity, count: count)
    guard tensor.count > 0 else { return }
    if isImage {
      let area = tensor.count / count, step = max(area / perChannel, 1)
      var seen = [Int](repeating: 0, count: count)
      tensor.forEachChannelPiece { channel, base, count, stride in
        for index in 0..<count { add(base[index * stride], channel, &seen[channel], step) }
      }
    } else {
      var seen = 0
      let step = max(tensor.count / perChannel, 1)
      tensor.withFloats { for value in $0 { add(value, 0, &seen, step) } }
    }
  }
  private mutating func add(_ value: Float, _ channel: Int, _ seen: inout Int, _ step: Int) {
    if value < lows[channel] { lows[channel] = value }
    if value > highs[channel] { highs[channel] = value }
    if seen % step == 0 { channels[channel].append(value) }
    seen += 1
  }

  static func += (sum: inout SiteSamples, other: SiteSamples) {
    guard !sum.channels.isEmpty else { return sum = other }
    for channel in sum.channels.indices {
      sum.channels[channel] += other.channels[channel]
      sum.lows[channel] = min(sum.lows[channel], other.lows[channel])
      sum.highs[channel] = max(sum.highs[channel], other.highs[channel])
    }
  }
}
