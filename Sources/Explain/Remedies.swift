import Glibc
import Numerics

/// Values that share a scale, with that scale.
struct ScaledGroup: Sendable {
  var values: [Float]
  var parameters: AffineParameters
}

/// What would lower the error of a quantizer besides more bits: each remedy's gain is the error now over the error with
/// the remedy, in decibels. A bit more gains 6.
struct Remedies: Sendable {
  /// If values beyond the range were not clipped, and all else stayed.
  private(set) var unclipped = 0.0
  /// The share of values beyond the range.
  private(set) var clippedShare = 0.0
  /// If each group's range ended at the 99.9 % of its values that are nearest to 0.
  private(set) var withoutOutliers = 0.0
  /// The range now over the range of those, the root of their mean squares over the groups.
  private(set) var stretch = 1.0
  /// If every channel had a range of its own: what that gains at the site or, where it is more, at the network's outputs.
  /// Layers that read channels one by one scale small ones up again, and their errors with them.
  private(set) var perChannel = 0.0
  /// The median channel's range over the range now.
  private(set) var channelShare = 1.0

  private let form: QuantizationForm
  private let role: QuantizerRole

  /// - Parameters:
  ///   - groups: the values by scale.
  ///   - channels: the same values by channel, with the range of each, where one scale serves all.
  init(
    _ groups: [ScaledGroup], channels: [(values: [Float], low: Float, high: Float)] = [],
    _ form: QuantizationForm, _ role: QuantizerRole
  ) {
    self.form = form
    self.role = role
    look(forClipping: groups)
    look(forOutliers: groups)
    if groups.count == 1, channels.count > 1 { look(forSpread: channels, groups[0].parameters) }
  }

  /// Takes into account what ranges by channel gain at the network's outputs.
  mutating func atOutputs(_ now: Energies, byChannel: Energies) {
    perChannel = max(perChannel, gain(now.noise, byChannel.noise))
  }

  /// The real interval that the parameters cover.
  private func interval(_ p: AffineParameters) -> (low: Float, high: Float) {
    let range = form.storedRange(role)
    return (p.dequantize(range.lowerBound), p.dequantize(range.upperBound))
  }
  private func noise(_ values: some Sequence<Float>, _ p: AffineParameters) -> Double {
    let range = form.storedRange(role)
    return values.reduce(0.0) {
      let error = Double(p.dequantize(p.quantize($1, range)) - $1)
      return $0 + error * error
    }
  }
  private func gain(_ before: Double, _ after: Double) -> Double {
    guard before > 0 else { return 0 }
    // Not more than the remedy of a defect: 60 dB.
    return after > before * 1e-6 ? 10 * log10(before / after) : 60
  }

  private mutating func look(forClipping groups: [ScaledGroup]) {
    var total = 0.0, clipped = 0.0, count = 0, beyond = 0
    for group in groups {
      let (low, high) = interval(group.parameters), half = group.parameters.scale / 2
      let outside = group.values.filter { $0 < low - half || $0 > high + half }
      total += noise(group.values, group.parameters)
      clipped += noise(outside, group.parameters)
      beyond += outside.count
      count += group.values.count
    }
    unclipped = gain(total, total - clipped)
    clippedShare = count > 0 ? Double(beyond) / Double(count) : 0
  }

  private mutating func look(forOutliers groups: [ScaledGroup]) {
    var before = 0.0, after = 0.0, widths = 0.0, bulks = 0.0
    for group in groups where group.values.count >= 8 {
      let sorted = group.values.sorted { $0.magnitude < $1.magnitude }
      let bulk = sorted.dropLast(max(sorted.count / 1000, 1))
      let own = AffineParameters(covering: bulk.min() ?? 0, bulk.max() ?? 0, form: form, role: role)
      let now = interval(group.parameters), then = interval(own)
      before += noise(bulk, group.parameters)
      after += noise(bulk, own)
      widths += Double(now.high - now.low) * Double(now.high - now.low) * Double(bulk.count)
      bulks += Double(then.high - then.low) * Double(then.high - then.low) * Double(bulk.count)
    }
    withoutOutliers = gain(before, after)
    stretch = bulks > 0 ? (widths / bulks).squareRoot() : 1
  }

  private mutating func look(
    forSpread channels: [(values: [Float], low: Float, high: Float)], _ shared: AffineParameters
  ) {
    let low = channels.reduce(Float(0)) { min($0, $1.low) },
      high = channels.reduce(Float(0)) { max($0, $1.high) }
    let now = interval(shared), width = now.high - now.low
    guard high > low, width > 0 else { return }
    // Channels' ranges are narrowed as the common one was.
    let factor = min(width / (high - low), 1)
    var before = 0.0, after = 0.0, shares: [Double] = []
    for channel in channels {
      let (low, high) = (min(channel.low, 0) * factor, max(channel.high, 0) * factor)
      before += noise(channel.values, shared)
      after += noise(
        channel.values, AffineParameters(covering: low, high, form: form, role: role))
      shares.append(Double((high - low) / width))
    }
    perChannel = gain(before, after)
    channelShare = shares.sorted()[shares.count / 2]
  }
}
