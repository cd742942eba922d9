import IR

/// Where a layer reads: the geometry that turns its input into rows of a matrix, one for each sampled output position.
struct LayerGeometry: Sendable {
  let input: ValueID
  /// Of the input, without the batch.
  let channels: Int
  let height: Int
  let width: Int
  let window: Window
  let groups: Int

  /// Weights that one output channel has.
  var rowLength: Int { channels / groups * window.kernel[0] * window.kernel[1] }
  var positions: Int { window.positions(0, size: height) * window.positions(1, size: width) }

  /// The geometry of a convolution or a canonical gemm; nil for other operations.
  init?(_ id: OpID, _ graph: Graph) {
    let node = graph[id]
    input = node.operands[0]
    let shape = graph[input].type.shape
    if case .conv2d(let conv) = node.op, let kernel = graph[node.operands[1]].type.shape.sizes,
      let c = shape.size(1),
      let h = shape.size(2), let w = shape.size(3)
    {
      (channels, height, width, groups) = (c, h, w, conv.groups)
      window = Window(
        kernel: Array(kernel[2...]), strides: conv.strides, pads: conv.pads, dilations: conv.dilations)
    } else if case .gemm = node.op, let c = shape.size(1) {
      (channels, height, width, groups) = (c, 1, 1, 1)
      window = Window(kernel: [1, 1], strides: [1, 1], pads: [0, 0, 0, 0])
    } else {
      return nil
    }
  }

  /// Writes the inputs that one output position meets, group after group, in the order of the weights.
  func gather(_ image: UnsafePointer<Float>, _ position: Int, into row: UnsafeMutablePointer<Float>) {
    let columns = window.positions(1, size: width)
    let top = position / columns * window.strides[0] - window.pads[0]
    let left = position % columns * window.strides[1] - window.pads[1]
    var next = 0
    for channel in 0..<channels {
      let plane = image + channel * height * width
      for tapRow in 0..<window.kernel[0] {
        let y = top + tapRow * window.dilations[0]
        for tapColumn in 0..<window.kernel[1] {
          let x = left + tapColumn * window.dilations[1]
          let isInside = y >= 0 && y < height && x >= 0 && x < width
          row[next] = isInside ? plane[y * width + x] : 0
          next += 1
        }
      }
    }
  }
}
