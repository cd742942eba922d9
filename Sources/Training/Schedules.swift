import Glibc

/// Learning rates as functions of the progress of training.
package enum Schedule: Hashable, Sendable {
  case constant
  /// Half a cosine from the full rate down to `floor` times it.
  case cosine(floor: Double)
  /// Up from 1 / `start` of the full rate over the first `rise` of the steps, then down to 1 / (`start` * `end`) of it,
  /// both by half a cosine (Smith and Topin 2019; the defaults are those of PyTorch's OneCycleLR).
  case oneCycle(rise: Double = 0.3, start: Double = 25, end: Double = 1e4)

  /// The share of the full rate at step `step` of `count`, the first `warmUp` of which rise linearly to it.
  package func factor(step: Int, of count: Int, warmUp: Int = 0) -> Double {
    if step < warmUp { return Double(step + 1) / Double(warmUp) }
    let progress = min(max(Double(step - warmUp) / Double(max(count - warmUp - 1, 1)), 0), 1)
    switch self {
    case .constant: return 1
    case .cosine(let floor): return eased(progress, from: 1, to: floor)
    case .oneCycle(let rise, let start, let end):
      return progress < rise
        ? eased(progress / rise, from: 1 / start, to: 1)
        : eased((progress - rise) / max(1 - rise, .leastNormalMagnitude), from: 1, to: 1 / (start * end))
    }
  }

  private func eased(_ progress: Double, from: Double, to: Double) -> Double {
    to + (from - to) * (1 + cos(.pi * progress)) / 2
  }
}
