import Evaluator
import IR
import PassKit
import Support

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

/// Rows of layer inputs, gathered from the float network on calibration samples: for every layer `rowsPerSample`
/// positions of each sample, spread evenly and shifted from sample to sample.
struct SampledInputs {
  /// For every layer, [rows, channels * kernel] row-major.
  private(set) var rows: [[Float]]
  private(set) var rowCounts: [Int]

  init(
    _ layers: [LayerGeometry], in graph: Graph, _ data: any CalibrationData, samples: Int, rowsWanted: Int,
    _ context: PassContext
  ) throws {
    let count = min(samples, data.count)
    let perSample = layers.map { max(min((rowsWanted + count - 1) / count, $0.positions), 1) }
    rowCounts = perSample.map { $0 * count }
    let lengths = layers.map { $0.rowLength * $0.groups }
    let blocks = zip(rowCounts, lengths).map {
      UnsafeMutablePointer<Float>.allocate(capacity: max($0 * $1, 1))
    }
    defer { blocks.forEach { $0.deallocate() } }
    var readers = [[Int]](repeating: [], count: graph.values.count)
    for (index, layer) in layers.enumerated() { readers[layer.input.index].append(index) }
    let readersOf = readers
    nonisolated(unsafe) let targets = blocks  // every sample writes rows of its own
    let evaluator = try Evaluator(graph, mode: .float, threads: context.threads)
    try runOnSamples(evaluator, graph, data, count, "gathering layer inputs", context) { observation in
      let interested = readersOf[observation.value.index]
      guard !interested.isEmpty else { return }
      observation.tensor.withFloats { floats in
        guard let base = floats.baseAddress, !observation.samples.isEmpty else { return }
        let stride = floats.count / observation.samples.count
        for (offset, sample) in observation.samples.enumerated() {
          for index in interested {
            let layer = layers[index], step = max(layer.positions / perSample[index], 1)
            for row in 0..<perSample[index] {
              let position = (row * step + sample * 7919) % layer.positions
              layer.gather(
                base + offset * stride, position,
                into: targets[index] + (sample * perSample[index] + row) * lengths[index])
            }
          }
        }
      }
    }
    rows = zip(blocks, zip(rowCounts, lengths)).map {
      Array(UnsafeBufferPointer(start: $0, count: $1.0 * $1.1))
    }
  }
}
