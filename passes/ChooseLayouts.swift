import IR
import PassKit
import Program

/// Chooses how activations lie in memory: channels last, padded to a multiple of 4, which is what the kernels read and
/// write without repacking; row-major for everything that is no image or vector of channels. Images that padded
/// convolutions read get a border of their zero point, so that those read it in place.
///
///     %y = integer-conv2d(…) : tensor<Nx16x32x32xu8<…>>
///     %z = integer-conv2d(%y, …) {pads = [1, 1, 1, 1], …} : tensor<Nx16x32x32xu8<…>>
///   ->
///     %y = integer-conv2d(…) : tensor<Nx16x32x32xu8<…>, nhwc4 border [1, 1, 1, 1]>
///     %z = integer-conv2d(%y, …) {pads = [1, 1, 1, 1], …} : tensor<Nx16x32x32xu8<…>, nhwc4>
///
/// Integer operations on images and on [N, C] vectors take channels last. Reshapes and transposes that leave an image
/// become copies between the two layouts. See `BorderChoice` for the borders; they change no number.
package let chooseLayouts = Pass(
  "choose-layouts", "choose how activations lie in memory", accepts: .lowered ... .lowered
) { rewriter, context in
  let borders = BorderChoice(rewriter.graph).borders
  for id in rewriter.ops {
    for value in rewriter.graph[id].results {
      let type = rewriter.graph[value].type
      guard type.quantized != nil, type.shape.rank == 4 || type.shape.rank == 2 else { continue }
      let border = borders[value] ?? .none
      rewriter.setLayout(value, .channelsLast4(border: border))
      rewriter.count("channels last")
      if border != .none { rewriter.count("with borders") }
    }
  }
}

/// The borders of all images that have one.
///
/// Without a border every padded convolution copies its input, into a padded image, before it runs. With one, what
/// writes the image writes the border too, and what would write the image in one run writes it row by row. An image gets
/// the union of the pads of its readers where fewer bytes are written that way; the start of a row counts as some bytes.
/// Convolutions that read something else than the image do not count: depthwise ones, whose kernels need no border, and
/// those that may become products of bits. Then the operands and results of elementwise operations get the union of their borders, so that one
/// run takes all, borders included.
private struct BorderChoice {
  /// What starting a row costs an operation that would write the image in one run, in bytes copied in that time: some
  /// 9 ns, measured with quantizations.
  private static let bytesPerRow = 384
  /// Multiplications in the time of a byte. A product also has a tile at the end of each row that is not full, which
  /// counts as two more pixels.
  private static let productsPerByte = 16
  private(set) var borders: [ValueID: Border] = [:]
  private let graph: Graph

  init(_ graph: Graph) {
    self.graph = graph
    for id in graph.order {
      for value in graph[id].results where canHaveBorder(value, of: id) {
        let border = wanted(value, of: id)
        if border != .none { borders[value] = border }
      }
    }
    // Borders only grow, up to the largest.
    var isStable = false
    while !isStable { isStable = !unite() }
  }

  /// Images that are written pixel by pixel. Parts of a concatenation have none: they may lie within its result.
  private func canHaveBorder(_ value: ValueID, of id: OpID) -> Bool {
    graph[id].op.writesBorders && graph[value].type.imageSizes != nil
      && !graph.uses(of: value).contains { use in
        if case .concat = graph[use.user].op { true } else { false }
      }
  }

  /// Kernels read the image itself: neither a border of their own making, nor planes of its bits.
  private func readsImage(_ id: OpID, _ conv: IntegerConv2D) -> Bool {
    guard let geometry = convolutionGeometry(of: id, in: graph) else { return false }
    let inputBits = graph[graph[id].operands[0]].type.quantized?.bits ?? 8
    return geometry.kind != .depthwise && (inputBits > 2 || conv.weightBits > 2)
  }

  private func wanted(_ value: ValueID, of id: OpID) -> Border {
    guard let (channels, height, width) = graph[value].type.imageSizes else { return .none }
    var border = Border.none, copiedBytes = 0
    for use in graph.uses(of: value) {
      guard use.operand == 0, case .integerConv2d(let conv) = graph[use.user].op, readsImage(use.user, conv),
        conv.pads.contains(where: { $0 > 0 }), conv.pads.allSatisfy({ $0 <= Border.largest })
      else { continue }
      let pads = Border(top: conv.pads[0], left: conv.pads[1], bottom: conv.pads[2], right: conv.pads[3])
      border = border.union(pads)
      copiedBytes += channels * pads.pixels(around: height, width)
    }
    let writtenBytes = channels * (border.pixels(around: height, width) - height * width)
    return writtenBytes + height * bytesPerRow(id) < copiedBytes ? border : .none
  }

  private func bytesPerRow(_ id: OpID) -> Int {
    if case .quantizeLinear = graph[id].op { return Self.bytesPerRow }
    guard case .integerConv2d(let conv) = graph[id].op, conv.kernel == [1, 1], conv.strides == [1, 1],
      let geometry = convolutionGeometry(of: id, in: graph)
    else { return 0 }  // works row by row anyway, or takes borders in its stride as elementwise operations do
    return Self.bytesPerRow + 2 * geometry.productsPerPixel / Self.productsPerByte
  }

  /// Gives the operands and results of one elementwise operation after the other the same border.
  /// - Returns: whether one changed.
  private mutating func unite() -> Bool {
    var changes = false
    for id in graph.order where graph[id].op.isElementwise {
      let node = graph[id], values = node.operands.filter { graph.constant($0) == nil } + node.results
      let sizes = graph[node.results[0]].type.shape
      guard
        values.allSatisfy({ value in
          graph.definingOp(of: value).map { canHaveBorder(value, of: $0) } ?? false
            && graph[value].type.shape == sizes
        })
      else { continue }
      let union = values.reduce(Border.none) { $0.union(borders[$1] ?? .none) }
      for value in values where union != borders[value] ?? .none {
        borders[value] = union
        changes = true
      }
    }
    return changes
  }
}

extension TensorType {
  /// The channels that are stored, rows and columns of an activation's images of more than one pixel.
  fileprivate var imageSizes: (channels: Int, height: Int, width: Int)? {
    guard quantized != nil, shape.rank == 4, let sizes = Shape(Array(shape.extents.dropFirst())).sizes,
      sizes[1] * sizes[2] > 1
    else { return nil }
    return ((sizes[0] + 3) / 4 * 4, sizes[1], sizes[2])
  }
}

extension Border {
  /// Those of an image and the border around it.
  fileprivate func pixels(around height: Int, _ width: Int) -> Int {
    (top + height + bottom) * (left + width + right)
  }
}

extension Op {
  fileprivate var isElementwise: Bool {
    if case .integerAdd = self { return true }
    if case .integerMultiply = self { return true }
    if case .lookup = self { return true }
    return false
  }
}
