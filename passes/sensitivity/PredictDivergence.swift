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
    let quantizers = graph.quantizers
    let values = sites.map { graph[quantizers[$0.index].id].results[0] }
    guard !sites.isEmpty else { return }
    let most = curvature == .largest ? LargestEigenvalue.mostSamples : .max
    let samples = min(table.samples, most)
    let eigenvalues = try eigenvalues(curvature, values, samples: samples, options, &context)
    for (site, eigenvalue) in zip(sites, eigenvalues) {
      for form in site.candidates {
        var entry = table.entries[site.index][form] ?? Sensitivity(isMeasured: false)
        addWeightNoise(of: site.index, form, to: &entry)
        entry.predictedDivergence = eigenvalue * entry.perturbation / 2
        table.entries[site.index][form] = entry
      }
    }
  }

  /// The mean or largest eigenvalue of each layer's second derivatives, in nats a sample by the square of a weight.
  private func eigenvalues(
    _ curvature: Curvature, _ values: [ValueID], samples: Int, _ options: SensitivityOptions,
    _ context: inout PassContext
  ) throws -> [Double] {
    guard let data = context.calibration else { return [] }
    let chunk = min(chunkSize(graph), LayerCurvature.largestChunk)
    let batches = try stride(from: 0, to: samples, by: chunk).map {
      try data.batch($0..<min($0 + chunk, samples), for: graph)
    }
    let layers = LayerCurvature(graph, layers: values, samples: batches, context)
    let names = values.map { graph[$0].name }.joined(separator: "\n")
    let store = try options.cacheFolder.map { folder in
      try CurvatureStore(
        folder: folder,
        key: try cacheKey(
          graph, "\(curvature.rawValue)\n\(names)", [UInt64(samples), context.seed], data, samples),
        rowLength: curvature == .mean ? values.count : 1)
    }
    switch curvature {
    case .mean:
      let most = HessianTrace.mostProbes, progress = context.progress
      let trace = try HessianTrace(layers, estimates: store?.load(atMost: most) ?? []) {
        rows throws(CompilerError) in
        progress("probing second derivatives", rows.count, most)
        try store?.save(rows)
      }
      return zip(trace.traces, values).map { $0 / Double(max(graph[$1].type.shape.elementCount ?? 1, 1)) }
    case .largest:
      var rows = store?.load(atMost: values.count) ?? []
      while rows.count < values.count {
        let node = graph.definingOp(of: values[rows.count]).map { graph[$0] }
        guard let weights = (node?.operands.first).flatMap({ graph.constant($0) }) else {
          throw CompilerError(
            "the weights '\(graph[values[rows.count]].name)' are computed; score them by sqnr or kl")
        }
        rows.append([try LargestEigenvalue(layers, layer: rows.count, weights: Tensor(weights)).value])
        context.progress("iterating largest eigenvalues", rows.count, values.count)
        try store?.save(rows)
      }
      return rows.map { $0[0] }
    }
  }
}
