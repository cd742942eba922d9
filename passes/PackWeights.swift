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
/// Weights of up to 4 bits take half a byte, those of up to 2 bits a quarter. Where inputs have one or two bits, weights of
/// -1, 0 and 1 become bits that are multiplied by counting. Weights of 8 bits of which each panel has few different ones
/// become codes into its table. Depthwise convolutions have their own panels and bytes.
package let packWeights = Pass(
  "pack-weights", "pack weights into kernel panels", accepts: .lowered ... .lowered
) {
  rewriter, context in
  for id in rewriter.ops {
    let node = rewriter.graph[id]
    guard var geometry = convolutionGeometry(of: id, in: rewriter.graph),
      node.op.weightPacking == .some(WeightLayout.none),
      let weights = rewriter.graph.constant(node.operands[1])?.elements(as: Int8.self)
    else { continue }
    geometry.kind = narrowestKind(id, rewriter.graph, geometry, weights)
    let name = rewriter.graph[node.operands[1]].name
    let bytes = geometry.packed(weights)
    let packed = rewriter.constant(Constant("\(name).packed", [bytes.count], bytes))
    try rewriter.replace(
      id, with: node.op.packed(geometry.kind.packing), [node.operands[0], packed] + node.operands[2...])
    rewriter.count("packed bytes", bytes.count)
  }
}

/// The kind of kernel that suits these weights best: as fast as any other on every processor, with the fewest bytes.
private func narrowestKind(
  _ id: OpID, _ graph: Graph, _ geometry: ConvolutionGeometry, _ weights: [Int8]
) -> Instruction.Convolution.Kind {
  // A last product has kernels for 8 and 4 bits.
  if case .integerGemmFloat = graph[id].op { return geometry.kind }
  func isSuitable(_ kind: Instruction.Convolution.Kind) -> Bool {
    var candidate = geometry
    candidate.kind = kind
    guard candidate.canHold(weights) else { return false }
    switch kind {
    case .dense8, .depthwise: return true
    case .binary, .ternary:
      // Twice the words are still faster than bytes.
      let words = roundedUp(geometry.inputChannels, to: kind.channelMultiple) * inputBits(id, graph)
      return geometry.groups == 1 && words <= 2 * geometry.inputChannels
    case .dense2: return largestSum(id, graph, weights) < 1 << 25  // kernels may scale products by 64
    case .dense4: return geometry.kind == .dense4
    case .palette: return candidate.panelBytes * 4 <= geometry.panelBytes * 3
    }
  }
  if geometry.kind == .depthwise { return .depthwise }
  let order: [Instruction.Convolution.Kind] = [.binary, .ternary, .dense2, .dense4, .palette]
  return order.first(where: isSuitable) ?? geometry.kind
}

private func inputBits(_ id: OpID, _ graph: Graph) -> Int {
  graph[graph[id].operands[0]].type.quantized?.bits ?? 8
}

/// What no sum of an output channel leaves: |bias| + Σ |w| · 255.
private func largestSum(_ id: OpID, _ graph: Graph, _ weights: [Int8]) -> Int {
  guard let biases = graph.constant(graph[id].operands[2])?.elements(as: Int32.self), !biases.isEmpty else {
    return .max
  }
  let row = weights.count / biases.count
  return biases.map { Int($0.magnitude) }.reduce(0, max) + row * 2 * 255
}

extension Instruction.Convolution.Kind {
  /// How its weights are called in the graph.
  fileprivate var packing: WeightLayout {
    switch self {
    case .dense8, .dense4: .panels
    case .depthwise: .depthwisePanels
    case .dense2: .twoBitPanels
    case .palette: .palettePanels
    case .binary: .binaryPanels
    case .ternary: .ternaryPanels
    }
  }
}

/// The packed geometry of a weighted integer operation, nil for others; of weights that are not packed yet, as panels of
/// 8 or 4 bits.
package func convolutionGeometry(of id: OpID, in graph: Graph) -> ConvolutionGeometry? {
  let node = graph[id]
  guard let value = node.operands.first, let inputs = graph[value].type.shape.size(1) else { return nil }
  func product(_ bits: Int, _ packing: WeightLayout) -> ConvolutionGeometry? {
    guard let outputs = graph[node.results[0]].type.shape.size(1) else { return nil }
    return ConvolutionGeometry(
      kind: kind(packing, bits: bits), inputChannels: inputs, outputChannels: outputs, kernelHeight: 1,
      kernelWidth: 1, groups: 1)
  }
  if case .integerConv2d(let conv) = node.op {
    guard let outputs = graph[node.results[0]].type.shape.size(1) else { return nil }
    let isDepthwise = conv.groups > 1 && conv.groups == inputs && outputs == inputs
    return ConvolutionGeometry(
      kind: isDepthwise ? .depthwise : kind(conv.packing, bits: conv.weightBits), inputChannels: inputs,
      outputChannels: outputs, kernelHeight: conv.kernel[0], kernelWidth: conv.kernel[1], groups: conv.groups)
  }
  if case .integerGemm(let gemm) = node.op { return product(gemm.weightBits, gemm.packing) }
  if case .integerGemmFloat(let gemm) = node.op { return product(gemm.weightBits, gemm.packing) }
  return nil
}

private func kind(_ packing: WeightLayout, bits: Int) -> Instruction.Convolution.Kind {
  switch packing {
  case .none, .panels: bits <= 4 ? .dense4 : .dense8
  case .depthwisePanels: .depthwise
  case .twoBitPanels: .dense2
  case .palettePanels: .palette
  case .binaryPanels: .binary
  case .ternaryPanels: .ternary
  }
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
