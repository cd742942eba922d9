import COneDNN
import IR

/// A convolution's oneDNN primitive, forward or backward, and where the activations in front and behind it lie.
package struct ConvolutionLayout: Sendable {
  package struct Activations: Sendable {
    /// oneDNN's name.
    let argument: Int32
    let shape: [Int]
    let isWritten: Bool
    package init(_ argument: Int32, _ shape: [Int], isWritten: Bool = false) {
      (self.argument, self.shape, self.isWritten) = (argument, shape, isWritten)
    }
  }
  package typealias Prepare = (
    _ algorithm: dnnl_alg_kind_t, _ front: dnnl_memory_desc_t, _ behind: dnnl_memory_desc_t
  ) throws(OneDNNError) -> OneDNNPrimitive

  package let primitive: OneDNNPrimitive
  /// The memory order of activations.
  package let order: Tensor.Order
  private let activations: [Activations]
  /// Copies of the activations into the primitive's own format or out of it, where that is no tensor's.
  private let copies: [OneDNNReorder?]

  /// The first that oneDNN has fast code for: Winograd's algorithm in its own format, channels last, row-major.
  package static func chosen(
    front: Activations, behind: Activations, triesWinograd: Bool, _ prepare: Prepare
  ) throws(OneDNNError) -> ConvolutionLayout {
    let activations = [front, behind]
    func descriptors(_ tag: dnnl_format_tag_t) throws(OneDNNError) -> [dnnl_memory_desc_t] {
      [try OneDNN.descriptor(front.shape, tag), try OneDNN.descriptor(behind.shape, tag)]
    }
    if triesWinograd {
      let plain = try descriptors(dnnl_nhwc), any = plain.map(OneDNN.any)
      // Processors without it refuse.
      if let primitive = try? prepare(dnnl_convolution_winograd, any[0], any[1]) {
        var copies: [OneDNNReorder?] = []
        for (part, plain) in zip(activations, plain) {
          guard let own = primitive.descriptor(part.argument)?.pointee else { continue }
          copies.append(
            part.isWritten
              ? try OneDNNReorder(from: own, to: plain) : try OneDNNReorder(from: plain, to: own))
        }
        return ConvolutionLayout(
          primitive: primitive, order: .channelsLast, activations: activations, copies: copies)
      }
    }
    var first: ConvolutionLayout?
    for (order, tag) in [(Tensor.Order.channelsLast, dnnl_nhwc), (.rowMajor, dnnl_nchw)] {
      let plain = try descriptors(tag), primitive = try prepare(dnnl_convolution_direct, plain[0], plain[1])
      let layout = ConvolutionLayout(
        primitive: primitive, order: order, activations: activations, copies: [nil, nil])
      if !primitive.isReference { return layout }
      first = first ?? layout
    }
    guard let first else { throw OneDNNError(description: "oneDNN has no convolution") }
    return first
  }

  /// Runs the primitive.
  /// - Parameters:
  ///   - front: memory of the activations, in `order`.
  ///   - others: what else it needs, but for scratch memory.
  package func run(
    _ stream: OneDNNStream, pool: BufferPool?, front: UnsafeMutableRawPointer,
    behind: UnsafeMutableRawPointer,
    _ others: [(argument: Int32, memory: UnsafeMutableRawPointer)]
  ) throws(OneDNNError) {
    let scratch = TensorBuffer(byteCount: primitive.scratchBytes, pool: pool), outside = [front, behind]
    var inside: [TensorBuffer?] = []
    var arguments = others + [(DNNL_ARG_SCRATCHPAD, scratch.base)]
    for (index, part) in activations.enumerated() {
      let copy = copies[index]
      let buffer = copy.map {
        TensorBuffer(byteCount: part.isWritten ? $0.sourceBytes : $0.targetBytes, pool: pool)
      }
      if let copy, let buffer, !part.isWritten { try copy.run(stream, outside[index], buffer.base) }
      arguments.append((part.argument, buffer?.base ?? outside[index]))
      inside.append(buffer)
    }
    try withExtendedLifetime((scratch, inside)) { () throws(OneDNNError) in
      try primitive.run(stream, arguments)
      for (index, part) in activations.enumerated() where part.isWritten {
        if let copy = copies[index], let buffer = inside[index] {
          try copy.run(stream, buffer.base, outside[index])
        }
      }
    }
  }

  /// Whether Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308; oneDNN's tiles are 4x4) pays, with the copies:
  /// 1.2 times as fast at 32 channels, 1.5 at 64, 1.7 beyond (oneDNN 2.6, AVX-512). Its transforms of weights want
  /// many pixels. Errors are 1e-6 of the results' root mean square, as those of other sums in floats.
  /// - Parameters:
  ///   - weights: [O, I, kh, kw].
  ///   - result: [N, O, H, W].
  package static func suitsWinograd(_ op: Conv2D, weights: [Int], result: [Int]) -> Bool {
    op.groups == 1 && op.strides == [1, 1] && op.dilations == [1, 1] && weights[2...] == [3, 3]
      && weights[..<2].allSatisfy { $0 >= 32 && $0 % 16 == 0 }
      && result[2...].allSatisfy { $0 >= 7 } && result[0] * result[2] * result[3] >= 2048
  }
}
