import Evaluator
import IR
import Support

extension ShardPass {
  func transpose(_ op: Transpose, _ call: Call, _ gradient: Tensor) -> Tensor {
    let result = Tensor(call.shapes[0], .f32, pool: pool)
    copyStrided(
      gradient.shape, size: 4, from: gradient.rawPointer, gradient.strides, to: result.rawPointer,
      op.permutation.map { result.strides[$0] })
    keepAlive(gradient)
    return result
  }

  func concatenate(_ op: Concat, _ call: Call, _ gradient: Tensor) -> [Tensor?] {
    let axis = resolvedAxis(op.axis, rank: gradient.shape.count) ?? 0
    var position = 0
    defer { keepAlive(gradient) }
    return call.shapes.indices.map { index in
      let shape = call.shapes[index], offset = position * gradient.strides[axis]
      position += shape[axis]
      guard call.needs(index) else { return nil }
      let part = Tensor(shape, .f32, order: gradient.order, pool: pool)
      copyStrided(
        shape, size: 4, from: gradient.rawPointer + offset * 4, gradient.strides, to: part.rawPointer,
        part.strides)
      return part
    }
  }

  func split(_ op: Split, _ call: Call, _ gradients: [Tensor]) -> Tensor {
    let axis = resolvedAxis(op.axis, rank: call.shapes[0].count) ?? 0
    let result = Tensor(call.shapes[0], .f32, order: gradients[0].order, pool: pool)
    var position = 0
    for gradient in gradients {
      copyStrided(
        gradient.shape, size: 4, from: gradient.rawPointer, gradient.strides,
        to: result.rawPointer + position * result.strides[axis] * 4, result.strides)
      keepAlive(gradient)
      position += gradient.shape[axis]
    }
    return result
  }

  func slice(_ op: Slice, _ call: Call, _ gradient: Tensor) throws(VerificationError) -> Tensor {
    let result = zeros(call.shapes[0], order: gradient.order)
    var strides = result.strides, offset = 0
    for range in try op.resolved(call.step.step.operandTypes).ranges(of: Shape(call.shapes[0]))
    where range.count > 0 {
      offset += range.start * strides[range.axis]
      strides[range.axis] *= range.step
    }
    copyStrided(
      gradient.shape, size: 4, from: gradient.rawPointer, gradient.strides,
      to: result.rawPointer + offset * 4,
      strides)
    keepAlive(gradient)
    return result
  }

  func pad(_ op: Pad, _ call: Call, _ gradient: Tensor) throws -> Tensor {
    guard op.mode == .constant else { return try scatter(call, gradient)[0] ?? zeros(call.shapes[0]) }
    let types = call.step.step.operandTypes
    let pads = types.count > 1 ? types[1].integers ?? [] : op.pads
    let result = zeros(call.shapes[0], order: gradient.order), rank = result.shape.count
    var extents: [Int] = [], from = 0, to = 0
    for axis in 0..<rank {
      let first = max(-pads[axis], 0), last = min(result.shape[axis], gradient.shape[axis] - pads[axis])
      extents.append(max(last - first, 0))
      from += (first + pads[axis]) * gradient.strides[axis]
      to += first * result.strides[axis]
    }
    if !extents.contains(0) {
      copyStrided(
        extents, size: 4, from: gradient.rawPointer + from * 4, gradient.strides,
        to: result.rawPointer + to * 4, result.strides)
    }
    keepAlive(gradient)
    return result
  }

  /// Of any operation that picks elements: it runs forward on their positions, and each gradient is added where its
  /// element came from.
  func scatter(_ call: Call, _ gradient: Tensor) throws -> [Tensor?] {
    let count = call.shapes[0].reduce(1, *)
    var step = call.step.step
    step.operandTypes[0].type.element = .i64
    step.resultTypes[0].element = .i64
    var operands = [Tensor(call.shapes[0], (0..<count).map { Int64($0) })]
    // Indices of gather are kept; other operations know theirs from the types.
    if step.operands.count > 1 { operands.append(call.operands[1] ?? Tensor([0], [Int64]())) }
    let positions = try context.evaluate(step, &operands)[0].rowMajor(), gradient = gradient.rowMajor()
    let result = zeros(call.shapes[0]), target = result.pointer(Float.self)
    let position = positions.pointer(Int64.self), g = gradient.pointer(Float.self)
    for i in 0..<gradient.count { target[Int(position[i])] += g[i] }
    keepAlive(positions, gradient)
    return call.shapes.indices.map { $0 == 0 ? result : nil }
  }

  func resize(_ op: Resize, _ call: Call, _ gradient: Tensor) -> Tensor {
    let shape = call.shapes[0], resized = call.resultShapes[0]
    let rows = context.resizeTaps(op, from: shape[2], to: resized[2])
    let columns = context.resizeTaps(op, from: shape[3], to: resized[3])
    let gradient = gradient.rowMajor(), result = zeros(shape)
    let g = gradient.pointer(Float.self), target = result.pointer(Float.self)
    defer { keepAlive(gradient) }
    for plane in 0..<shape[0] * shape[1] {
      let source = g + plane * resized[2] * resized[3], image = target + plane * shape[2] * shape[3]
      for (y, row) in rows.enumerated() {
        for (x, column) in columns.enumerated() {
          let value = source[y * resized[3] + x]
          for (h, vertical) in [(row.low, 1 - row.weight), (row.high, row.weight)] {
            image[h * shape[3] + column.low] += value * vertical * (1 - column.weight)
            image[h * shape[3] + column.high] += value * vertical * column.weight
          }
        }
      }
    }
    return result
  }
}
