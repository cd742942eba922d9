import IR
import Numerics
import PassKit
import Support

package struct GptqOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("bits-below", \.bitsBelow, help: "layers with weights of fewer bits than this are treated"),
    Attribute("samples", \.samples, help: "calibration samples to gather inputs from"),
    Attribute("rows", \.rows, help: "input rows gathered for every layer"),
    Attribute("stages", \.stages, help: "parts of the network, each seeing the errors of those before it"),
    Attribute("damping", \.damping, help: "share of the mean diagonal added to the Hessian"),
    Attribute("sweeps", \.sweeps, help: "passes of coordinate descent behind GPTQ"),
  ]
  package var bitsBelow = 8
  package var samples = 128
  package var rows = 4096
  package var stages = 1
  package var damping: Float = 0.2
  package var sweeps = 0
  package init() {}
}

/// Rounds weights of few bits so that each layer's outputs, not its weights, change least.
///
///     %wq = quantize(%w, %s, %z) {role = weight, forms = [4:channel:symmetric*]}
///     %y  = conv2d(%x, %wq, %b)
///   ->
///     %wq = quantize(%w', %s', %z) {role = weight, forms = [4:channel:symmetric*]}     w' = multiples of s'
///     %y  = conv2d(%x, %wq, %b')
///
/// GPTQ (Frantar et al., arXiv 2210.17323) with columns in order of falling input energy, per group of a grouped
/// convolution, on second moments of layer inputs over calibration samples, whose number memory does not depend on;
/// coordinate descent behind it moves single weights by a step as long as that helps. Biases keep the mean of every
/// output. Each channel's step is chosen anew for the least squared error weighted with the input energies, unless its
/// bias needs it wide, and refitted during the descent. With several stages, later parts of the network gather their inputs behind the rounded earlier ones and first
/// move their weights to undo what they can of the errors they are given (least squares towards the float outputs): that
/// helps plain networks and overfits deep depthwise ones, so one stage is the default. Layers with wide weights, with
/// several forms, or with per-group scales are left alone; without calibration data all are.
package let gptq = Pass(
  "gptq", "round weights of few bits for the least error of each layer's outputs",
  accepts: .assigned ... .assigned,
  options: GptqOptions.self
) { rewriter, context, options in
  try roundWeights(&rewriter, context, options)
}

/// The pass, for others that go on from its roundings.
func roundWeights(_ rewriter: inout Rewriter, _ context: PassContext, _ options: GptqOptions) throws {
  guard options.samples > 0, options.rows > 0, options.stages > 0, options.damping > 0, options.sweeps >= 0
  else {
    throw CompilerError(
      "gptq: samples, rows, stages and damping must be positive, sweeps 0 or more", status: .usage)
  }
  try roundWeights(
    &rewriter, context, options, .gptq(damping: options.damping, sweeps: options.sweeps))
}

/// Rounds stage by stage.
/// - Parameter options: all but how a layer is rounded.
func roundWeights(
  _ rewriter: inout Rewriter, _ context: PassContext, _ options: GptqOptions, _ method: RoundingMethod
) throws {
  var layers: [RoundableLayer] = []
  for id in rewriter.ops where integerRole(of: rewriter.graph[id].op) == .weighted {
    if let layer = RoundableLayer(id, rewriter.graph, bitsBelow: options.bitsBelow) {
      layers.append(layer)
    } else {
      rewriter.count("left alone")
    }
  }
  guard !layers.isEmpty else { return }
  guard let data = context.calibration, data.count > 0 else {
    return rewriter.count("skipped for want of data", layers.count)
  }

  var rounded = rewriter.graph  // with rounded weights in place of quantizers, layer by layer
  let stages = min(options.stages, layers.count)
  for stage in 0..<stages {
    let members = Array(layers.indices)[stage * layers.count / stages..<(stage + 1) * layers.count / stages]
    let moments = try inputMoments(
      members.map { layers[$0].geometry }, float: rewriter.graph, rounded: stage == 0 ? nil : rounded, data,
      samples: options.samples, rowsWanted: options.rows, context)
    let work = zip(members, moments).map { (layer: layers[$0], moments: $1) }
    let counter = ProgressCounter(total: layers.count, done: members.startIndex), progress = context.progress
    let results = parallelMap(work, threads: context.threads) {
      layer, moments -> Result<RoundableLayer.Rounded?, CompilerError> in
      do throws(CompilerError) {
        let result = try layer.rounded(moments, refits: stage > 0, method)
        counter.add(1) { progress("rounding layers", $0, $1) }
        return .success(result)
      } catch { return .failure(error) }
    }
    for (index, result) in zip(members, results) {
      guard let new = try result.get() else {
        rewriter.count("without usable inputs")
        continue
      }
      guard rewriter.takeStep() else { return }
      layers[index].apply(new, &rewriter, &rounded)
      rewriter.count("layers rounded")
    }
  }
}
