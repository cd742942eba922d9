import Evaluator
import IR
import Numerics
import PassKit
import Support

/// How sensitivities are measured.
package struct SensitivityOptions: Sendable {
  package var samples = 256
  /// Measures neighbouring layers together, too.
  package var interactions = false
  /// Pairs are measured where both sites have at most so many bits: above, errors are too small to meet.
  package var interactionBits = 4
  /// Predicts divergences of weights from second derivatives. Then the network runs with rounded weights only for pairs.
  package var curvature: Curvature?
  /// Where sums are kept; nil keeps none.
  package var cacheFolder: String?

  package init() {}
}

/// Measures what every candidate of every site does to the network, on the first calibration samples.
///
/// The float network runs once for each chunk of samples and keeps every value; each variant then repeats only the part
/// behind its change. Chunks depend on the network alone and sums are added in their order, so that the table is the same
/// for any number of threads, and a run that goes on from a checkpoint gives the same bits.
func measureSensitivity(
  _ layers: RoundedLayers, _ sites: [SearchSite], _ options: SensitivityOptions, _ context: inout PassContext
) throws -> SensitivityTable {
  guard let data = context.calibration, data.count > 0 else {
    throw CompilerError("sensitivities are measured on samples; give --data", status: .usage)
  }
  let graph = layers.graph, count = min(options.samples, data.count)
  guard let input = graph.inputs.first, graph.inputs.count == 1, graph[input].type.shape.isBatched else {
    throw CompilerError("sensitivities are measured on networks with one input and a batch axis")
  }
  let variants = variants(sites, graph, options)
  var sums = SensitivitySums(variants: variants.map { ($0, name(of: $0, sites)) }, samples: count)
  let store = try options.cacheFolder.map {
    try SensitivityStore(folder: $0, key: try key(graph, sums, data, count))
  }
  if let old = store?.load(sums) { sums = old }

  let evaluator = try Evaluator(graph, mode: .float, threads: 1)
  let outputs = graph.outputs.map { graph.logits(of: $0) }
  let chunk = chunkSize(graph), threads = context.threads, isInterrupted = context.isInterrupted
  while !variants.isEmpty, sums.samplesDone < count {
    let range = sums.samplesDone..<min(sums.samplesDone + chunk, count)
    let trace = try evaluator.trace([try data.batch(range, for: graph)])
    let float = outputs.compactMap { trace[$0] }
    let logarithms = float.map { logarithmsOfSoftmax($0, samples: range.count) }
    let done = sums.samplesDone, progress = context.progress
    let counter = ProgressCounter(total: count * variants.count, done: done * variants.count)
    let parts = parallelMap(variants, threads: threads) { variant -> Result<VariantSums, CompilerError> in
      if isInterrupted() { return .failure(interruption()) }
      do throws(CompilerError) {
        let change = layers.change(zip(variant.sites, variant.forms).map { (sites[$0], $1) })
        let local = localValue(of: sites[variant.sites[0]], graph)
        let changed = try evaluator.replay(trace, change, wanted: outputs + [local])
        let part = VariantSums(
          float: float, changed: Array(changed.dropLast()), logarithms: logarithms, samples: range.count,
          local: trace[local].flatMap { before in changed.last.map { (before, $0) } })
        counter.add(range.count) { progress("measuring sensitivity", $0, $1) }
        return .success(part)
      } catch { return .failure(error) }
    }
    sums.add(try parts.map { try $0.get() }, samples: range.count)
    try store?.save(sums)
  }
  var table = table(sums, layers, sites, samples: count)
  if let curvature = options.curvature {
    try layers.predict(curvature, in: &table, options, &context)
  }
  return table
}

/// Single sites first, then pairs of neighbours.
private func variants(
  _ sites: [SearchSite], _ graph: Graph, _ options: SensitivityOptions
) -> [Variant] {
  let isPredicted = options.curvature != nil && !options.interactions
  var result = sites.filter { $0.candidates.count > 1 && !($0.role == .weight && isPredicted) }.flatMap {
    site in site.candidates.map { Variant(sites: [site.index], forms: [$0]) }
  }
  guard options.interactions else { return result }
  let weights = sites.filter { $0.role == .weight && $0.candidates.count > 1 }
  func isNarrow(_ site: SearchSite, _ form: Int) -> Bool {
    site.forms[form].width.storageBits <= options.interactionBits
  }
  for (a, b) in zip(weights, weights.dropFirst()) {
    for i in a.candidates where isNarrow(a, i) {
      for j in b.candidates where isNarrow(b, j) {
        result.append(Variant(sites: [a.index, b.index], forms: [i, j]))
      }
    }
  }
  return result
}

private func name(of variant: Variant, _ sites: [SearchSite]) -> String {
  zip(variant.sites, variant.forms).map { "\(sites[$0].name) \(sites[$0].forms[$1].text)" }.joined(
    separator: " & ")
}

/// What a site changes first: the layer's output, or the rounded activation.
private func localValue(of site: SearchSite, _ graph: Graph) -> ValueID {
  let id = graph.quantizers[site.index].id, result = graph[id].results[0]
  guard site.role == .weight, let user = graph.uses(of: result).first?.user else { return result }
  return graph[user].results[0]
}

/// So many samples that all values of a run take at most 64 MiB: they are kept for every variant.
func chunkSize(_ graph: Graph) -> Int {
  let elements = graph.values.filter { $0.type.shape.isBatched }.reduce(0) {
    $0 + ($1.type.shape.bound(batch: 1).reduce(1, *))
  }
  return min(max((16 << 20) / max(elements, 1), 1), 16)
}

/// What the sums depend on: the calibrated network with its weights, what is measured, and the samples.
private func key(
  _ graph: Graph, _ sums: SensitivitySums, _ data: any CalibrationData, _ count: Int
) throws -> UInt64 {
  // GPTQ reads more samples than are measured.
  let read = min(max(count, GptqOptions().samples), data.count)
  return try cacheKey(graph, sums.names.joined(separator: "\n"), [UInt64(count)], data, read)
}

/// A hash of a network with its weights, of what is asked of it, and of the first samples.
func cacheKey(
  _ graph: Graph, _ question: String, _ numbers: [UInt64], _ data: any CalibrationData, _ samples: Int
) throws -> UInt64 {
  var hashes = [graph.text(.hashed), question].map { TensorStorage(copying: Array($0.utf8)).hash } + numbers
  for index in 0..<samples { hashes.append(TensorStorage(copying: try data.sample(index)).hash) }
  return TensorStorage(copying: hashes).hash
}

extension CalibrationData {
  /// Some samples as the input of a network that has one.
  func batch(_ range: Range<Int>, for graph: Graph) throws -> Tensor {
    let type = graph[graph.inputs[0]].type, shape = type.shape.bound(batch: range.count)
    var values: [Float] = []
    for index in range { values += try sample(index) }
    guard values.count == shape.reduce(1, *) else {
      throw CompilerError("the calibration samples do not fit the network's input \(type)")
    }
    return Tensor(shape, values)
  }
}

private func table(
  _ sums: SensitivitySums, _ layers: RoundedLayers, _ sites: [SearchSite], samples: Int
) -> SensitivityTable {
  var table = SensitivityTable(
    sites: sites, entries: sites.map { $0.forms.map { _ in nil } }, interactions: [], samples: samples)
  for (variant, sum) in zip(sums.variants, sums.sums) {
    func share(_ noise: Double, _ signal: Double) -> Double { signal > 0 ? noise / signal : 0 }
    // Rounding may leave a divergence a hair below 0.
    var entry = Sensitivity(
      divergence: max(sum.divergence / Double(max(samples, 1)), 0),
      outputNoise: share(sum.noise, sum.signal), localNoise: share(sum.localNoise, sum.localSignal))
    let (site, form) = (variant.sites[0], variant.forms[0])
    if variant.sites.count == 2 {
      let parts = zip(variant.sites, variant.forms).compactMap { table.entries[$0][$1] }
      table.interactions.append(
        SensitivityTable.Interaction(
          sites: variant.sites, forms: variant.forms,
          divergence: entry.divergence - parts.reduce(0) { $0 + $1.divergence },
          outputNoise: entry.outputNoise - parts.reduce(0) { $0 + $1.outputNoise }))
    } else {
      if sites[site].role == .weight { layers.addWeightNoise(of: site, form, to: &entry) }
      table.entries[site][form] = entry
    }
  }
  return table
}

extension RoundedLayers {
  /// Compares a site's rounded weights with the float ones.
  func addWeightNoise(of site: Int, _ form: Int, to entry: inout Sensitivity) {
    let node = graph[graph.quantizers[site].id]
    guard let float = graph.constant(node.operands[0]), let rounded = contents[site][form]?[node.results[0]],
      rounded.element == .f32
    else { return }
    let energies = Tensor(float).energies(against: rounded)
    entry.perturbation = energies.noise
    entry.weightNoise = energies.signal > 0 ? energies.noise / energies.signal : 0
  }
}
