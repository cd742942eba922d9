import IR
import PassKit

/// Rules that bring cuts and borders into one form. All are exact.
///
///     slice{axes = [3]}(slice{axes = [2]}(%x))             ->  slice{axes = [2, 3]}(%x)
///     slice{axes = [-1], ends = [9223372036854775807]}(%x) ->  slice{axes = [3], ends = [32]}(%x)
///     split{axis = 1, sizes = [2, 4]}(%x)                  ->  slice{ends = [2]}(%x), …
///     max-pool{kernel = [1, 1], strides = [2, 2]}(%x)      ->  slice{axes = [2, 3], steps = [2, 2]}(%x)
///     slice{axes = [2, 3]}(pad{channels}(%x))              ->  pad{channels}(slice{axes = [2, 3]}(%x))
///     concat{axis = 1}(%zeros, %x, %zeros)                 ->  pad{channels}(%x)
///     pad(pad(%x))                                         ->  pad(%x)
///     conv2d{pads}(pad{height, width, 0}(%x), %w)          ->  conv2d{pads'}(%x, %w)
///     average-pool, max-pool behind a pad                  ->  the pool with pads, where they mean the same
///
/// A strided slice followed by a channel pad is the canonical form of the parameter-free shortcut of residual
/// networks.
let sliceAndPadRules = [
  Simplification("slice in canonical form", normalizeSlice),
  Simplification("slices merged", mergeSlices),
  Simplification("split to slices", splitToSlices),
  Simplification("pool without a window to slice", poolToSlice),
  Simplification("slice moved before pad", slicePastPad),
  Simplification("concat with a constant border to pad", concatToPad),
  Simplification("pads merged", mergePads),
  Simplification("pad into conv2d", padIntoConvolution),
  Simplification("pad into pool", padIntoPool),
]

/// A slice in canonical form: positive axes in order, only those that change, and ends within the shape.
private func slice(_ ranges: [Slice.Range], of shape: Shape) -> Slice? {
  var result = Slice()
  for range in ranges.sorted(by: { $0.axis < $1.axis }) {
    guard let size = shape.size(range.axis) else { return nil }
    if range.start == 0 && range.step == 1 && range.count == size { continue }
    let end = range.start + range.count * range.step
    result.axes.append(range.axis)
    result.starts.append(range.start)
    result.steps.append(range.step)
    // A negative end would count from the back; one before the first element is written as -size - 1.
    result.ends.append(range.step > 0 ? min(end, size) : end < 0 ? -size - 1 : end)
  }
  return result
}

/// The ranges of a slice. Where at most one element is left the step is 1, so that arithmetic stays within
/// the shape.
private func ranges(_ op: OpID, _ graph: Graph) -> [Slice.Range]? {
  let node = graph[op]
  guard case .slice(let slice) = node.op,
    let ranges = try? slice.resolved(node.operands.map { graph.operand($0) }).ranges(
      of: graph.shape(node.operands[0])),
    Set(ranges.map(\.axis)).count == ranges.count
  else { return nil }
  return ranges.map { range in
    Slice.Range(
      axis: range.axis, start: range.start, step: range.count > 1 ? range.step : 1, count: range.count)
  }
}

private func normalizeSlice(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard let ranges = ranges(op, rewriter.graph),
    let canonical = slice(ranges, of: rewriter.graph.shape(node.operands[0])), !canonical.axes.isEmpty,
    .slice(canonical) != node.op || node.operands.count > 1, rewriter.takeStep()
  else { return false }
  try rewriter.replace(op, with: .slice(canonical), [node.operands[0]])
  return true
}

private func mergeSlices(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard let outer = ranges(op, rewriter.graph),
    let producer = rewriter.graph.soleProducer(of: node.operands[0]),
    var merged = ranges(producer, rewriter.graph)
  else { return false }
  let source = rewriter.graph[producer].operands[0]
  for range in outer {
    if let index = merged.firstIndex(where: { $0.axis == range.axis }) {
      merged[index].start += range.start * merged[index].step
      merged[index].step *= range.step
      merged[index].count = range.count
    } else {
      merged.append(range)
    }
  }
  guard let canonical = slice(merged, of: rewriter.graph.shape(source)), rewriter.takeStep() else {
    return false
  }
  try rewriter.replace(op, with: .slice(canonical), [source])
  return true
}

private func splitToSlices(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op], shape = rewriter.graph.shape(node.operands[0])
  guard case .split(let split) = node.op, let axis = resolvedAxis(split.axis, rank: shape.rank),
    split.sizes.count > 1,
    rewriter.takeStep()
  else { return false }
  var start = 0, parts: [ValueID] = []
  for (index, size) in split.sizes.enumerated() {
    var part = Slice()
    part.axes = [axis]
    part.starts = [start]
    part.ends = [start + size]
    part.steps = [1]
    parts += try rewriter.insert(.slice(part), [node.operands[0]], name: "\(node.name).\(index)", before: op)
    start += size
  }
  rewriter.replaceResults(of: op, with: parts)
  return true
}

private func poolToSlice(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op], window: Window
  if case .maxPool(let pool) = node.op {
    window = pool.window
  } else if case .averagePool(let pool) = node.op {
    window = pool.window
  } else {
    return false
  }
  let input = rewriter.graph.shape(node.operands[0]), output = rewriter.graph.shape(node.results[0])
  guard window.kernel == [1, 1], window.pads == [0, 0, 0, 0], window.strides != [1, 1],
    let rows = output.size(2), let columns = output.size(3)
  else { return false }
  let kept = [
    Slice.Range(axis: 2, start: 0, step: window.strides[0], count: rows),
    Slice.Range(axis: 3, start: 0, step: window.strides[1], count: columns),
  ]
  guard let canonical = slice(kept, of: input), rewriter.takeStep() else { return false }
  try rewriter.replace(op, with: .slice(canonical), [node.operands[0]])
  return true
}

private func slicePastPad(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard node.operands.count == 1, let cut = ranges(op, rewriter.graph),
    let producer = rewriter.graph.soleProducer(of: node.operands[0]),
    case .pad(let pad) = rewriter.graph[producer].op,
    rewriter.graph[producer].operands.count == 1, pad.mode == .constant
  else { return false }
  let rank = rewriter.graph.shape(node.operands[0]).rank
  let padded = rewriter.graph[producer]
  guard cut.allSatisfy({ pad.pads[$0.axis] == 0 && pad.pads[$0.axis + rank] == 0 }), rewriter.takeStep()
  else { return false }
  let sliced = try rewriter.insert(node.op, [padded.operands[0]], name: node.name, before: op)[0]
  try rewriter.replace(op, with: padded.op, [sliced], name: padded.name)
  return true
}

private func concatToPad(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op], graph = rewriter.graph
  guard case .concat(let concat) = node.op, node.operands.count > 1 else { return false }
  let rank = graph.shape(node.results[0]).rank
  guard let axis = resolvedAxis(concat.axis, rank: rank) else { return false }
  let fills = node.operands.map { fill($0, graph) }
  let inner = fills.indices.filter { fills[$0] == nil }
  guard inner.count == 1, let position = inner.first, let value = fills.compactMap({ $0 }).first,
    value.isFinite,
    fills.allSatisfy({ $0 == nil || $0 == value })
  else { return false }
  let sizes = node.operands.compactMap { graph.shape($0).size(axis) }
  guard sizes.count == node.operands.count, rewriter.takeStep() else { return false }
  var pad = Pad()
  pad.value = value
  pad.pads = Array(repeating: 0, count: 2 * rank)
  pad.pads[axis] = sizes[..<position].reduce(0, +)
  pad.pads[axis + rank] = sizes[(position + 1)...].reduce(0, +)
  try rewriter.replace(op, with: .pad(pad), [node.operands[position]])
  return true
}

/// The one value of a constant, of an expanded constant or of a constant-of-shape.
private func fill(_ value: ValueID, _ graph: Graph) -> Float? {
  if let uniform = graph.uniformFloat(value) { return uniform }
  guard let node = graph.node(defining: value) else { return nil }
  if case .expand = node.op { return graph.uniformFloat(node.operands[0]) }
  if case .constantOfShape(let fill) = node.op, fill.type == .f32 { return fill.value }
  return nil
}

private func mergePads(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .pad(var outer) = node.op, node.operands.count == 1,
    let producer = rewriter.graph.soleProducer(of: node.operands[0]),
    case .pad(let inner) = rewriter.graph[producer].op,
    rewriter.graph[producer].operands.count == 1, outer.mode == .constant, inner.mode == .constant,
    outer.value == inner.value, (outer.pads + inner.pads).allSatisfy({ $0 >= 0 }), rewriter.takeStep()
  else { return false }
  outer.pads = zip(outer.pads, inner.pads).map { $0 + $1 }
  try rewriter.replace(op, with: .pad(outer), rewriter.graph[producer].operands)
  return true
}

/// The pads (top, left, bottom, right) of a constant pad that only frames height and width, with its input.
private func frame(_ value: ValueID, _ graph: Graph) -> (pads: [Int], value: Float, input: ValueID)? {
  guard let node = graph.node(defining: value), case .pad(let pad) = node.op, node.operands.count == 1,
    pad.mode == .constant, pad.pads.count == 8, pad.pads.allSatisfy({ $0 >= 0 }), pad.pads[0...1] == [0, 0],
    pad.pads[4...5] == [0, 0]
  else { return nil }
  return ([pad.pads[2], pad.pads[3], pad.pads[6], pad.pads[7]], pad.value, node.operands[0])
}

private func padIntoConvolution(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard case .conv2d(var conv) = node.op, let frame = frame(node.operands[0], rewriter.graph),
    frame.value == 0,
    rewriter.takeStep()
  else { return false }
  conv.pads = zip(conv.pads, frame.pads).map { $0 + $1 }
  try rewriter.replace(op, with: .conv2d(conv), [frame.input] + node.operands.dropFirst())
  return true
}

/// An average counts the zeros of a pad exactly as `count-pads` does. A maximum may take a pad for its own
/// where no element is less than the pad's value and every window holds at least one element.
private func padIntoPool(_ op: OpID, _ rewriter: inout Rewriter) throws(VerificationError) -> Bool {
  let node = rewriter.graph[op]
  guard let input = node.operands.first, let frame = frame(input, rewriter.graph) else { return false }
  let fused: Op
  if case .averagePool(var pool) = node.op {
    guard frame.value == 0, !pool.ceilMode, pool.countPads || pool.pads == [0, 0, 0, 0] else { return false }
    pool.pads = zip(pool.pads, frame.pads).map { $0 + $1 }
    pool.countPads = true
    fused = .averagePool(pool)
  } else if case .maxPool(var pool) = node.op {
    guard frame.value <= rewriter.graph.lowerBound(of: frame.input), !pool.ceilMode, pool.dilations == [1, 1]
    else {
      return false
    }
    pool.pads = zip(pool.pads, frame.pads).map { $0 + $1 }
    guard (0..<4).allSatisfy({ pool.pads[$0] < pool.kernel[$0 % 2] }) else { return false }
    fused = .maxPool(pool)
  } else {
    return false
  }
  guard rewriter.takeStep() else { return false }
  try rewriter.replace(op, with: fused, [frame.input])
  return true
}
