import Evaluator
import Glibc
import IR
import Numerics

/// One or two sites with a form each: what is measured in one partial run of the network.
struct Variant: Hashable, Sendable {
  var sites: [Int]
  var forms: [Int]
}

/// Sums over samples of what a variant changes.
struct VariantSums: Hashable, Sendable {
  var divergence = 0.0
  var noise = 0.0
  var signal = 0.0
  var localNoise = 0.0
  var localSignal = 0.0

  static func += (sums: inout VariantSums, other: VariantSums) {
    sums.divergence += other.divergence
    sums.noise += other.noise
    sums.signal += other.signal
    sums.localNoise += other.localNoise
    sums.localSignal += other.localSignal
  }

  init() {}

  /// - Parameters:
  ///   - float: the outputs of the float network, `changed` those of the variant.
  ///   - logarithms: for every output the logarithms of its softmax in the float network.
  init(
    float: [Tensor], changed: [Tensor], logarithms: [[Double]], samples: Int, local: (Tensor, Tensor)?
  ) {
    for index in float.indices {
      let energies = float[index].energies(against: changed[index])
      signal += energies.signal
      noise += energies.noise
      let own = logarithmsOfSoftmax(changed[index], samples: samples)
      for (p, q) in zip(logarithms[index], own) where p > -700 { divergence += exp(p) * (p - q) }
    }
    if let (before, after) = local {
      let energies = before.energies(against: after)
      localSignal = energies.signal
      localNoise = energies.noise
    }
  }
}

/// log softmax over all elements of each sample.
func logarithmsOfSoftmax(_ tensor: Tensor, samples: Int) -> [Double] {
  tensor.withFloats { floats in
    let width = floats.count / max(samples, 1)
    var result: [Double] = []
    result.reserveCapacity(floats.count)
    for sample in 0..<samples where width > 0 {
      let row = floats[sample * width..<(sample + 1) * width]
      let largest = Double(row.max() ?? 0)
      let sum = row.reduce(0.0) { $0 + exp(Double($1) - largest) }
      let offset = largest + log(sum)
      result += row.map { Double($0) - offset }
    }
    return result
  }
}
