import IR
import PassKit
import Support

package struct AdaRoundOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("bits-below", \.bitsBelow, help: "layers with weights of fewer bits than this are treated"),
    Attribute("samples", \.samples, help: "calibration samples to gather inputs from"),
    Attribute("rows", \.rows, help: "input rows gathered for every layer"),
    Attribute("stages", \.stages, help: "parts of the network, each seeing the errors of those before it"),
    Attribute("damping", \.damping, help: "share of the mean diagonal added to the Hessian"),
    Attribute("iterations", \.iterations, help: "steps of learning for each layer"),
    Attribute("rate", \.rate, help: "learning rate of the roundings"),
    Attribute(
      "regularization", \.regularization, help: "weight of the term that decides between up and down"),
  ]
  package var bitsBelow = 8
  package var samples = 128
  package var rows = 4096
  package var stages = 1
  package var damping = AdaptiveRounding().damping
  package var iterations = AdaptiveRounding().iterations
  package var rate = AdaptiveRounding().rate
  package var regularization = AdaptiveRounding().regularization
  package init() {}
}

/// Learns whether weights of few bits are rounded up or down, so that each layer's outputs change least.
///
///     %wq = quantize(%w, %s, %z) {role = weight, forms = [4:channel:symmetric*]}
///     %y  = conv2d(%x, %wq, %b)
///   ->
///     %wq = quantize(%w', %s', %z) {role = weight, forms = [4:channel:symmetric*]}     w' = multiples of s'
///     %y  = conv2d(%x, %wq, %b')
///
/// AdaRound (Nagel et al., arXiv 2004.10568) with the error of the outputs taken from the second moments of the layer's inputs,
/// as gptq does (`AdaptiveRounding`), in its place: the choice of layers, of each channel's step, stages and biases are gptq's.
/// Weights end at the level below or above, nowhere else, where gptq may move them further to make up for others.
package let adaRound = Pass(
  "adaround", "learn to round weights of few bits up or down for the least error of each layer's outputs",
  accepts: .assigned ... .assigned, options: AdaRoundOptions.self
) { rewriter, context, options in
  guard options.samples > 0, options.rows > 0, options.stages > 0, options.damping > 0,
    options.iterations > 0, options.rate > 0,
    options.regularization >= 0
  else {
    throw CompilerError(
      "adaround: samples, rows, stages, damping, iterations and rate must be positive, regularization not negative",
      status: .usage)
  }
  var shared = GptqOptions()
  shared.bitsBelow = options.bitsBelow
  shared.samples = options.samples
  shared.rows = options.rows
  shared.stages = options.stages
  var adaptive = AdaptiveRounding()
  adaptive.damping = options.damping
  adaptive.iterations = options.iterations
  adaptive.rate = options.rate
  adaptive.regularization = options.regularization
  try roundWeights(&rewriter, context, shared, .adaptive(adaptive))
}
