import IR
import Numerics
import PassKit

/// A quantizer whose form a search may choose.
package struct SearchSite: Sendable {
  /// Its position among all quantizers of the graph.
  package let index: Int
  package let name: String
  package let role: Quantize.Role
  package let forms: [QuantizationForm]
  /// What the target's policy, flags and pins would choose.
  package let policy: Int
  /// The forms that are scored and may be chosen; the policy's alone for a site that is not searched.
  package var candidates: [Int]
  /// Weights, or elements of one sample of an activation.
  package let elements: Int
}

extension Graph {
  /// The quantizers in order.
  package var quantizers: [(id: OpID, quantizer: Quantize)] {
    order.compactMap { id in
      if case .quantize(let quantizer) = self[id].op { (id, quantizer) } else { nil }
    }
  }

  /// The value of the network whose noise counts: an output, or what the softmax behind it reads.
  package func logits(of output: ValueID) -> ValueID {
    if let id = definingOp(of: output), case .softmax = self[id].op { self[id].operands[0] } else { output }
  }

  /// This graph behind one pass, without the checks of the pass manager.
  func applying(
    _ pass: Pass, _ options: [(name: String, text: String)] = [], _ context: inout PassContext
  ) throws -> Graph {
    var rewriter = Rewriter(self)
    try pass.run(&rewriter, &context, options)
    if let stage = pass.produces { rewriter.setStage(stage) }
    return rewriter.graph
  }

  /// This graph with the given form, and its parameters, for every quantizer; nil leaves one as it is.
  package func keeping(_ forms: [Int?]) throws -> Graph {
    var rewriter = Rewriter(self)
    for (site, form) in zip(quantizers, forms) {
      if let form { try keep(form, of: site.id, &rewriter) }
    }
    return rewriter.graph
  }
}
