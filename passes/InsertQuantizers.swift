import IR
import Numerics
import PassKit
import Support

package struct InsertQuantizersOptions: PassOptions {
  package static let table: [Attribute<Self>] = [
    Attribute("target", \.target, help: "a shipped target or a YAML file: what is legal"),
    Attribute(
      "own-inputs", \.ownInputs,
      help: "layers with weights narrow their inputs themselves; sums and pools keep the widest form"),
  ]
  package var target = "generic-int8"
  package var ownInputs = false
  package init() {}
}

/// Puts an elastic quantizer on every weight and activation edge of the integer part of the network.
///
///     %y = conv2d(%x, %w, %b)
///   ->
///     %wq = quantize(%w) {role = weight, axis = 0, forms = [8:channel:symmetric*, 4:channel:symmetric, …]}
///     %y  = conv2d(%xq, %wq, %b)
///     %yq = quantize(%y) {role = activation, forms = [8:tensor:asymmetric*, …]}
///
/// One quantizer stands behind every operation that computes activations, so all consumers see the same integers;
/// pooling, reshaping and slicing pass theirs on. The forms are what the target allows, the widest in force. Operations
/// behind the last integer one stay in float, and the last gemm hands its sums to them unrounded unless it clamps them.
/// Operations without an integer form before that are reported together: nothing is left in float silently.
///
/// With `own-inputs`, where anything but layers with weights reads a value, its quantizer keeps the widest form, and each
/// of these layers has one of its own in front: residual sums stay wide while the layers take few bits, as in most of the
/// literature.
///
///     %s  = add(%a, %b)                               %sq = quantize(%s) {forms = [8:tensor:asymmetric*]}
///     %y  = conv2d(%s, %w)                      ->    %sn = quantize(%sq) {forms = [8:tensor:asymmetric*, 4:…]}
///     %t  = add(%s, %y)                               %y  = conv2d(%sn, %wq)
package let insertQuantizers = Pass(
  "insert-quantizers", "put an elastic quantizer on every weight and activation edge",
  accepts: .canonical ... .canonical, produces: .elastic, options: InsertQuantizersOptions.self
) { rewriter, context, options in
  let target = try Target.named(options.target)
  let tail = rewriter.graph.floatTail()
  try rejectFloatOperations(rewriter.graph, tail, target)

  for input in rewriter.graph.inputs where rewriter.graph[input].type.element == .f32 {
    try quantize(input, tail, target, &rewriter, ownInputs: options.ownInputs)
  }
  for id in rewriter.ops where !tail.contains(id) {
    let node = rewriter.graph[id]
    switch integerRole(of: node.op) {
    case .weighted:
      try quantizeWeights(of: id, target, &rewriter)
      // Sums leave unclamped; the clamp of an activation is one of stored integers.
      let isLastGemm =
        if case .gemm(let gemm) = node.op, gemm.activation == .none {
          rewriter.graph.feedsFloatOnly(node.results[0], floatOps: tail)
        } else { false }
      if isLastGemm {
        rewriter.count("unrounded results")
      } else {
        try quantize(node.results[0], tail, target, &rewriter, ownInputs: options.ownInputs)
      }
    case .computed:
      try quantize(node.results[0], tail, target, &rewriter, ownInputs: options.ownInputs)
    case .transparent, .float: break
    }
  }
  rewriter.setMetadata("target", target.name)
  let floatOps = rewriter.ops.filter { tail.contains($0) }.map { rewriter.graph[$0].op.mnemonic }
  rewriter.setMetadata("float-operations", floatOps.isEmpty ? "none" : floatOps.joined(separator: " "))
}

/// Fails with every operation that would have to run in float before the last integer operation.
private func rejectFloatOperations(_ graph: Graph, _ tail: Set<OpID>, _ target: Target) throws(CompilerError)
{
  var problems: [(mnemonic: String, first: String, count: Int, reason: String)] = []
  func report(_ id: OpID, _ reason: String) {
    let node = graph[id]
    if let index = problems.firstIndex(where: { $0.mnemonic == node.op.mnemonic && $0.reason == reason }) {
      problems[index].count += 1
    } else {
      problems.append((node.op.mnemonic, node.name, 1, reason))
    }
  }
  for id in graph.order where !tail.contains(id) {
    let node = graph[id]
    switch integerRole(of: node.op) {
    case .float: report(id, "has no integer form")
    case .weighted:
      if graph.constant(node.operands[1]) == nil { report(id, "needs constant weights") }
      if node.operands.count > 2, graph.constant(node.operands[2]) == nil {
        report(id, "needs a constant bias")
      }
      if case .gemm(let gemm) = node.op,
        !gemm.isCanonical || (node.operands.count > 2 && graph[node.operands[2]].type.shape.rank != 1)
      {
        report(id, "is not in canonical form (run canonicalize)")
      }
    case .computed, .transparent:
      if node.operands.contains(where: { graph.constant($0) != nil }) { report(id, "has a constant operand") }
      if case .binary(let binary) = node.op {
        let a = graph[node.operands[0]].type.shape, b = graph[node.operands[1]].type.shape
        let channelwise = a.rank == 4 && b == Shape([a[0], a[1], .known(1), .known(1)])
        if a != b, !(binary.function == .multiply && channelwise) { report(id, "broadcasts its operands") }
      }
    }
  }
  guard problems.isEmpty else {
    throw CompilerError(
      problems.map { problem in
        .error(
          "\(problem.count) × \(problem.mnemonic) \(problem.reason) on target '\(target.name)'; first: '\(problem.first)'",
          notes: ["float islands inside an integer program are not supported"])
      })
  }
}

/// Puts a quantizer behind `value` unless only float operations and outputs read it.
private func quantize(
  _ value: ValueID, _ tail: Set<OpID>, _ target: Target, _ rewriter: inout Rewriter, ownInputs: Bool
) throws(VerificationError) {
  let graph = rewriter.graph
  let isRead = graph.uses(of: value).contains { !tail.contains($0.user) }
  guard isRead || graph.definingOp(of: value) != nil else { return }
  var quantizer = Quantize()
  quantizer.site = graph[value].name
  quantizer.role = .activation
  quantizer.axis = 1
  quantizer.forms = FormSet(target.activations.forms)
  let readers = graph.layers(reading: value)
  let isShared = ownInputs && readers.hasOthers
  if isShared { quantizer.forms = FormSet([quantizer.form]) }
  let quantized = try rewriter.insert(
    .quantize(quantizer), [value], name: "\(graph[value].name).q", after: value)[0]
  guard let id = rewriter.graph.definingOp(of: quantized) else { return }
  rewriter.replaceUses(of: value, with: quantized, except: id)
  rewriter.count("activation quantizers")
  guard isShared else { return }
  for layer in readers.layers where !tail.contains(layer) {
    quantizer.site = "\(graph[layer].name).input"
    quantizer.forms = FormSet(target.activations.forms)
    let narrowed = try rewriter.insert(
      .quantize(quantizer), [rewriter.graph[layer].operands[0]], name: "\(quantizer.site).q", before: layer)[
        0]
    rewriter.setOperand(layer, 0, to: narrowed)
    rewriter.count("activation quantizers")
  }
}

extension Graph {
  /// The operations with weights that read `value`, also through operations that only move its elements, and whether
  /// anything else does.
  fileprivate func layers(reading value: ValueID) -> (layers: [OpID], hasOthers: Bool) {
    var layers: [OpID] = [], hasOthers = isOutput(value)
    for use in uses(of: value) {
      switch integerRole(of: self[use.user].op) {
      case .weighted: layers.append(use.user)
      case .transparent:
        let further = self.layers(reading: self[use.user].results[0])
        layers += further.layers
        if further.hasOthers { hasOthers = true }
      case .computed, .float: hasOthers = true
      }
    }
    return (layers, hasOthers)
  }
}

private func quantizeWeights(
  of id: OpID, _ target: Target, _ rewriter: inout Rewriter
) throws(VerificationError) {
  let weights = rewriter.graph[id].operands[1]
  var quantizer = Quantize()
  quantizer.site = rewriter.graph[id].name + ".weight"
  quantizer.role = .weight
  quantizer.axis = 0
  quantizer.forms = FormSet(target.weights.forms)
  let quantized = try rewriter.insert(
    .quantize(quantizer), [weights], name: "\(rewriter.graph[weights].name).q", before: id)[0]
  rewriter.setOperand(id, 1, to: quantized)
  rewriter.count("weight quantizers")
}
