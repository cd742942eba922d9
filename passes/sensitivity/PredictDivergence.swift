import Evaluator
import IR
import PassKit
import Support

extension RoundedLayers {
  /// Sets `predictedDivergence` of all forms of all weights that are searched.
  ///
  /// Numbers of layers, or of random probes, are kept in the cache folder as they are made.
  func predict(
    _ curvature: Curvature, in table: inout SensitivityTable, _ options: SensitivityOptions,
    _ context: inout PassContext
  ) throws {
    let sites = table.sites.filter { $0.role == .weight && $0.candidates.count > 1 }
    guard !sites.isEmpty, let data = context.calibration else { return }
    let samples = min(table.samples, curvature == .largest ? LargestEigenvalue.mostSamples : .max)
    let chunk = min(chunkSize(graph), LayerCurvature.largestChunk)
    let batches = try stride(from: 0, to: samples, by: chunk).map {
      try data.batch($0..<min($0 + chunk, samples), for: graph)
    }
    let quantizers = graph.quantizers
    let values = sites.map { graph[quantizers[$0.index].id].results[0] }
    let layers = LayerCurvature(graph, layers: values, samples: batches, context)
    let names = sites.map { site in "\(site.name) \(site.candidates.map { site.forms[$0].text })" }
    let store = try options.cacheFolder.map { folder in
      try CurvatureStore(
        folder: folder,
        key: try cacheKey(
          graph, ([curvature.rawValue] + names).joined(separator: "\n"), [UInt64(samples), context.seed],
          data,
          max(samples, min(GptqOptions().samples, data.count))),
        rowLength: curvature == .largest ? 1 : sites.reduce(0) { $0 + $1.candidates.count })
    }
    var predicted = try curvature == .largest ? [] : alongErrors(layers, sites, store, context)[...]
    let eigenvalues = try curvature == .largest ? largestEigenvalues(layers, store, context) : []
    for (layer, site) in sites.enumerated() {
      for form in site.candidates {
        var entry = table.entries[site.index][form] ?? Sensitivity(isMeasured: false)
        addWeightNoise(of: site.index, form, to: &entry)
        entry.predictedDivergence =
          (predicted.popFirst() ?? eigenvalues[layer] * entry.perturbation) / 2
        table.entries[site.index][form] = entry
      }
    }
  }

  /// vᵀ H v of every candidate's errors v, those of biases included, in nats a sample.
  private func alongErrors(
    _ layers: LayerCurvature, _ sites: [SearchSite], _ store: CurvatureStore?, _ context: PassContext
  ) throws -> [Double] {
    let evaluator = try Evaluator(graph, mode: .float, threads: 1)
    var wanted: [ValueID] = [], errors: [[(position: Int, v: [Float])]] = []
    for site in sites {
      let changed =
        contents[site.index].lazy.compactMap { $0 }.first?.keys.sorted { $0.index < $1.index } ?? []
      for form in site.candidates {
        errors.append(
          changed.enumerated().compactMap { index, value in
            guard let float = evaluator.constantContents(value),
              let rounded = contents[site.index][form]?[value]
            else { return nil }
            return (wanted.count + index, zip(rounded.floats, float.floats).map { $0 - $1 })
          })
      }
      wanted += changed
    }
    let most = CurvatureProbes.mostProbes, progress = context.progress
    let alongErrors = errors
    return try CurvatureProbes(
      layers, gradientsOf: wanted, estimates: store?.load(atMost: most) ?? [],
      squares: { gradients in
        alongErrors.map { parts in
          let product = parts.reduce(0.0) { sum, part in sum + gradients[part.position].product(part.v) }
          return product * product
        }
      },
      progress: { rows throws(CompilerError) in
        progress("probing second derivatives", rows.count, most)
        try store?.save(rows)
      }
    ).means
  }

  /// By layer, in nats a sample by the square of a weight.
  private func largestEigenvalues(
    _ layers: LayerCurvature, _ store: CurvatureStore?, _ context: PassContext
  ) throws -> [Double] {
    var rows = store?.load(atMost: layers.layers.count) ?? []
    while rows.count < layers.layers.count {
      let node = graph.definingOp(of: layers.layers[rows.count]).map { graph[$0] }
      guard let weights = (node?.operands.first).flatMap({ graph.constant($0) }) else {
        throw CompilerError(
          "the weights '\(graph[layers.layers[rows.count]].name)' are computed; score them by sqnr or kl")
      }
      rows.append([try LargestEigenvalue(layers, layer: rows.count, weights: Tensor(weights)).value])
      context.progress("iterating largest eigenvalues", rows.count, layers.layers.count)
      try store?.save(rows)
    }
    return rows.map { $0[0] }
  }
}

extension Tensor {
  /// With the same elements, row-major.
  fileprivate func product(_ other: [Float]) -> Double {
    withFloats { own in
      other.withUnsafeBufferPointer { other in
        guard let a = own.baseAddress, let b = other.baseAddress else { return 0 }
        return Double(dot(a, b, own.count))
      }
    }
  }
}
