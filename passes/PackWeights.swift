import IR
import Numerics
import PassKit
import Program

/// Packs integer weights into the panels that the kernels stream through: 16 output channels, 4 inputs deep.
///
///     %y = integer-conv2d(%x, %w, …) {weight-bits = 4, packing = none}       %w : tensor<16x16x3x3xs4>
///   ->
///     %y = integer-conv2d(%x, %w', …) {weight-bits = 4, packing = panels}    %w' : tensor<1152xbyte>
///
/// Weights of up to 4 bits take half a byte. Depthwise convolutions have their own panels and bytes.
package let packWeights = Pass(
  "pack-weights", "pack weights into kernel panels", accepts: .lowered ... .lowered
) {
  rewriter, context in
  for id in rewriter.ops {
    let node = rewriter.graph[id]
    guard let geometry = convolutionGeometry(of: id, in: rewriter.graph),
      node.op.weightPacking == .some(WeightLayout.none),
      let weights = rewriter.graph.constant(node.operands[1])
    else { continue }
    let bytes = geometry.packed(weights.elements(as: Int8.self))
    let packed = rewriter.constant(Constant("\(weights.name).packed", [bytes.count], bytes))
    let packing: WeightLayout = geometry.kind == .depthwise ? .depthwisePanels : .panels
    try rewriter.replace(id, with: node.op.packed(packing), [node.operands[0], packed] + node.operands[2...])
    rewriter.count("packed bytes", bytes.count)
  }
}

/// The packed geometry of a weighted integer operation; nil for others.
package func convolutionGeometry(of id: OpID, in graph: Graph) -> ConvolutionGeometry? {
  let node = graph[id]
  guard let value = node.operands.first, let inputs = graph[value].type.shape.size(1) else { return nil }
  func product(_ bits: Int) -> ConvolutionGeometry? {
    guard let outputs = graph[node.results[0]].type.shape.size(1) else { return nil }
    return ConvolutionGeometry(
      kind: bits <= 4 ? .dense4 : .dense8, inputChannels: inputs, outputChannels: outputs, kernelHeight: 1,
      kernelWidth: 1, groups: 1)
  }
  if case .integerConv2d(let conv) = node.op {
    guard let outputs = graph[node.results[0]].type.shape.size(1) else { return nil }
    let isDepthwise = conv.groups > 1 && conv.groups == inputs && outputs == inputs
    return ConvolutionGeometry(
      kind: isDepthwise ? .depthwise : conv.weightBits <= 4 ? .dense4 : .dense8, inputChannels: inputs,
      outputChannels: outputs, kernelHeight: conv.kernel[0], kernelWidth: conv.kernel[1], groups: conv.groups)
  }
  if case .integerGemm(let gemm) = node.op { return product(gemm.weightBits) }
  if case .integerGemmFloat(let gemm) = node.op { return product(gemm.weightBits) }
  return nil
}

extension Op {
  /// How the weights of an integer operation are packed; nil for operations without weights.
  package var weightPacking: WeightLayout? {
    if case .integerConv2d(let o) = self { return o.packing }
    if case .integerGemm(let o) = self { return o.packing }
    if case .integerGemmFloat(let o) = self { return o.packing }
    return nil
  }
  /// The same operation on packed weights; itself when it has none.
  fileprivate func packed(_ packing: WeightLayout) -> Op {
    if case .integerConv2d(var o) = self {
      o.packing = packing
      return .integerConv2d(o)
    }
    if case .integerGemm(var o) = self {
      o.packing = packing
      return .integerGemm(o)
    }
    if case .integerGemmFloat(var o) = self {
      o.packing = packing
      return .integerGemmFloat(o)
    }
    return self
  }
}
