import Evaluator
import IR
import Numerics
import PassKit
import Passes
import Support
import Synchronization

/// What one quantizer loses, and why.
package struct SiteReport: Sendable {
  package let site: QuantizedNetwork.Site
  /// Of the rounded weights; nil of activations.
  package var weights: Energies?
  /// Behind the site when it alone rounds: a layer's output with rounded weights, or the rounded activation.
  package var local = Energies()
  /// At the same place when all quantizers round.
  package var cumulative = Energies()
  /// At the network's outputs when this site alone rounds.
  package var output = Energies()
  package var cause = Cause(.none, 0, "", hint: "")
}

/// A quantized network beside its float one, on samples.
package struct NetworkReport: Sendable {
  /// In the order of the graph.
  package var sites: [SiteReport] = []
  package var samples = 0
  /// Of the outputs, with all quantizers, those of weights, and those of activations.
  package var outputs = Energies()
  package var weightsAlone = Energies()
  package var activationsAlone = Energies()
  /// Samples whose largest output (of the first one) is the float network's.
  package var same = 0
}

/// Measures all sites on the first samples of `data`. Sums are added in the samples' order: the report is the same for
/// any number of threads.
/// - Throws: `interrupted` when the user asked to stop.
package func explain(
  _ network: QuantizedNetwork, _ data: any CalibrationData, samples: Int, _ context: PassContext
) throws -> NetworkReport {
  let graph = network.float, count = min(samples, data.count)
  guard let input = graph.inputs.first, graph.inputs.count == 1, graph[input].type.shape.isBatched, count > 0
  else {
    throw CompilerError("sites are measured on networks with one input and a batch axis, and on samples")
  }
  let float = try Evaluator(graph, mode: .float, threads: 1)
  let rounding = try Evaluator(network.quantized, mode: .quantized, threads: 1)
  let outputs = graph.outputs.map { graph.logits(of: $0) }
  let chunk = chunkSize(graph), quota = SiteSamples.limit / ((count + chunk - 1) / chunk)
  var report = NetworkReport(), values = network.sites.map { _ in SiteSamples() }
  var byChannel = network.sites.map { _ in Energies() }
  report.sites = network.sites.map { SiteReport(site: $0) }
  let done = Atomic(0), total = count * network.sites.count
  for start in stride(from: 0, to: count, by: chunk) {
    let range = start..<min(start + chunk, count), batch = try samplesTensor(graph, data, range)
    let trace = try float.trace([batch]), rounded = try rounding.trace([batch])
    let reference = outputs.compactMap { trace[$0] }, answers = outputs.compactMap { rounded[$0] }
    report.outputs += Energies(reference, answers)
    report.same += sameAnswers(reference, answers, range.count)
    for (role, sum) in [
      (Quantize.Role.weight, \NetworkReport.weightsAlone), (.activation, \.activationsAlone),
    ] {
      let change = network.change(network.sites.filter { $0.role == role })
      report[keyPath: sum] += Energies(reference, try float.replay(trace, change, wanted: outputs))
    }
    let parts = parallelMap(network.sites, threads: context.threads) { site -> Result<Part, CompilerError> in
      if context.isInterrupted() { return .failure(CompilerError("interrupted", status: .interrupted)) }
      do throws(CompilerError) {
        let changed = try float.replay(trace, network.change([site]), wanted: [site.local] + outputs)
        var part = Part()
        // An activation's quantizer is measured against what it was given, which the float network passes on.
        if let before = trace[site.local], let after = rounded[site.local] {
          part.local = Energies([before], [changed[0]])
          part.cumulative = Energies([before], [after])
        }
        part.output = Energies(reference, Array(changed.dropFirst()))
        if site.role == .activation, let given = trace[graph[site.op].operands[0]] {
          part.values = SiteSamples(given, quota: quota)
          if let separate = network.roundedByChannel(given, site) {
            var change = Change()
            change.results[site.local] = separate
            part.byChannel = Energies(reference, try float.replay(trace, change, wanted: outputs))
          }
        }
        let finished = done.wrappingAdd(range.count, ordering: .relaxed).newValue
        context.progress("measuring sites", finished, total)
        return .success(part)
      } catch { return .failure(error) }
    }
    for (index, result) in parts.enumerated() {
      let part = try result.get()
      report.sites[index].local += part.local
      report.sites[index].cumulative += part.cumulative
      report.sites[index].output += part.output
      values[index] += part.values
      byChannel[index] += part.byChannel
    }
    report.samples += range.count
  }
  report.sites = parallelMap(Array(zip(report.sites, zip(values, byChannel))), threads: context.threads) {
    network.explained($0, $1.0, byChannel: $1.1)
  }
  return report
}

/// What one chunk of samples tells about one site.
private struct Part: Sendable {
  var local = Energies()
  var cumulative = Energies()
  var output = Energies()
  var values = SiteSamples()
  /// At the outputs, when each channel of the activation is rounded in a range of its own.
  var byChannel = Energies()
}

extension QuantizedNetwork {
  /// The report with the weights' share and its cause.
  fileprivate func explained(
    _ measured: SiteReport, _ values: SiteSamples, byChannel: Energies
  ) -> SiteReport {
    var report = measured
    let site = report.site
    guard case .quantize(let quantizer) = quantized[site.op].op,
      let parameters = quantized.parameters(of: quantized[site.op], quantizer), !parameters.isEmpty
    else { return report }
    var groups: [ScaledGroup] = [], channels: [(values: [Float], low: Float, high: Float)] = []
    if let weights = weights(of: site) {
      report.weights = Energies([weights.float], [weights.rounded])
      let rows = self.rows(weights.float, axis: quantizer.axis)
      groups = scaled(rows, parameters)
      channels = rows.map { ($0, $0.min() ?? 0, $0.max() ?? 0) }
    } else {
      groups = scaled(parameters.count == 1 ? [values.channels.flatMap { $0 }] : values.channels, parameters)
      channels = zip(values.channels, zip(values.lows, values.highs)).map { ($0, $1.0, $1.1) }
    }
    let context = CauseContext(
      site: site, depthwiseWeights: depthwiseWeights(site), accumulator: accumulatorFinding(site),
      local: report.local.decibels, cumulative: report.cumulative.decibels,
      isSilent: report.local.signal == 0)
    var remedies = Remedies(groups, channels: channels, site.form, site.role.numerics)
    if byChannel.signal > 0 { remedies.atOutputs(report.output, byChannel: byChannel) }
    report.cause = Cause(remedies, context)
    return report
  }

  /// An image rounded with a range of its own for each channel, narrowed as the site's range was; nil of other sites.
  fileprivate func roundedByChannel(_ given: Tensor, _ site: Site) -> Tensor? {
    guard given.shape.count == 4, given.shape[1] > 1, given.element == .f32,
      case .quantize(let quantizer) = quantized[site.op].op,
      let parameters = quantized.parameters(of: quantized[site.op], quantizer), parameters.count == 1
    else { return nil }
    let channels = given.shape[1], area = given.shape[2] * given.shape[3], range = quantizer.storedRange
    var values = given.floats
    func place(_ index: Int) -> Int { index / area % channels }
    var lows = [Float](repeating: 0, count: channels), highs = lows
    for (index, value) in values.enumerated() where value.isFinite {
      lows[place(index)] = min(lows[place(index)], value)
      highs[place(index)] = max(highs[place(index)], value)
    }
    let width = parameters[0].dequantize(range.upperBound) - parameters[0].dequantize(range.lowerBound)
    let full = (highs.max() ?? 0) - (lows.min() ?? 0), factor = full > 0 ? min(width / full, 1) : 1
    let own = (0..<channels).map {
      AffineParameters(
        covering: lows[$0] * factor, highs[$0] * factor, form: site.form, role: site.role.numerics)
    }
    for index in values.indices {
      let p = own[place(index)]
      values[index] = p.dequantize(p.quantize(values[index], range))
    }
    return Tensor(given.shape, values)
  }

  /// The slices of a tensor along an axis.
  private func rows(_ tensor: Tensor, axis: Int) -> [[Float]] {
    let count = tensor.shape.indices.contains(axis) ? tensor.shape[axis] : 1
    let inner = tensor.shape.dropFirst(axis + 1).reduce(1, *), floats = tensor.floats
    var rows = [[Float]](repeating: [], count: count)
    for (index, value) in floats.enumerated() { rows[index / inner % max(count, 1)].append(value) }
    return rows
  }

  /// Rows with their scales: one for all, one for each, or several for parts of each.
  private func scaled(_ rows: [[Float]], _ parameters: [AffineParameters]) -> [ScaledGroup] {
    if parameters.count == 1 { return [ScaledGroup(values: Array(rows.joined()), parameters: parameters[0])] }
    let perRow = max(parameters.count / max(rows.count, 1), 1)
    return parameters.enumerated().compactMap { index, parameters in
      let row = index / perRow, part = index % perRow
      guard row < rows.count else { return nil }
      let length = (rows[row].count + perRow - 1) / perRow
      let range = min(part * length, rows[row].count)..<min((part + 1) * length, rows[row].count)
      return ScaledGroup(values: Array(rows[row][range]), parameters: parameters)
    }
  }

  private func depthwiseWeights(_ site: Site) -> Int? {
    guard let layer = site.layers.first, case .conv2d(let conv) = quantized[layer].op, conv.groups > 1,
      let shape = quantized[quantized[site.op].operands[0]].type.shape.sizes, shape.count == 4, shape[1] == 1
    else { return nil }
    return shape[2] * shape[3]
  }
}

/// Samples `range` as one tensor.
func samplesTensor(
  _ graph: Graph, _ data: any CalibrationData, _ range: Range<Int>
) throws -> Tensor {
  let shape = graph[graph.inputs[0]].type.shape.bound(batch: 1).dropFirst(), expected = shape.reduce(1, *)
  var values: [Float] = []
  for index in range {
    let sample = try data.sample(index)
    guard sample.count == expected else {
      throw CompilerError("sample \(index) has \(sample.count) values; the network takes \(Array(shape))")
    }
    values += sample
  }
  return Tensor([range.count] + shape, values)
}

/// So many samples that two traces of them take about 128 MiB.
func chunkSize(_ graph: Graph) -> Int {
  let elements = graph.values.filter { $0.type.shape.isBatched }.reduce(0) {
    $0 + $1.type.shape.bound(batch: 1).reduce(1, *)
  }
  return min(max((16 << 20) / max(elements, 1), 1), 16)
}

/// How many samples have their largest first output at the same place.
func sameAnswers(_ reference: [Tensor], _ other: [Tensor], _ samples: Int) -> Int {
  guard let a = reference.first?.floats, let b = other.first?.floats, samples > 0 else { return 0 }
  let width = a.count / samples
  func best(_ values: [Float], _ sample: Int) -> Int? {
    values[sample * width..<(sample + 1) * width].enumerated().max {
      $0.element < $1.element || ($0.element == $1.element && $0.offset > $1.offset)
    }?.offset
  }
  return (0..<samples).count { best(a, $0) == best(b, $0) }
}
