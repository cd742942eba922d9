import IR
import PassKit
import Support

package struct DistillOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("samples", \.samples, help: "how many samples are made; 0: 16 to 64 by the size of the input"),
    Attribute("iterations", \.iterations, help: "steps of training"),
    Attribute("rate", \.rate, help: "learning rate of input values, in deviations of the input"),
    Attribute("input-range", \.inputRange, help: "smallest and largest value of the network's input"),
  ]
  package var samples = 0
  package var iterations = 200
  package var rate: Float = 0.1
  package var inputRange: [Float] = [-1, 1]
  package init() {}
}

/// Without calibration data, makes samples for the passes behind it; the graph stays as it is.
///
///     %y = conv2d(%x, %w, %b) : … stats(mean = μ, deviation = σ)
///   ->
///     the same, beside samples of the input with which mean(%y) = μ, deviation(%y) = σ for every such %y
///
/// Noise is trained until every layer's channels have the means and deviations that batch normalization saw in training
/// (ZeroQ, Cai et al., arXiv 2001.00281), over groups of samples; input values stay within their range. Where the network
/// has no statistics, or there are data, nothing happens. The same seed gives the same samples for any number of threads.
/// They live as long as the pipeline: a graph written behind this pass and read again is without them.
package let distill = Pass(
  "distill", "without data: make calibration samples from batch normalization statistics",
  accepts: .canonical ... .assigned, options: DistillOptions.self
) { rewriter, context, options in
  guard options.samples >= 0, options.iterations >= 0, options.rate > 0, options.inputRange.count == 2,
    options.inputRange[0] < options.inputRange[1]
  else {
    throw CompilerError(
      "distill: rate must be positive, samples and iterations 0 or more, input-range [low, high]",
      status: .usage)
  }
  guard context.calibration.map({ $0.count == 0 }) ?? true else {
    return rewriter.count("not needed beside data")
  }
  let layers = StatisticsLoss.layers(of: rewriter.graph)
  guard !layers.isEmpty, let trainer = try SampleTrainer(rewriter.graph, layers, options, context) else {
    return rewriter.count("no statistics to distill from")
  }
  let result = try trainer.run(context)
  rewriter.count("samples", result.samples.count)
  context.calibration = result.samples
  context.diagnostics.append(
    Diagnostic(
      .note,
      "no calibration data: \(result.samples.count) samples were distilled from batch normalization statistics",
      notes: ["--data gives samples; results are usually closer to the float network with them"]))
}
