import Support
import Testing

@testable import Search

@Suite struct AccuracyPredictorTests {
  @Test func gradientsAreThoseOfDifferences() {
    var random = SeededRandom(seed: 4)
    func network(_ parameters: [Double]) -> MultilayerPerceptron {
      MultilayerPerceptron(inputs: 6, hidden: [5, 4], parameters: parameters)
    }
    let start = MultilayerPerceptron(inputs: 6, hidden: [5, 4], random: &random).parameters
    let parameters = start.map { $0 + 0.3 * (random.unit() - 0.5) }
    let inputs = Matrix(
      rows: 7, columns: 6, values: (0..<42).map { _ in random.below(3) == 0 ? 0 : 2 * random.unit() - 1 })
    // Some errors in either part of the loss.
    let targets = (0..<7).map { _ in 6 * random.unit() - 3 }
    let gradients = network(parameters).lossAndGradients(inputs, targets).gradients.flatMap(\.values)
    #expect(gradients.count == MultilayerPerceptron.parameterCount(inputs: 6, hidden: [5, 4]))
    #expect(gradients.count { $0 != 0 } > 30)
    for (index, gradient) in gradients.enumerated() {
      func loss(_ change: Double) -> Double {
        var changed = parameters
        changed[index] += change
        return network(changed).lossAndGradients(inputs, targets).loss
      }
      #expect(abs((loss(1e-6) - loss(-1e-6)) / 2e-6 - gradient) < 1e-7)
    }
  }

  @Test func learnsASupernet() throws {
    let supernet = Supernet(layers: 22)
    var sampler = SubnetSampler(supernet.space, seed: 5), random = SeededRandom(seed: 6)
    let subnets = sampler.spread(600)
    // The noise of an accuracy on a few thousand images.
    let accuracies = subnets.map { supernet.accuracy($0) + 0.01 * (random.unit() - 0.5) }
    let (predictor, quality) = AccuracyPredictor.train(supernet.space, subnets, accuracies)
    let held = try #require(quality)
    #expect(held.kendall >= 0.75 && held.pearson > 0.9 && held.spearman > 0.9, "\(held)")
    #expect(held.meanAbsoluteError < 0.02)
    // Sub-networks that are neither in the training nor in the held-out part.
    let others = sampler.spread(200)
    let quality2 = PredictionQuality(predictor.predict(others), others.map(supernet.accuracy))
    #expect(quality2.kendall >= 0.75, "\(quality2)")
  }

  @Test func theSamePredictorForAnyThreads() throws {
    let supernet = Supernet(layers: 4)
    var sampler = SubnetSampler(supernet.space, seed: 1), options = AccuracyPredictor.Options()
    let subnets = sampler.spread(60), accuracies = subnets.map(supernet.accuracy)
    (options.epochs, options.hidden) = (5, [8])
    let one = AccuracyPredictor.train(supernet.space, subnets, accuracies, options).predictor
    options.threads = 3
    #expect(AccuracyPredictor.train(supernet.space, subnets, accuracies, options).predictor == one)
    options.seed = 1
    #expect(AccuracyPredictor.train(supernet.space, subnets, accuracies, options).predictor != one)
    options.heldOut = 0
    #expect(AccuracyPredictor.train(supernet.space, subnets, accuracies, options).quality == nil)
  }

  /// Noise can be learned by heart, not predicted: what is held out is not seen.
  @Test func qualityIsThatOnUnseenMeasurements() throws {
    let supernet = Supernet(layers: 22)
    var sampler = SubnetSampler(supernet.space, seed: 5), random = SeededRandom(seed: 6)
    let subnets = sampler.spread(100), noise = subnets.map { _ in random.unit() }
    let (predictor, quality) = AccuracyPredictor.train(supernet.space, subnets, noise)
    #expect(PredictionQuality(predictor.predict(subnets), noise).pearson > 0.7)
    #expect(abs(try #require(quality).pearson) < 0.5)
  }

  @Test func qualityHasTheTextbookValues() {
    // Five pairs agree, one ties in the predictions alone.
    let quality = PredictionQuality([1, 2, 2, 3], [1, 3, 2, 4])
    #expect(abs(quality.kendall - 5 / (5.0 * 6).squareRoot()) < 1e-12)
    #expect(abs(quality.pearson - 3 / (2.0 * 5).squareRoot()) < 1e-12)
    #expect(abs(quality.spearman - 4.5 / (4.5 * 5).squareRoot()) < 1e-12)
    #expect(quality.meanAbsoluteError == 0.5)
    #expect(PredictionQuality([1, 2, 3], [9, 5, 1]).kendall == -1)
    #expect(PredictionQuality([1, 1], [1, 2]).kendall == 0)
  }

  /// Two steps by hand: means of 0.3 and 0.17, squares of 0.009 and 0.009991, before their corrections.
  @Test func adamTakesCorrectedSteps() {
    var optimizer = Adam(count: 1), values = [2.0]
    optimizer.update(&values, [3], rate: 0.1)
    #expect(abs(values[0] - 1.9) < 1e-9)
    optimizer.update(&values, [-1], rate: 0.1, weightDecay: 0.5)
    let step = 0.17 / 0.19 / (0.009991 / 0.001999).squareRoot()
    #expect(abs(values[0] - (1.9 * 0.95 - 0.1 * step)) < 1e-9)
  }
}
