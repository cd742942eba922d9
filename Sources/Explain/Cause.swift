import Glibc
import IR
import Numerics
import Support

/// Why a site loses what it loses, with the number that decided it and what to do.
///
/// Classes come from remedies: the one that would gain most names the cause if it halves the error at least (3 dB), since
/// what remains otherwise is what so few levels cost.
package struct Cause: Hashable, Sendable {
  package enum Kind: String, Sendable, CaseIterable {
    /// A loss that need not concern anybody.
    case none = "fine"
    /// The site itself is fine; what it is given is not.
    case inherited
    /// Values fill the range, and there are few levels.
    case levels = "few levels"
    /// A few values stretch the range.
    case outlier
    /// Most of the error comes from values beyond the range.
    case clipped = "clipped tail"
    /// One range serves channels of very different size.
    case channelSpread = "channel spread"
    /// A bias, or a sum, that the accumulator cannot hold, or weight scales raised for the bias's sake.
    case bias = "bias overflow"
    /// Few weights a channel: rounding finds little to balance its errors with.
    case depthwise
    /// Nothing but zeros.
    case dead
  }
  package let kind: Kind
  /// The number that decided: decibels that the remedy would gain, unless `evidence` says otherwise.
  package let number: Double
  /// The number in words.
  package let evidence: String
  /// One line on what to do.
  package let hint: String

  package init(_ kind: Kind, _ number: Double, _ evidence: String, hint: String) {
    self.kind = kind
    self.number = number
    self.evidence = evidence
    self.hint = hint
  }

  /// Signal to noise of a site from which on it is fine, in decibels.
  package static let fineDecibels = 30.0
  /// The least gain of a remedy that names a cause, in decibels.
  package static let leastGain = 3.0
  /// A range so many times that of the 99.9 % has outliers; a normal distribution's is about 1.5 times.
  package static let leastStretch = 2.5
}

/// What a site is: what causes and hints speak of.
struct CauseContext {
  var site: QuantizedNetwork.Site
  /// Weights of each output channel of a depthwise layer; nil elsewhere.
  var depthwiseWeights: Int?
  var accumulator: AccumulatorFinding?
  var local: Double
  var cumulative: Double
  var isSilent: Bool
}

extension Cause {
  /// The cause of what the site's own rounding loses.
  init(_ remedies: Remedies, _ context: CauseContext) {
    let site = context.site, bits = site.form.width.storageBits, isWeight = site.role == .weight
    let pin = "--pin '\(site.pinName)=\(isWeight ? "w" : "a")8'"
    if let finding = context.accumulator {
      self.init(.bias, finding.number, finding.evidence, hint: finding.hint)
    } else if context.isSilent {
      self.init(
        .dead, 0, "all values are 0", hint: "the layer does nothing: prune it, or check the model's export")
    } else if context.local >= Cause.fineDecibels {
      let lost = context.local - context.cumulative
      if context.cumulative < Cause.fineDecibels - 10, lost > 10 {
        self.init(
          .inherited, lost, "\(shortNumber(lost)) dB lost before this site",
          hint: "look at the sites before it")
      } else {
        self.init(.none, context.local, "", hint: "")
      }
    } else {
      let isStretched = remedies.stretch >= Cause.leastStretch
      let candidates: [(kind: Kind, gain: Double)] = [
        (.clipped, remedies.unclipped), (.outlier, isStretched ? remedies.withoutOutliers : 0),
        (.channelSpread, remedies.perChannel),
      ]
      let best = candidates.max { $0.gain < $1.gain } ?? (.levels, 0)
      guard best.gain >= Cause.leastGain else {
        if let weights = context.depthwiseWeights, bits < 8 {
          self.init(
            .depthwise, Double(weights), "\(weights) weights a channel in \(bits) bits",
            hint: "8 bits cost few bytes here: \(pin); or qcc opt with the pass reconstruct")
        } else {
          self.init(
            .levels, Double(bits), "\(bits) bits, range well used",
            hint: "more bits: \(pin), or let 'qcc search' choose; or qcc opt with the pass reconstruct")
        }
        return
      }
      let gain = shortNumber(best.gain)
      switch best.kind {
      case .clipped:
        self.init(
          .clipped, best.gain,
          "\(shortNumber(100 * remedies.clippedShare, 2)) % of values are clipped: \(gain) dB of error",
          hint: isWeight
            ? "calibrate{weights = min-max} (coarser steps), or \(pin)"
            : "calibrate with more typical samples, or with --calibration min-max (coarser steps); or \(pin)")
      case .outlier:
        self.init(
          .outlier, best.gain,
          "0.1 % of values stretch the range \(shortNumber(remedies.stretch))-fold: \(gain) dB of error",
          hint: isWeight
            ? "calibrate{weights = mse}, or \(pin)" : "--calibration mse or percentile, or \(pin)")
      case .channelSpread:
        self.init(
          .channelSpread, best.gain,
          "the median channel fills \(shortNumber(100 * remedies.channelShare)) % of the range: \(gain) dB of error",
          hint: isWeight
            ? "a scale for each channel: granularity 'channel' in the target"
            : "qcc opt with the pass equalize before insert-quantizers, or \(pin)")
      case .none, .inherited, .levels, .bias, .depthwise, .dead:
        self.init(best.kind, best.gain, "", hint: "")
      }
    }
  }
}

/// A number with at most so many decimals.
func shortNumber(_ value: Double, _ decimals: Int = 1) -> String {
  let scale = decimals == 1 ? 10.0 : 100.0
  let rounded = (value * scale).rounded() / scale
  return rounded == rounded.rounded() && rounded.magnitude < 1e15 ? "\(Int(rounded))" : "\(rounded)"
}

extension QuantizedNetwork.Site {
  /// What --pin calls the site: weight sites go by their layer's name.
  var pinName: String {
    role == .weight && name.hasSuffix(".weight") ? String(name.dropLast(7)) : name
  }
}
