import IR
import Passes
import Support
import Trainer

extension Graph {
  /// Made by `qcc train --elastic`.
  var isTrainedSupernet: Bool { stage == .elastic && isCalibrated && hasSeparateBatchNorms }
}

extension SearchCommand {
  /// The model when it is a supernet that `qcc train --elastic` made.
  func trainedSupernet() throws -> Graph? {
    guard model.hasSuffix(".qir") || model == "-" else { return nil }
    let graph = try LoadedModel(path: model).graph(for: "search", at: model)
    return graph.isTrainedSupernet ? graph : nil
  }

  /// `qcc search` for a trained supernet.
  func search(_ graph: Graph, _ budgets: Budgets) throws {
    for (isGiven, flag) in [
      (maximumDrop != nil, "--max-drop"), (measuredCosts != nil, "--measure-costs"), (!pins.isEmpty, "--pin"),
      (interactions, "--interactions"), (allForms, "--all-forms"), (weightBits != nil, "--weight-bits"),
      (activationBits != nil, "--activation-bits"),
    ] where isGiven {
      throw CompilerError("\(flag) is not for trained supernets", status: .usage)
    }
    let chosen = try Target.named(target)
    let kind = minimize.flatMap(BudgetKind.init) ?? .averageBits
    let request = SupernetSearch.Request(
      flags: supernet, target: chosen, budgets: budgets,
      costs: try costs.map { try CostTable(path: $0) } ?? CostTable.shipped(for: chosen), seed: data.seed,
      threads: general.threadCount, cacheFolder: cacheFolder)
    var flags = data
    flags.samples = flags.samples ?? supernet.samples
    let samples = try labelled(flags, graph, "reading samples")
    var held: TrainingSamples?
    if let test {
      flags.data = test
      flags.labels = testLabels
      flags.samples = testSamples
      held = try labelled(flags, graph, "reading test samples")
    }
    Interruption.watch()
    var search = try SupernetSearch(graph, samples, test: held, request)
    if let pareto {
      let report = try search.front(points, kind)
      guard Ranks.isFirst else { return }
      try writeFile("\(pareto).csv", report.csv)
      try writeFile("\(pareto).json", report.json.text + "\n")
      try writeFile("\(pareto).svg", report.chart.svg)
      for (index, entry) in report.entries.enumerated() {
        try writeFile("\(pareto).\(index + 1).assignment.json", search.file(entry.subnet).text)
      }
      return print(json ? report.json.text : report.text)
    }
    let report = try search.best(), path = output ?? defaultOutput
    guard Ranks.isFirst else { return }
    try writeFile(path, search.file(report.entries[0].subnet).text)
    print(json ? report.json.text : "\(path)\n\(report.text)")
  }

  private func labelled(_ flags: DataFlags, _ graph: Graph, _ phase: String) throws -> TrainingSamples {
    guard let source = try flags.source(for: graph) else {
      throw CompilerError("qcc search needs --data", status: .usage)
    }
    let shape = graph[graph.inputs[0]].type.shape.extents.dropFirst().compactMap(\.value)
    let samples = try TrainingSamples(
      source.prepared, shape: shape, classes: graph[try graph.logits()].type.shape.size(1),
      threads: general.threadCount
    ) { Console.progress(phase, $0, $1) }
    samples.unreadable.forEach(Console.report)
    return samples
  }
}
