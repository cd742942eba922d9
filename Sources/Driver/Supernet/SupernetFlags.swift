import ArgumentParser
import Numerics
import Trainer

/// Flags of `qcc search` for trained supernets.
struct SupernetFlags: ParsableArguments {
  @Option(help: "Supernets: how the assignment is found: genetic, or policy (one distribution a layer).")
  var method = Method.genetic
  @Option(
    name: .customLong("avg-activation-bits"),
    help: ArgumentHelp("Supernets: largest mean width of the layers' inputs.", valueName: "bits"))
  var averageActivationBits: Double?
  @Option(
    name: .customLong("avg-joint-bits"),
    help: ArgumentHelp(
      "Supernets: largest mean width of weights and layers' inputs together, each number counted once.",
      valueName: "bits"))
  var averageJointBits: Double?
  @Option(
    help:
      "Supernets: what is predicted and compared: fidelity to the widest sub-network's probabilities, or top1."
  )
  var rank = Rank.fidelity
  @Option(help: "Supernets: sub-networks measured to train the accuracy predictor.") var pairs = 600
  @Option(
    name: .customLong("measure-samples"), help: "Supernets: samples of --data on which they are measured.")
  var measureSamples = 2000
  @Option(
    name: .customLong("estimate-samples"),
    help: "Supernets: other samples of --data, on which normalizations are measured for each of them.")
  var estimateSamples = 2048
  @Option(
    name: .customLong("final-samples"),
    help: "Supernets: samples of --data on which the best are compared in the end.")
  var finalSamples = 10_000
  @Option(name: .customLong("test-finalists"), help: "Supernets: how many of the best --test measures.")
  var testFinalists = 1
  @Option(help: "Supernets: weights per channel or per tensor; default: whatever answers better.")
  var granularity: GranularityName?
  @Option(
    name: .customLong("weight-symmetry"),
    help: "Supernets: weights with or without zero points; default: whatever answers better.")
  var weightSymmetry: SymmetryName?
  @Option(
    name: .customLong("activation-symmetry"),
    help: "Supernets: activations with or without zero points; default: whatever answers better.")
  var activationSymmetry: SymmetryName?
  @Option(help: "Supernets: children of a generation.") var population = 100
  @Option(help: "Supernets: generations.") var generations = 500
  @Option(name: .customLong("mutation"), help: "Supernets: share of the sites that a mutation changes.")
  var mutation = 0.1
  @Option(help: "Supernets: the best predicted, which are measured in every round.") var candidates = 10
  @Option(help: "Supernets: searches, of which each learns from what the last one's candidates measured.")
  var rounds = 3

  enum Rank: String, ExpressibleByArgument, CaseIterable {
    case fidelity, top1
    func score(_ quality: SubnetworkQuality) -> Double {
      self == .fidelity ? quality.fidelity : quality.accuracy
    }
  }
  enum Method: String, ExpressibleByArgument, CaseIterable { case genetic, policy }
  enum GranularityName: String, ExpressibleByArgument, CaseIterable { case channel, tensor }
  enum SymmetryName: String, ExpressibleByArgument, CaseIterable {
    case symmetric, asymmetric
    var symmetry: Symmetry { self == .symmetric ? .symmetric : .asymmetric }
  }

  /// Budgets of supernets alone.
  var hasBudget: Bool { averageActivationBits != nil || averageJointBits != nil }

  /// Whether the search keeps to some granularities or symmetries.
  var hasStyle: Bool { granularity != nil || weightSymmetry != nil || activationSymmetry != nil }

  /// Finalists have four times the samples for their normalizations.
  var samples: Int { 4 * estimateSamples + max(measureSamples, finalSamples) }

  func validate() throws {
    func require(_ condition: Bool, _ message: String) throws {
      if !condition { throw ValidationError(message) }
    }
    try require(pairs >= 10 && pairs <= 1_000_000, "--pairs must be 10 to 1000000")
    try require(
      measureSamples > 0 && estimateSamples > 0 && finalSamples > 0, "numbers of samples must be positive")
    try require(population > 1 && population <= 100_000, "--population must be 2 to 100000")
    try require(generations > 0 && generations <= 1_000_000, "--generations must be 1 to 1000000")
    try require((0...1).contains(mutation), "--mutation must be in [0, 1]")
    try require(candidates > 0, "--candidates must be at least 1")
    try require(rounds > 0, "--rounds must be at least 1")
    try require(testFinalists > 0, "--test-finalists must be at least 1")
    try require((averageActivationBits ?? 1) > 0, "--avg-activation-bits must be positive")
    try require((averageJointBits ?? 1) > 0, "--avg-joint-bits must be positive")
  }
}
