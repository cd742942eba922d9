import IR
import Numerics
import PassKit
import Support

package struct CalibrateOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("activations", \.activations, help: "range method: \(RangeMethod.expectation)"),
    Attribute(
      "weights", \.weights,
      help: "range method of weights: l2.4, min-max, or auto (min-max at 8 bits, else l2.4)"),
    Attribute(
      "percentile", \.percentile, help: "share of values inside, in percent, for the percentile method"),
    Attribute("spread", \.spread, help: "without data: deviations on either side of the mean"),
    Attribute(
      "input-range", \.inputRange, help: "without data: smallest and largest value of the network's input"),
  ]
  package var activations = "l2.4"
  package var weights = "auto"
  package var percentile: Float = 99.99
  package var spread: Float = 6
  package var inputRange: [Float] = [-1, 1]
  package init() {}
}

/// Gives every quantizer its step and integer zero point, for each of its forms.
///
///     %xq = quantize(%x) {forms = [8:tensor:asymmetric*]}
///   ->
///     %xq = quantize(%x, %scale, %zero-point) {forms = [8:tensor:asymmetric*]}
///
/// Activations: from histograms of the float network over the calibration samples (one pass, constant memory), or,
/// without data, from batch normalization statistics propagated through the network. Weights: from their values.
/// Quantized values also get the mean and deviation of their channels, which correct-bias uses.
package let calibrate = Pass(
  "calibrate", "choose the step and zero point of every quantizer", accepts: .elastic ... .assigned,
  options: CalibrateOptions.self
) { rewriter, context, options in
  guard let method = RangeMethod(rawValue: options.activations) else {
    throw CompilerError(
      "calibrate: activations must be \(RangeMethod.expectation), not '\(options.activations)'",
      status: .usage)
  }
  guard options.weights == "auto" || options.weights == "l2.4" || options.weights == "min-max" else {
    throw CompilerError(
      "calibrate: weights must be auto, l2.4 or min-max, not '\(options.weights)'", status: .usage)
  }
  guard options.percentile > 50, options.percentile <= 100, options.spread > 0, options.inputRange.count == 2,
    options.inputRange[0] < options.inputRange[1]
  else {
    throw CompilerError(
      "calibrate: percentile must be in (50, 100], spread positive, input-range [low, high]", status: .usage)
  }

  var sites: [(id: OpID, quantizer: Quantize)] = []
  for id in rewriter.ops {
    if case .quantize(let quantizer) = rewriter.graph[id].op { sites.append((id, quantizer)) }
  }
  let activations = sites.filter { $0.quantizer.role == .activation }
  let ranges = try ActivationRanges(
    activations.map { rewriter.graph[$0.id].operands[0] }, rewriter.graph, method, options, &context)
  let graph = rewriter.graph
  // Sites are independent: each thread takes every n-th.
  let results = parallelMap(sites, threads: context.threads) { id, quantizer -> [[AffineParameters]] in
    let operand = graph[id].operands[0]
    return quantizer.forms.all.map { form in
      switch quantizer.role {
      case .activation:
        let range = ranges.range(operand, form)
        return [AffineParameters(covering: range.lowerBound, range.upperBound, form: form, role: .activation)]
      case .weight:
        let chosen: RangeMethod =
          options.weights == "auto"
          ? (form.width.storageBits == 8 ? .minMax : .l24) : options.weights == "l2.4" ? .l24 : .minMax
        let channels = graph[operand].type.shape.size(quantizer.axis) ?? 1
        let floats = graph.constant(operand)?.floats ?? []
        return floats.withUnsafeBufferPointer { weightParameters($0, channels: channels, form, chosen) }
      }
    }
  }
  var stepsOf: [OpID: ClosedRange<Float>] = [:]
  for (site, parameters) in zip(sites, results) where site.quantizer.role == .activation {
    let steps = parameters.compactMap { $0.first?.scale }
    if let least = steps.min(), let largest = steps.max() { stepsOf[site.id] = least...largest }
  }
  // All decisions before the first change: replacing a quantizer gives it another id.
  var final = results
  for index in sites.indices where sites[index].quantizer.role == .weight {
    let raised = raiseScales(&final[index], of: sites[index].id, graph, stepsOf)
    if raised > 0 { rewriter.count("raised weight scales", raised) }
  }
  for (site, parameters) in zip(sites, final) {
    try setParameters(parameters, of: site.id, site.quantizer, ranges, &rewriter)
  }
}

/// Raises the scales of channels whose weights are very small: dead channels above all.
///
/// Beside their bias: in steps of input scale times weight scale it would overflow the accumulator; it keeps up to 24
/// bits. Beside the output: an accumulator step below 2^-14 of an output step adds no precision, and kernels requantize
/// with one fused multiply-add only above (`FixedPointMultiplier.fusedScale`). One such channel would slow down all.
private func raiseScales(
  _ parameters: inout [[AffineParameters]], of id: OpID, _ graph: Graph, _ stepsOf: [OpID: ClosedRange<Float>]
) -> Int {
  guard let user = graph.uses(of: graph[id].results[0]).first?.user,
    let input = graph.activationQuantizer(of: graph[user].operands[0]).flatMap({ stepsOf[$0] })
  else { return 0 }
  let bias = graph[user].operands.count > 2 ? graph.constant(graph[user].operands[2])?.floats ?? [] : []
  let output =
    graph.uses(of: graph[user].results[0]).compactMap { stepsOf[$0.user] }.map(\.upperBound).max() ?? 0
  var raised = 0
  for form in parameters.indices {
    let isShared = parameters[form].count == 1
    for index in parameters[form].indices {
      let largest =
        isShared ? bias.reduce(0) { max($0, abs($1)) } : index < bias.count ? abs(bias[index]) : 0
      let least = leastWeightScale(bias: largest, output: output, input: input.lowerBound)
      guard least.isFinite, parameters[form][index].scale < least else { continue }
      parameters[form][index].scale = AffineParameters.usable(least)
      raised += 1
    }
  }
  return raised
}

/// The least scale of a channel's weights beside the largest bias that shares it and the steps of output and input.
func leastWeightScale(bias: Float, output: Float, input: Float) -> Float {
  max(bias / 16_777_216, output / 16_384 * 1.001) / input
}

extension Graph {
  /// The activation quantizer whose integers `value` holds, also through operations that only move them.
  func activationQuantizer(of value: ValueID) -> OpID? {
    guard let id = definingOp(of: value) else { return nil }
    if case .quantize = self[id].op { return id }
    return integerRole(of: self[id].op) == .transparent ? activationQuantizer(of: self[id].operands[0]) : nil
  }
}

/// Replaces a quantizer by one with parameter operands.
private func setParameters(
  _ parameters: [[AffineParameters]], of id: OpID, _ quantizer: Quantize, _ ranges: ActivationRanges,
  _ rewriter: inout Rewriter
) throws(VerificationError) {
  let node = rewriter.graph[id]
  var operands = [node.operands[0]]
  for (form, values) in zip(quantizer.forms.all, parameters) {
    let name = quantizer.forms.all.count == 1 ? quantizer.site : "\(quantizer.site).\(form.text)"
    operands.append(rewriter.constant(Constant("\(name).scale", [values.count], values.map(\.scale))))
    operands.append(
      rewriter.constant(Constant("\(name).zero-point", [values.count], values.map(\.zeroPoint))))
  }
  let value = try rewriter.replace(id, with: .quantize(quantizer), operands)[0]
  if quantizer.role == .activation { rewriter.setStatistics(value, ranges.channels(node.operands[0])) }
  rewriter.count("calibrated \(quantizer.role.rawValue)s")
}

/// Where the intervals of activations come from.
private struct ActivationRanges: Sendable {
  private enum Source: Sendable {
    case observed([ValueID: SiteStatistics], RangeMethod, percentile: Double)
    case analytic(AnalyticStatistics)
  }
  private let source: Source

  init(
    _ values: [ValueID], _ graph: Graph, _ method: RangeMethod, _ options: CalibrateOptions,
    _ context: inout PassContext
  ) throws {
    guard let data = context.calibration, data.count > 0 else {
      source = .analytic(
        AnalyticStatistics(
          graph, inputRange: options.inputRange[0]...options.inputRange[1], spread: Double(options.spread)))
      context.diagnostics.append(
        Diagnostic(
          .note, "no calibration data: activation ranges are data-free, from batch normalization statistics",
          notes: ["--data gives samples; results are usually closer to the float network with them"]))
      return
    }
    // Searches calibrate more than once.
    if let warning = try InputCheck(graph, data, context)?.diagnostic, !context.diagnostics.contains(warning)
    {
      context.diagnostics.append(warning)
    }
    let statistics = try observe(values, in: graph, data, context)
    for value in values {
      if let bad = statistics[value]?.histogram.notFinite, bad > 0 {
        context.warn(
          "\(bad) values are NaN or infinite in float and were left out of calibration",
          at: "'\(graph[value].name)'")
      }
    }
    source = .observed(statistics, method, percentile: Double(options.percentile))
  }

  func range(_ value: ValueID, _ form: QuantizationForm) -> ClosedRange<Float> {
    switch source {
    case .observed(let statistics, let method, let percentile):
      statistics[value].map { method.range($0, form, percentile: percentile) } ?? 0...0
    case .analytic(let analytic): analytic.ranges[value] ?? -1...1
    }
  }
  func channels(_ value: ValueID) -> ChannelStatistics? {
    switch source {
    case .observed(let statistics, _, _): statistics[value]?.channels
    case .analytic(let analytic): analytic.moments[value]?.statistics
    }
  }
}
