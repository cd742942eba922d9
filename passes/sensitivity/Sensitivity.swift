import Glibc
import IR

/// How much the network suffers when one site, or two, has a form and all others stay float. No labels are needed.
package struct Sensitivity: Hashable, Sendable {
  /// Whether the network ran with this change; else the divergence and the noises of outputs and layers are unknown.
  package var isMeasured = true
  /// Kullback-Leibler divergence of the network's answers from the float ones, in nats a sample; outputs are taken as
  /// logits (ZeroQ, arXiv 2001.00281).
  package var divergence = 0.0
  /// Energy of the error of the network's outputs, as a share of theirs.
  package var outputNoise = 0.0
  /// The same of what the layer, or the quantizer of an activation, gives.
  package var localNoise = 0.0
  /// The same of the weights; 0 for activations.
  package var weightNoise = 0.0
  /// Σ (ŵ - w)², by which scores from second derivatives weight the curvature of a layer.
  package var perturbation = 0.0
  /// The divergence that second derivatives predict, in nats a sample; nil for activations, and where none were asked for.
  package var predictedDivergence: Double?
}

/// What a search minimizes the sum of.
package enum SearchScore: String, TextEnumeration, Hashable {
  /// Divergence of the answers. For small errors it is a quadratic form of them, so that independent errors add up; it
  /// weighs errors by how much they can change an answer. Few uncertain samples make most of it, so that it needs many:
  /// with 64 on ResNets at 4 bits its assignments had less signal to noise than uniform widths, those of `sqnr` more.
  case divergence = "kl"
  /// Noise of the outputs.
  case outputNoise = "sqnr"
  /// Noise behind the layer: needs no run of what follows, and knows nothing of it.
  case localNoise = "local"
  /// Noise of the weights: needs no data.
  case weightNoise = "weights"
  /// The divergence that second derivatives predict for the errors of rounded weights and biases (HAWQ-V2, arXiv 1911.03852,
  /// but along these errors instead of in the mean direction). The network never runs with rounded weights, so that forms
  /// cost nothing. Activations have no weights: theirs is measured, as `kl` does, in the same unit.
  case hessian
  /// The largest that errors of this size could cause, by a layer's largest eigenvalue (HAWQ, arXiv 1905.03696). Real ones
  /// cause a share of it that differs from layer to layer.
  case eigenvalue

  /// The second derivatives it takes.
  var curvature: Curvature? {
    switch self {
    case .hessian: .alongErrors
    case .eigenvalue: .largest
    case .divergence, .outputNoise, .localNoise, .weightNoise: nil
    }
  }

  package func of(_ sensitivity: Sensitivity) -> Double {
    switch self {
    case .divergence: sensitivity.divergence
    case .outputNoise: sensitivity.outputNoise
    case .localNoise: sensitivity.localNoise
    case .weightNoise: sensitivity.weightNoise
    case .hessian, .eigenvalue: sensitivity.predictedDivergence ?? sensitivity.divergence
    }
  }
}

/// A share of noise as a signal-to-noise ratio in decibels.
package func decibels(_ noise: Double) -> Double { noise > 0 ? -10 * log10(noise) : .infinity }

/// The sensitivity of every candidate of every site.
package struct SensitivityTable: Sendable {
  /// What two sites do to the network beyond the sum of what each does (arXiv 2306.04879): for their candidates `forms`.
  package struct Interaction: Hashable, Sendable {
    package let sites: [Int]
    package let forms: [Int]
    package var divergence: Double
    package var outputNoise: Double
  }
  package var sites: [SearchSite]
  /// `entries[site][form]`; nil for forms that are no candidates.
  package var entries: [[Sensitivity?]]
  package var interactions: [Interaction]
  /// How many samples were measured.
  package var samples: Int
}
