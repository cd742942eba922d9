import IR
import Support

/// Which values of a lowered graph share memory because one is a part of the other or replaces it.
///
/// - A reshape that moves nothing has the bytes of its operand.
/// - Operands of a concatenation along channels lie among the channels of its result, if they begin at a multiple of 4:
///   operations store whole groups of 4 channels. What lies elsewhere already is copied.
/// - A slice along channels is a part of its operand, under the same condition.
/// - Sums, products and lookups overwrite an operand of the same shape that nothing needs afterwards.
///
/// Parts of others and what has parts have no borders; what overwrites an operand has the same border.
struct StoragePlan {
  /// Bytes of the arena, for as long as one of the values is needed.
  struct Block {
    var values: [ValueID] = []
    var extent: ArenaPlacement.Block
    /// Bytes from pixel to pixel.
    var pixelStride: Int
  }
  private struct Place {
    var block: Int
    /// In each pixel of the block.
    var byte: Int
  }

  private(set) var blocks: [Block] = []
  /// Values among the channels of another, and operations that overwrite an operand.
  private(set) var parts = 0
  private(set) var overwriting = 0

  private let graph: Graph
  private var places: [Place?]
  /// The steps that write and last read each value.
  private var definition: [Int]
  private var lastUse: [Int]

  init(_ graph: Graph) throws(CompilerError) {
    self.graph = graph
    places = Array(repeating: nil, count: graph.values.count)
    definition = Array(repeating: 0, count: graph.values.count)
    lastUse = definition
    for (step, id) in graph.order.enumerated() {
      for value in graph[id].results { (definition[value.index], lastUse[value.index]) = (step, step) }
      for value in graph[id].operands { lastUse[value.index] = step }
    }
    // What is not written to the caller's memory at once is copied there at the end.
    for value in graph.outputs where !isHostOutput(value, graph) { lastUse[value.index] = graph.order.count }

    // From the last to the first, so that the parts of a part find their place in the outermost.
    for id in graph.order.reversed() { try placeParts(id) }
    for (step, id) in graph.order.enumerated() {
      for result in graph[id].results where places[result.index] == nil && !isHostOutput(result, graph) {
        if let place = placeOfView(id), !isJoined(result, in: place.block) {
          add(result, place)
        } else if let place = placeOfSlice(id), !isJoined(result, in: place.block) {
          add(result, place)
          parts += 1
        } else if let place = placeOfOverwritten(id, step), !isJoined(result, in: place.block) {
          add(result, place)
          overwriting += 1
        } else {
          try addBlock(result)
        }
      }
    }
  }

  /// Where a value of a block lies, the block being at an offset of the arena.
  func placement(of value: ValueID, blockOffset: Int) -> Graph.Placement? {
    guard let place = places[value.index] else { return nil }
    let stride = blocks[place.block].pixelStride, type = graph[value].type
    let isPart = stride != type.pixelStride && !type.isVectorPerSample
    return Graph.Placement(blockOffset + place.byte, pixelStride: isPart ? stride : nil)
  }

  // MARK: Blocks

  private mutating func add(_ value: ValueID, _ place: Place) {
    places[value.index] = place
    blocks[place.block].values.append(value)
    let extent = blocks[place.block].extent
    blocks[place.block].extent.firstStep = min(extent.firstStep, definition[value.index])
    blocks[place.block].extent.lastStep = max(extent.lastStep, lastUse[value.index])
  }
  private mutating func addBlock(_ value: ValueID) throws(CompilerError) {
    let type = graph[value].type
    guard let bytes = type.bytesPerSample else {
      throw CompilerError("'\(graph[value].name)' has no fixed size per sample: \(type)")
    }
    let step = definition[value.index]
    blocks.append(
      Block(
        extent: ArenaPlacement.Block(
          bytes: (bytes + 63) / 64 * 64, firstStep: step, lastStep: lastUse[value.index]),
        pixelStride: type.pixelStride))
    add(value, Place(block: blocks.count - 1, byte: 0))
  }

  // MARK: Parts

  /// Places the operands of a concatenation in its result.
  private mutating func placeParts(_ id: OpID) throws(CompilerError) {
    let node = graph[id], result = node.results[0]
    guard case .concat(let concat) = node.op, graph[result].type.holdsParts,
      resolvedAxis(concat.axis, rank: graph[result].type.shape.rank) == 1
    else { return }
    if places[result.index] == nil, let place = placeOfNeighbours(node.operands) { return add(result, place) }
    if places[result.index] == nil { try addBlock(result) }
    guard let whole = places[result.index] else { return }
    var channel = 0
    for (index, operand) in node.operands.enumerated() {
      let channels = graph[operand].type.channels
      if places[operand.index] == nil, channel % 4 == 0,
        channels % 4 == 0 || index == node.operands.count - 1,
        graph[operand].type.holdsParts, node.operands.filter({ $0 == operand }).count == 1,
        let producer = graph.definingOp(of: operand), graph[producer].op.storage.storesPixels,
        !graph.isView(producer)
      {
        add(operand, Place(block: whole.block, byte: whole.byte + channel))
        parts += 1
      }
      channel += channels
    }
  }

  /// Where values lie that are one behind the other among the channels of a block already.
  private func placeOfNeighbours(_ values: [ValueID]) -> Place? {
    guard let first = values.first.flatMap({ places[$0.index] }) else { return nil }
    var next = first.byte
    for value in values {
      guard let place = places[value.index], place.block == first.block, place.byte == next else {
        return nil
      }
      next += graph[value].type.channels
    }
    return first
  }

  /// A concatenation in the block copies the value to its place, which must not be among what it is copied from.
  private func isJoined(_ value: ValueID, in block: Int) -> Bool {
    graph.uses(of: value).contains { use in
      guard case .concat = graph[use.user].op else { return false }
      return graph[use.user].results.contains { places[$0.index]?.block == block }
    }
  }

  private func placeOfView(_ id: OpID) -> Place? {
    graph.isView(id) ? graph[id].operands.first.flatMap { places[$0.index] } : nil
  }

  private mutating func placeOfSlice(_ id: OpID) -> Place? {
    let node = graph[id]
    guard case .slice(let slice) = node.op, let operand = node.operands.first,
      let whole = places[operand.index], graph[operand].type.holdsParts,
      let ranges = try? slice.resolved(node.operands.map { graph.operand($0) }).ranges(
        of: graph[operand].type.shape),
      ranges.allSatisfy({ range in
        range.step == 1
          && (range.axis == 1
            || range.start == 0 && graph[operand].type.shape.size(range.axis) == range.count)
      })
    else { return nil }
    let channels = ranges.filter { $0.axis == 1 }
    guard channels.count <= 1 else { return nil }
    let start = channels.first?.start ?? 0
    guard start % 4 == 0 else { return nil }
    return Place(block: whole.block, byte: whole.byte + start)
  }

  // MARK: In place

  /// The place of an operand that fills its block and dies here; best not of one that the operation before reads, since
  /// the runtime has sums run together with the convolutions before them where those do not read what the sums write.
  private func placeOfOverwritten(_ id: OpID, _ step: Int) -> Place? {
    let node = graph[id], type = graph[node.results[0]].type
    guard node.op.storage == .overwrites else { return nil }
    let readBefore = step > 0 ? graph[graph.order[step - 1]].operands : []
    let isReadBefore = { (operand: ValueID) in readBefore.contains(operand) }
    for operand in node.operands.filter({ !isReadBefore($0) }) + node.operands.filter(isReadBefore) {
      guard let place = places[operand.index], graph[operand].type.shape == type.shape,
        graph[operand].type.layout == type.layout, place.byte == 0,
        blocks[place.block].extent.lastStep == step, blocks[place.block].pixelStride == type.pixelStride
      else { continue }
      // Another operand in the same block must be the same bytes.
      let isSafe = node.operands.allSatisfy { other in
        guard let otherPlace = places[other.index], otherPlace.block == place.block else { return true }
        return otherPlace.byte == 0 && graph[other].type.shape == type.shape
      }
      if isSafe { return place }
    }
    return nil
  }
}

/// What an operation of a lowered graph does with the memory of its operands and result.
private enum StorageUse {
  /// Writes each byte of its result from the same byte of its operands.
  case overwrites
  /// Writes pixel by pixel, and nothing between the pixels' channels rounded up to 4.
  case writesPixels
  /// Writes all bytes from the first to the last.
  case writesAll

  var storesPixels: Bool {
    switch self {
    case .overwrites, .writesPixels: true
    case .writesAll: false
    }
  }
}

extension Op {
  fileprivate var storage: StorageUse {
    switch self {
    case .integerAdd, .integerMultiply, .lookup: .overwrites
    case .quantizeLinear, .integerConv2d, .integerGemm, .integerAveragePool, .maxPool, .concat, .slice,
      .transpose, .reshape, .flatten, .squeeze, .unsqueeze, .identity:
      .writesPixels
    case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select,
      .averagePool, .globalAveragePool, .reduce, .softmax, .split, .pad, .gather, .expand, .resize, .shapeOf,
      .cast, .constantOfShape, .quantize, .dequantizeLinear, .integerGemmFloat:
      .writesAll
    }
  }
}

/// Whether a value is handed to the caller directly instead of living in the arena.
func isHostOutput(_ value: ValueID, _ graph: Graph) -> Bool {
  graph.isOutput(value) && graph.uses(of: value).isEmpty
}

extension Graph {
  /// The operation only renames the shape: its result occupies the same bytes in the same order.
  package func isView(_ id: OpID) -> Bool {
    let node = self[id]
    guard let operand = node.operands.first, let result = node.results.first, !isHostOutput(result, self)
    else { return false }
    switch node.op {
    case .reshape, .flatten, .squeeze, .unsqueeze, .identity: break
    case .conv2d, .convTranspose2d, .gemm, .matMul, .batchNorm, .layerNorm, .unary, .binary, .select,
      .maxPool,
      .averagePool, .globalAveragePool, .reduce, .softmax, .transpose, .concat, .split, .slice, .pad, .gather,
      .expand,
      .resize, .shapeOf, .cast, .constantOfShape, .quantize, .quantizeLinear, .dequantizeLinear,
      .integerConv2d,
      .integerGemm, .integerGemmFloat, .integerAdd, .integerMultiply, .integerAveragePool, .lookup:
      return false
    }
    if case .input = self[operand].definition { return false }
    let from = self[operand].type, to = self[result].type
    if from.layout == .rowMajor && to.layout == .rowMajor { return true }
    return from.layout == to.layout && from.isVectorPerSample && to.isVectorPerSample
  }
}

extension TensorType {
  /// [N, C] or [N, C, 1, 1].
  fileprivate var isVectorPerSample: Bool {
    shape.rank >= 2 && shape.extents.dropFirst(2).allSatisfy { $0 == .known(1) }
  }
  fileprivate var hasChannelsLast: Bool {
    switch layout {
    case .rowMajor: false
    case .channelsLast4: true
    }
  }
  /// Other tensors may lie among its channels, and it among those of others: their rows have no borders in between.
  fileprivate var holdsParts: Bool { hasChannelsLast && layout.border == .none }
  fileprivate var channels: Int { shape.size(1) ?? 0 }
  /// Bytes from pixel to pixel where they follow one another; 0 without pixels.
  fileprivate var pixelStride: Int { hasChannelsLast ? (channels + 3) / 4 * 4 : 0 }

  /// Bytes of one sample in this layout; nil without a batch axis in front or with open sizes.
  var bytesPerSample: Int? {
    guard shape.rank >= 1, shape[0] == .batch || shape[0] == .known(1),
      let sizes = Shape(Array(shape.extents.dropFirst())).sizes
    else { return nil }
    switch layout {
    case .rowMajor: return checkedProduct(sizes + [element.sizeInBytes])
    case .channelsLast4(let border):
      guard let channels = sizes.first else { return nil }
      var pixels = Array(sizes.dropFirst())
      if pixels.count == 2 {
        pixels[0] += border.top + border.bottom
        pixels[1] += border.left + border.right
      }
      return checkedProduct([(channels + 3) / 4 * 4] + pixels)
    }
  }
}
