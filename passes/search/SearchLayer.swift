import IR
import Numerics
import Program

/// A layer with weights as budgets see it.
package struct SearchLayer: Sendable {
  package let name: String
  /// Positions among all quantizers.
  package let weights: Int
  package let input: Int?
  package let multiplyAccumulates: Int
  /// As `qcc kernels --shape` takes it, without bits.
  package let shape: String
  /// Whether it has one output pixel.
  let isProduct: Bool
  private let geometry: ConvolutionGeometry
  /// Its sums leave the integer part as they are: kernels have 8 and 4 bits.
  private let givesFloats: Bool

  init?(_ id: OpID, _ graph: Graph, sites: [OpID: Int]) {
    let node = graph[id]
    guard let quantizer = graph.definingOp(of: node.operands[1]), let weights = sites[quantizer],
      let sizes = graph[node.operands[1]].type.shape.sizes,
      let inputs = graph[node.operands[0]].type.shape.size(1)
    else { return nil }
    name = node.name
    self.weights = weights
    input = graph.activationQuantizer(of: node.operands[0]).flatMap { sites[$0] }
    multiplyAccumulates = graph.multiplyAccumulates(id)
    givesFloats = graph.uses(of: node.results[0]).allSatisfy { use in
      if case .quantize = graph[use.user].op { false } else { true }
    }
    let result = graph[node.results[0]].type.shape
    if case .conv2d(let conv) = node.op, sizes.count == 4, let height = result.size(2),
      let width = result.size(3)
    {
      let isDepthwise = conv.groups > 1 && conv.groups == inputs && sizes[0] == inputs
      geometry = ConvolutionGeometry(
        kind: isDepthwise ? .depthwise : .dense8, inputChannels: inputs, outputChannels: sizes[0],
        kernelHeight: sizes[2], kernelWidth: sizes[3], groups: conv.groups)
      var text = "\(sizes[2])x\(sizes[3]),\(inputs)-\(sizes[0]),@\(height)x\(width)"
      if conv.strides[0] != 1 { text += ",stride=\(conv.strides[0])" }
      if conv.groups > 1 { text += isDepthwise ? ",dw" : ",groups=\(conv.groups)" }
      shape = text
      isProduct = height * width == 1
    } else if sizes.count == 2 {
      let outputs = result.size(1) ?? 1
      geometry = ConvolutionGeometry(
        kind: .dense8, inputChannels: inputs, outputChannels: outputs, kernelHeight: 1, kernelWidth: 1,
        groups: 1)
      shape = "1x1,\(inputs)-\(outputs),@1x1"
      isProduct = true
    } else {
      return nil
    }
  }

  /// The kind of kernel that `pack-weights` will choose, unless weights happen to suit a palette.
  package func kind(weightBits: Int, activationBits: Int) -> Instruction.Convolution.Kind {
    if geometry.kind == .depthwise { return .depthwise }
    if weightBits >= 5 { return .dense8 }
    if weightBits >= 3 || givesFloats { return .dense4 }
    let bitSerial: Instruction.Convolution.Kind = weightBits == 1 ? .binary : .ternary
    let inputs = geometry.inputChannels, multiple = bitSerial.channelMultiple
    let words = (inputs + multiple - 1) / multiple * multiple * activationBits
    return geometry.groups == 1 && words <= 2 * inputs ? bitSerial : .dense2
  }

  /// Bytes of packed weights.
  package func bytes(_ kind: Instruction.Convolution.Kind) -> Int {
    var packed = geometry
    packed.kind = kind
    return packed.weightBytes
  }
  /// The same in a compact file.
  package func compactBytes(_ kind: Instruction.Convolution.Kind, weightBits: Int) -> Int {
    let bytes = bytes(kind)
    return kind.laneBits.map { (bytes * min(weightBits, $0) + $0 - 1) / $0 } ?? bytes
  }
}
