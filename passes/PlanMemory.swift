import IR
import PassKit
import Support

/// Gives every intermediate tensor a place in one arena, for one sample.
///
///     %y = integer-conv2d(…) : tensor<…, nhwc4>
///   ->
///     %y = integer-conv2d(…) : tensor<…, nhwc4> at 16384
///
/// Tensors whose lifetimes do not overlap share bytes: the largest are placed first, each at the lowest free offset, on
/// 64-byte boundaries. Reshapes that move nothing share their operand's place. The graph records the arena size and the
/// lower bound: the largest sum of bytes alive at one operation.
package let planMemory = Pass(
  "plan-memory", "place intermediate tensors in one arena", accepts: .lowered ... .lowered
) {
  rewriter, context in
  let plan = try MemoryPlan(rewriter.graph)
  for (value, offset) in plan.offsets { rewriter.setPlacement(value, offset) }
  rewriter.setMetadata("arena-bytes", "\(plan.arenaBytes)")
  rewriter.setMetadata("arena-lower-bound", "\(plan.lowerBound)")
  rewriter.count("placed tensors", plan.offsets.count)
}

/// Offsets for all values of a lowered graph that live in the arena.
struct MemoryPlan {
  private struct Block {
    var values: [ValueID]
    var bytes: Int
    var firstStep: Int
    var lastStep: Int
    var offset = 0
  }
  private(set) var offsets: [(value: ValueID, offset: Int)] = []
  private(set) var arenaBytes = 0
  private(set) var lowerBound = 0

  init(_ graph: Graph) throws(CompilerError) {
    var blocks: [Block] = [], blockOf: [ValueID: Int] = [:]
    for (step, id) in graph.order.enumerated() {
      let node = graph[id]
      for result in node.results where !isHostOutput(result, graph) {
        if let operand = node.operands.first, graph.isView(id), let block = blockOf[operand] {
          blocks[block].values.append(result)
          blockOf[result] = block
        } else {
          guard let bytes = graph[result].type.bytesPerSample else {
            throw CompilerError("'\(graph[result].name)' has no fixed size per sample: \(graph[result].type)")
          }
          blockOf[result] = blocks.count
          blocks.append(
            Block(values: [result], bytes: (bytes + 63) / 64 * 64, firstStep: step, lastStep: step))
        }
      }
      for value in node.operands + node.results {
        if let block = blockOf[value] { blocks[block].lastStep = step }
      }
    }
    let bySize = blocks.indices.sorted {
      (-blocks[$0].bytes, blocks[$0].firstStep, $0) < (-blocks[$1].bytes, blocks[$1].firstStep, $1)
    }
    var placed: [Int] = []  // by offset
    for index in bySize {
      let block = blocks[index]
      var offset = 0
      for other in placed.map({ blocks[$0] })
      where other.firstStep <= block.lastStep && block.firstStep <= other.lastStep {
        if offset + block.bytes <= other.offset { break }
        offset = max(offset, other.offset + other.bytes)
      }
      blocks[index].offset = offset
      placed.insert(index, at: placed.firstIndex { blocks[$0].offset > offset } ?? placed.count)
      arenaBytes = max(arenaBytes, offset + block.bytes)
    }
    for step in graph.order.indices {
      let alive = blocks.filter { $0.firstStep <= step && step <= $0.lastStep }.reduce(0) { $0 + $1.bytes }
      lowerBound = max(lowerBound, alive)
    }
    offsets = blocks.flatMap { block in block.values.map { ($0, block.offset) } }.sorted { $0.0 < $1.0 }
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
  var isVectorPerSample: Bool { shape.rank >= 2 && shape.extents.dropFirst(2).allSatisfy { $0 == .known(1) } }

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
