import Training

/// How a network is trained.
package struct TrainingOptions: Hashable, Sendable {
  package var steps = 0
  package var batch = 128
  /// Samples that a thread takes at once; batch normalization uses the statistics of so many.
  package var shard = 64
  package var optimizer = Optimizer.Settings()
  package var schedule = Schedule.cosine(floor: 0)
  package var warmUp = 0
  /// The share of all steps, the last ones, behind each of which the parameters enter the mean that is the result; the
  /// schedule has come to its end before them. 0: the result is where the last step ends.
  package var averagedShare = 0.0
  package var labelSmoothing: Float = 0
  /// The largest magnitude of a gradient's element.
  package var clipping: Float = 1
  package var augmentation: Augmentation?
  package var seed: UInt64 = 0
  /// Weight of the newest batch in running means and variances.
  package var momentum: Float = 0.1
  /// The share of the float teacher's answers in the loss of the widest sub-network (or the only one).
  package var distillation: Float = 0
  package var supernet: SupernetOptions?
  package init() {}

  package var averagedSteps: Int { Int((averagedShare * Double(steps)).rounded()) }
}

/// What a step of a supernet consists of (EQ-Net, arXiv 2308.07650, section 3).
package struct SupernetOptions: Hashable, Sendable {
  /// Random sub-networks between the widest and the narrowest.
  package var randomSubnetworks = 1
  /// Which averages random sub-networks have, in bits, one drawn for weights and one for activations; nil: every site takes
  /// each of its widths alike, which averages to the middle one in large networks.
  package var averageBits: ClosedRange<Double>?
  /// Whether the narrowest sub-network takes part in every step.
  package var trainsNarrowest = true
  /// Wider sub-networks teach the next narrower one: the share of their answers in its loss. 0: labels alone.
  package var guidance: Float = 0.5
  /// nil: the distribution of weights is left to itself.
  package var regularization: WeightRegularization? = WeightRegularization()
  package init() {}
}
