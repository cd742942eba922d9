/// The distribution of a value per channel (axis 1), as its batch normalization recorded it: the value before
/// the activation fused into its producer has these means and standard deviations over the training data.
/// Ranges can be estimated from it without any data.
package struct ChannelStatistics: Hashable, Sendable {
  package var means: [Float]
  package var deviations: [Float]

  /// - Requires: as many means as deviations.
  package init(means: [Float], deviations: [Float]) {
    precondition(means.count == deviations.count, "\(means.count) means, \(deviations.count) deviations")
    self.means = means
    self.deviations = deviations
  }
}
