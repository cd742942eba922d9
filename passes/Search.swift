import IR
import Numerics
import PassKit
import Search
import Support

package struct SearchOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("target", \.target, help: "whose limits and policy apply; default: the one in the graph"),
    Attribute("size", \.size, help: "most bytes of the program, such as 100K or 64KiB"),
    Attribute(
      "compact", \.isCompact, help: "size is that of a compact file, where weights take the bits they have"),
    Attribute("bitops", \.bitOperations, help: "most products times weight bits times activation bits"),
    Attribute("latency", \.latency, help: "most time of the layers by the cost table, such as 80us"),
    Attribute("ram", \.memory, help: "most bytes of activations alive at once"),
    Attribute("avg-bits", \.averageBits, help: "largest mean width of all weights"),
    Attribute("pins", \.pins, help: "fixed widths of single layers, e.g. ['conv1.*=w8a8']"),
    Attribute("weight-bits", \.weightBits, help: "widths considered for weights; none: all legal ones"),
    Attribute(
      "activation-bits", \.activationBits,
      help:
        "widths considered for activations; none: all legal ones if a budget counts them, else the policy's"),
    Attribute("score", \.score, help: "what is minimized: kl, sqnr, local, weights, hessian or eigenvalue"),
    Attribute("samples", \.samples, help: "calibration samples that sensitivities are measured on"),
    Attribute("interactions", \.interactions, help: "measures neighbouring layers together, too"),
    Attribute("all-forms", \.allForms, help: "scores every form of a width, not the preferred one alone"),
    Attribute("seconds", \.seconds, help: "time limit of the exact search"),
    Attribute("costs", \.costs, help: "a cost table for latency and ram; default: the target's"),
    Attribute("cache", \.cache, help: "folder in which sensitivities are kept"),
  ]
  package var target = ""
  package var size = ""
  package var isCompact = false
  package var bitOperations = ""
  package var latency = ""
  package var memory = ""
  package var averageBits = ""
  package var pins: [String] = []
  package var weightBits: [Int] = []
  package var activationBits: [Int] = []
  package var score = SearchScore.outputNoise
  package var samples = 256
  package var interactions = false
  package var allForms = false
  package var seconds = 60
  package var costs = ""
  package var cache = ""
  package init() {}

  package func budgets() throws(CompilerError) -> Budgets {
    var budgets = Budgets()
    try budgets.set(.size, size)
    try budgets.set(.bitOperations, bitOperations)
    try budgets.set(.latency, latency)
    try budgets.set(.memory, memory)
    try budgets.set(.averageBits, averageBits)
    return budgets
  }
  package func settings() throws(CompilerError) -> SearchSettings {
    guard samples > 0, seconds > 0 else {
      throw CompilerError("search: samples and seconds must be positive", status: .usage)
    }
    var settings = SearchSettings()
    settings.target = target
    settings.score = score
    settings.isCompact = isCompact
    settings.pins = pins
    settings.weightBits = weightBits
    settings.activationBits = activationBits
    settings.scoresAllForms = allForms
    settings.seconds = Double(seconds)
    settings.sensitivity.samples = samples
    settings.sensitivity.interactions = interactions
    settings.sensitivity.cacheFolder = cache.isEmpty ? nil : cache
    if !costs.isEmpty { settings.costs = try CostTable(path: costs) }
    return settings
  }
}

/// Gives every quantizer the form that costs the network least, within budgets: the exact optimum of summed scores.
///
///     quantize(%w) {forms = [8:channel:symmetric*, 4:channel:symmetric, 2:channel:symmetric]}
///   ->
///     quantize(%w) {forms = [4:channel:symmetric*]}
///
/// Takes the place of `assign` in a pipeline. Scores are measured on calibration samples without labels: what one site
/// rounded alone does to the answers of the float network. Activations keep the policy's widths unless a budget counts
/// them or `activation-bits` lists some. Fails when no assignment keeps to the budgets, with what is feasible.
package let search = Pass(
  "search", "give every quantizer the form that loses least within budgets", accepts: .elastic ... .elastic,
  produces: .assigned, options: SearchOptions.self
) { rewriter, context, options in
  let budgets = try options.budgets(), settings = try options.settings()
  guard !budgets.limits.isEmpty else {
    throw CompilerError("search needs a budget: size, bitops, latency, ram or avg-bits", status: .usage)
  }
  let searcher = try Searcher(rewriter.graph, settings, budgets, &context)
  let solution = try searcher.solve(budgets)
  for (site, form) in zip(rewriter.graph.quantizers, solution.forms) {
    try keep(form, of: site.id, &rewriter)
    let width = site.quantizer.forms.all[form].width.storageBits
    rewriter.count("\(site.quantizer.role.rawValue)s at \(width) bits")
  }
}
