import Evaluator
import IR
import Numerics
import PassKit
import Support

/// What a search compares: a calibrated float network, and beside it every layer's weights and biases in all forms that
/// are considered, rounded as the pipeline would round them (GPTQ, bias correction).
struct RoundedLayers: Sendable {
  /// The elastic network; activations are calibrated for the policy's forms alone, as they will be.
  let graph: Graph
  /// `contents[site][form]` for weight sites, by position among all quantizers; nil where a form was not considered.
  private(set) var contents: [[[ValueID: Tensor]?]]
  /// `parameters[site][form]` of activation sites.
  private(set) var parameters: [[AffineParameters?]]

  /// - Parameter sites: one for every quantizer of `elastic`, in order.
  init(_ elastic: Graph, _ sites: [SearchSite], _ context: inout PassContext) throws {
    let searchesActivations = sites.contains { $0.role == .activation && $0.candidates.count > 1 }
    parameters = sites.map { $0.forms.map { _ in nil } }
    if searchesActivations {
      let calibrated = try elastic.applying(calibrate, [], &context)
      for (site, (id, quantizer)) in zip(sites, calibrated.quantizers) where site.role == .activation {
        for form in site.candidates {
          var chosen = quantizer
          chosen.forms.currentIndex = form
          parameters[site.index][form] = calibrated.parameters(of: calibrated[id], chosen)?.first
        }
      }
    }
    graph = try elastic.keeping(sites.map { $0.role == .activation ? $0.policy : nil }).applying(
      calibrate, [], &context)
    contents = sites.map { $0.forms.map { _ in nil } }
    // One network for every rank among the sites' candidates: each layer is rounded on its own, so that all can be at once.
    let weights = sites.filter { $0.role == .weight }
    for rank in 0..<(weights.map(\.candidates.count).max() ?? 0) {
      if context.isInterrupted() { throw interruption() }
      let chosen = sites.map { site in
        site.role == .weight ? site.candidates[min(rank, site.candidates.count - 1)] : nil
      }
      var quiet = context
      quiet.progress = { _, _, _ in }
      let rounded = try graph.keeping(chosen).applying(gptq, [], &quiet).applying(correctBias, [], &quiet)
      let evaluator = try Evaluator(rounded, mode: .quantized, threads: 1)
      context.progress("rounding weights", rank + 1, weights.map(\.candidates.count).max() ?? 0)
      for (site, operation) in zip(weights, zip(graph.weightedOps, rounded.weightedOps))
      where rank < site.candidates.count {
        let (old, new) = (graph[operation.0].operands, rounded[operation.1].operands)
        var tensors: [ValueID: Tensor] = [:]
        for (value, replacement) in zip(old, new).dropFirst() {
          tensors[value] = evaluator.constantContents(replacement)
        }
        contents[site.index][site.candidates[rank]] = tensors
      }
    }
  }

  /// The change that gives some sites a form each.
  func change(_ members: [(site: SearchSite, form: Int)]) -> Change {
    var change = Change()
    let quantizers = graph.quantizers
    for (site, form) in members {
      change.constants.merge(contents[site.index][form] ?? [:]) { $1 }
      if let parameters = parameters[site.index][form] {
        change.roundings[quantizers[site.index].id] = Change.Rounding(
          form: site.forms[form], parameters: parameters)
      }
    }
    return change
  }
}

/// What a search throws when the user stops it.
package func interruption() -> CompilerError {
  CompilerError(
    "interrupted; what was measured is kept, and the same command goes on from there", status: .interrupted)
}
