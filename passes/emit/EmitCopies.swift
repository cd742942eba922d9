import IR
import Numerics
import Program
import Support

/// Operations that move elements, as strided copies over the logical axes of one sample.
extension Emitter {
  /// The distance in elements between neighbours along each axis of a tensor.
  private func strides(_ index: Int) -> [Int] {
    let tensor = builder.tensors[index]
    switch tensor.layout {
    case .rowMajor:
      var stride = 1
      return tensor.shape.reversed().map { extent in
        defer { stride *= extent }
        return stride
      }.reversed()
    case .channelsLast4:
      guard tensor.shape.count == 3 else { return [1] }
      return [1, tensor.rowStride, tensor.pixelStride]
    }
  }

  /// Axes ordered so that the last varies fastest in the output, joined where both sides are contiguous.
  private func simplified(_ dimensions: [Instruction.Copy.Dimension]) -> [Instruction.Copy.Dimension] {
    let ordered = dimensions.filter { $0.extent != 1 }.sorted {
      ($0.outputStride, $0.inputStride) > ($1.outputStride, $1.inputStride)
    }
    var result: [Instruction.Copy.Dimension] = []
    for next in ordered {
      if let last = result.last, last.inputStride == next.inputStride * next.extent,
        last.outputStride == next.outputStride * next.extent
      {
        result[result.count - 1] = .init(
          extent: last.extent * next.extent, inputStride: next.inputStride, outputStride: next.outputStride)
      } else {
        result.append(next)
      }
    }
    return result.isEmpty ? [.init(extent: 1, inputStride: 1, outputStride: 1)] : result
  }

  private mutating func copy(
    _ id: OpID, _ input: Int, _ output: Int, extents: [Int], inputStrides: [Int], outputStrides: [Int],
    inputOffset: Int = 0, outputOffset: Int = 0, fill: UInt8? = nil
  ) {
    let dimensions = extents.indices.map {
      Instruction.Copy.Dimension(
        extent: extents[$0], inputStride: inputStrides[$0], outputStride: outputStrides[$0])
    }
    append(
      id,
      .copy(
        .init(
          input: input, output: output, inputOffset: builder.tensors[input].imageOffset + inputOffset,
          outputOffset: builder.tensors[output].imageOffset + outputOffset,
          dimensions: simplified(dimensions), fill: fill)))
  }

  /// A reshape that moves bytes: the elements keep their logical row-major order, the layouts differ.
  mutating func emitReshape(_ id: OpID) throws(CompilerError) {
    let node = graph[id], x = try input(node.operands[0])
    let y = try output(node.results[0])
    let from = builder.tensors[x], to = builder.tensors[y]
    // Walk over the finer of the two shapes when one only splits or joins axes of the other.
    guard let walk = commonRefinement(from.shape, to.shape),
      let inputStrides = refinedStrides(walk, from.shape, strides(x)),
      let outputStrides = refinedStrides(walk, to.shape, strides(y))
    else { return fail(id, "from \(from.shape) to \(to.shape) has no instruction") }
    copy(id, x, y, extents: walk, inputStrides: inputStrides, outputStrides: outputStrides)
  }

  mutating func emitTranspose(_ id: OpID, _ transpose: Transpose) throws(CompilerError) {
    let node = graph[id], x = try input(node.operands[0])
    guard transpose.permutation.first == 0 else { return fail(id, "moves the batch axis") }
    let y = try output(node.results[0])
    let from = strides(x), axes = transpose.permutation.dropFirst().map { $0 - 1 }
    copy(id, x, y, extents: shape(y), inputStrides: axes.map { from[$0] }, outputStrides: strides(y))
  }

  mutating func emitConcat(_ id: OpID, _ concat: Concat) throws(CompilerError) {
    let node = graph[id]
    var parts: [Int] = []
    for operand in node.operands { parts.append(try input(operand)) }
    let y = try output(node.results[0])
    guard let axis = resolvedAxis(concat.axis, rank: shape(y).count + 1), axis >= 1 else {
      return fail(id, "joins batches")
    }
    let to = strides(y)
    var position = 0
    for part in parts {
      let offset = position * to[axis - 1]
      if !lies(part, in: y, at: offset) {
        copy(
          id, part, y, extents: shape(part), inputStrides: strides(part), outputStrides: to,
          outputOffset: offset)
      }
      position += shape(part)[axis - 1]
    }
  }

  mutating func emitSlice(_ id: OpID, _ slice: Slice) throws(CompilerError) {
    let node = graph[id], x = try input(node.operands[0])
    let y = try output(node.results[0])
    let ranges: [Slice.Range]
    do {
      ranges = try slice.resolved(node.operands.map { graph.operand($0) }).ranges(
        of: graph[node.operands[0]].type.shape)
    } catch {
      return fail(id, "\(error)")
    }
    var from = strides(x), offset = 0
    for range in ranges {
      guard range.axis >= 1 else { return fail(id, "cuts the batch axis") }
      offset += range.start * from[range.axis - 1]
      from[range.axis - 1] *= range.step
    }
    guard from.allSatisfy({ $0 >= 0 }) else { return fail(id, "with a negative step has no instruction") }
    if !lies(y, in: x, at: offset) {
      copy(id, x, y, extents: shape(y), inputStrides: from, outputStrides: strides(y), inputOffset: offset)
    }
  }

  /// The memory plan has made a tensor that part of another which begins at an element of it: nothing is to be copied.
  private func lies(_ part: Int, in whole: Int, at offset: Int) -> Bool {
    let part = builder.tensors[part], whole = builder.tensors[whole]
    guard case .arena(let first) = part.storage, case .arena(let start) = whole.storage else { return false }
    return part.layout == .channelsLast4 && whole.layout == .channelsLast4 && first == start + offset
      && part.height == whole.height && part.width == whole.width && part.border == whole.border
      && (part.pixelStride == whole.pixelStride || part.pixels == 1)
  }

  mutating func emitPad(_ id: OpID, _ pad: Pad) throws(CompilerError) {
    let node = graph[id], x = try input(node.operands[0])
    let y = try output(node.results[0])
    let rank = shape(x).count + 1
    guard pad.pads.count == 2 * rank, pad.pads[0] == 0, pad.pads[rank] == 0, pad.pads.allSatisfy({ $0 >= 0 })
    else {
      return fail(id, "of the batch, or with negative pads, has no instruction")
    }
    let to = strides(y)
    let offset = (1..<rank).reduce(0) { $0 + pad.pads[$1] * to[$1 - 1] }
    let q = graph[node.operands[0]].type.quantized ?? .activation(bits: 8, scale: 1, zeroPoint: 0)
    let fill = UInt8(truncatingIfNeeded: q.parameters.quantize(pad.value, q.storedRange))
    copy(
      id, x, y, extents: shape(x), inputStrides: strides(x), outputStrides: to, outputOffset: offset,
      fill: fill)
  }
}

/// The extents whose joined runs give both `a` and `b`: the common refinement of their cumulative products; nil when none.
private func commonRefinement(_ a: [Int], _ b: [Int]) -> [Int]? {
  func cuts(_ shape: [Int]) -> [Int] {
    var product = 1
    return shape.reversed().map { extent in
      product *= extent
      return product
    }
  }
  let all = Set(cuts(a) + cuts(b) + [1]).sorted()
  var result: [Int] = []
  for (low, high) in zip(all, all.dropFirst()) {
    guard low > 0, high % low == 0 else { return nil }
    result.insert(high / low, at: 0)
  }
  return result
}

/// The stride of every refined axis, given those of the axes of `shape` that it splits; nil when it does not split them.
private func refinedStrides(_ refined: [Int], _ shape: [Int], _ strides: [Int]) -> [Int]? {
  var result: [Int] = [], next = refined.count - 1
  for axis in shape.indices.reversed() {
    var covered = 1
    while covered < shape[axis] {
      guard next >= 0 else { return nil }
      result.insert(strides[axis] * covered, at: 0)
      covered *= refined[next]
      next -= 1
    }
    guard covered == shape[axis] else { return nil }
  }
  return next < 0 ? result : nil
}
