import Evaluator
import Glibc

/// Σ x² of a signal and Σ (x - y)² of what differs from it.
package struct Energies: Hashable, Sendable {
  package var signal = 0.0
  package var noise = 0.0

  package init(signal: Double = 0, noise: Double = 0) {
    self.signal = signal
    self.noise = noise
  }
  init(_ reference: [Tensor], _ other: [Tensor]) {
    for (x, y) in zip(reference, other) {
      let energies = x.energies(against: y)
      signal += energies.signal
      noise += energies.noise
    }
  }

  /// Signal to noise in decibels: infinite without noise, -infinite for noise without a signal.
  package var decibels: Double {
    noise > 0 ? (signal > 0 ? 10 * log10(signal / noise) : -.infinity) : .infinity
  }

  package static func += (sum: inout Energies, other: Energies) {
    sum.signal += other.signal
    sum.noise += other.noise
  }
}
