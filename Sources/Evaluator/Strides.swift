import IR

extension Tensor {
  /// Elements between neighbours along each logical axis.
  package var strides: [Int] { Tensor.strides(shape, order) }

  package static func strides(_ shape: [Int], _ order: Order) -> [Int] {
    switch order {
    case .channelsLast where shape.count == 4:
      return [shape[1] * shape[2] * shape[3], 1, shape[3] * shape[1], shape[1]]
    case .channelsLast, .rowMajor:
      var strides = Array(repeating: 1, count: shape.count)
      for axis in stride(from: shape.count - 2, through: 0, by: -1) {
        strides[axis] = strides[axis + 1] * shape[axis + 1]
      }
      return strides
    }
  }

  package func rowMajor() -> Tensor { ordered(.rowMajor) }

  /// The tensor with its elements in `order`, itself if they are so already.
  package func ordered(_ order: Order, pool: BufferPool? = nil) -> Tensor {
    guard shape.count == 4, self.order != order else { return self }
    if shape[1] == 1 || shape[2] * shape[3] == 1 {
      var same = self
      same.order = order
      return same
    }
    let result = Tensor(shape, element, order: order, pool: pool)
    let area = shape[2] * shape[3], channels = shape[1]
    let (rows, columns) = order == .channelsLast ? (channels, area) : (area, channels)
    for sample in 0..<shape[0] {
      let offset = sample * area * channels
      switch element.sizeInBytes {
      case 1: transposeMatrix(pointer(UInt8.self) + offset, rows, columns, to: result.pointer() + offset)
      case 4: transposeMatrix(pointer(UInt32.self) + offset, rows, columns, to: result.pointer() + offset)
      default: transposeMatrix(pointer(UInt64.self) + offset, rows, columns, to: result.pointer() + offset)
      }
    }
    return result
  }
}

/// `to[column][row] = from[row][column]`, by blocks of columns that stay in the first-level cache.
@inline(__always)
private func transposeMatrix<T: BitwiseCopyable>(
  _ from: UnsafePointer<T>, _ rows: Int, _ columns: Int, to: UnsafeMutablePointer<T>
) {
  let block = 16
  for first in stride(from: 0, to: columns, by: block) {
    let last = min(first &+ block, columns)
    for row in 0..<rows {
      for column in first..<last { to[column &* rows &+ row] = from[row &* columns &+ column] }
    }
  }
}

/// The axes of a copy or broadcast with extents of 1 dropped and axes merged that every operand walks through evenly:
/// `strides[operand][axis]` in elements, outermost first, at least one axis.
package func mergedAxes(_ extents: [Int], _ strides: [[Int]]) -> (extents: [Int], strides: [[Int]]) {
  var merged: [Int] = [], mergedStrides = strides.map { _ in [Int]() }
  for axis in extents.indices where extents[axis] != 1 {
    if let last = merged.indices.last,
      strides.indices.allSatisfy({ mergedStrides[$0][last] == strides[$0][axis] * extents[axis] })
    {
      merged[last] *= extents[axis]
      for operand in strides.indices { mergedStrides[operand][last] = strides[operand][axis] }
    } else {
      merged.append(extents[axis])
      for operand in strides.indices { mergedStrides[operand].append(strides[operand][axis]) }
    }
  }
  if merged.isEmpty { return ([1], strides.map { _ in [1] }) }
  return (merged, mergedStrides)
}

/// Calls `body` with the offsets of every innermost row: all combinations of the outer axes.
package func forEachRow(_ extents: [Int], _ strides: [[Int]], _ body: (_ offsets: [Int]) -> Void) {
  guard !extents.contains(0) else { return }
  var index = Array(repeating: 0, count: extents.count), offsets = strides.map { _ in 0 }
  while true {
    body(offsets)
    var axis = extents.count - 2
    while axis >= 0 {
      index[axis] += 1
      for operand in strides.indices { offsets[operand] += strides[operand][axis] }
      if index[axis] < extents[axis] { break }
      for operand in strides.indices { offsets[operand] -= strides[operand][axis] * extents[axis] }
      index[axis] = 0
      axis -= 1
    }
    if axis < 0 { return }
  }
}

/// Copies a box of elements of `size` bytes between memories with any strides (0 repeats, negative reverses).
package func copyStrided(
  _ extents: [Int], size: Int, from: UnsafeRawPointer, _ fromStrides: [Int], to: UnsafeMutableRawPointer,
  _ toStrides: [Int]
) {
  // The walk is fastest when the target is written in memory order.
  let axes = extents.indices.sorted { (abs(toStrides[$0]), $1) > (abs(toStrides[$1]), $0) }
  let (extents, strides) = mergedAxes(
    axes.map { extents[$0] }, [axes.map { fromStrides[$0] }, axes.map { toStrides[$0] }])
  guard let count = extents.last, let fromStride = strides[0].last, let toStride = strides[1].last else {
    return
  }
  forEachRow(extents, strides) { offsets in
    let source = from + offsets[0] * size, target = to + offsets[1] * size
    if fromStride == 1, toStride == 1 {
      target.copyMemory(from: source, byteCount: count * size)
      return
    }
    switch size {
    case 1: copyRow(UInt8.self, count, source, fromStride, target, toStride)
    case 4: copyRow(UInt32.self, count, source, fromStride, target, toStride)
    default: copyRow(UInt64.self, count, source, fromStride, target, toStride)
    }
  }
}

@inline(__always)
private func copyRow<T: BitwiseCopyable>(
  _: T.Type, _ count: Int, _ from: UnsafeRawPointer, _ fromStride: Int, _ to: UnsafeMutableRawPointer,
  _ toStride: Int
) {
  let source = from.assumingMemoryBound(to: T.self), target = to.assumingMemoryBound(to: T.self)
  for i in 0..<count { target[i &* toStride] = source[i &* fromStride] }
}
