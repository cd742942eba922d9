import IR
import Numerics

/// An index that lies outside its axis: only known when the data are.
struct IndexError: Error, CustomStringConvertible {
  let description: String
}

extension EvaluationContext {
  func reshape(_ operands: inout [Tensor], _ result: Result) -> Tensor {
    var y = operands[0].ordered(.rowMajor, pool: pool)
    y.shape = result.shape
    return y
  }

  func transpose(_ op: Transpose, _ operands: inout [Tensor], _ result: Result) -> Tensor {
    let x = operands[0]
    // Some permutations only change what the memory order is called.
    let permuted = op.permutation.map { x.strides[$0] }
    for order in [Tensor.Order.rowMajor, .channelsLast] where permuted == Tensor.strides(result.shape, order)
    {
      var y = x
      y.shape = result.shape
      y.order = result.shape.count == 4 ? order : .rowMajor
      return y
    }
    let y = make(result)
    copyStrided(
      result.shape, size: x.element.sizeInBytes, from: x.rawPointer, permuted, to: y.rawPointer, y.strides)
    return y
  }

  func concatenate(_ op: Concat, _ operands: inout [Tensor], _ result: Result) -> Tensor {
    let axis = resolvedAxis(op.axis, rank: result.shape.count) ?? 0
    let y = make(result, order: operands[0].order), size = result.element.sizeInBytes
    var position = 0
    for x in operands {
      copyStrided(
        x.shape, size: size, from: x.rawPointer, x.strides,
        to: y.rawPointer + position * y.strides[axis] * size, y.strides)
      position += x.shape[axis]
    }
    return y
  }

  func split(_ op: Split, _ operands: inout [Tensor], _ shapes: [[Int]]) -> [Tensor] {
    let x = operands[0], axis = resolvedAxis(op.axis, rank: x.shape.count) ?? 0
    var position = 0
    return shapes.map { shape in
      defer { position += shape[axis] }
      return part(x, shape, offset: position * x.strides[axis], x.strides)
    }
  }

  /// A box of `x` that starts `offset` elements in and walks with `strides`.
  private func part(_ x: Tensor, _ shape: [Int], offset: Int, _ strides: [Int]) -> Tensor {
    let y = Tensor(shape, x.element, order: x.order, pool: pool), size = x.element.sizeInBytes
    copyStrided(shape, size: size, from: x.rawPointer + offset * size, strides, to: y.rawPointer, y.strides)
    return y
  }

  /// - Requires: the slice is resolved.
  func slice(_ op: Slice, _ operands: inout [Tensor], _ result: Result) throws(VerificationError) -> Tensor {
    let x = operands[0]
    var strides = x.strides, offset = 0
    for range in try op.ranges(of: Shape(x.shape)) where range.count > 0 {
      offset += range.start * strides[range.axis]
      strides[range.axis] *= range.step
    }
    return part(x, result.shape, offset: offset, strides)
  }

  func pad(_ op: Pad, _ types: [Operand], _ operands: inout [Tensor], _ result: Result) -> Tensor {
    let x = operands[0], rank = x.shape.count, size = x.element.sizeInBytes
    let pads = types.count > 1 ? types[1].integers ?? [] : op.pads
    guard op.mode == .constant || x.count == 0 else {
      var y = x.ordered(.rowMajor, pool: pool)
      for axis in 0..<rank where pads[axis] != 0 || pads[axis + rank] != 0 {
        let extent = x.shape[axis]
        y = take(y, axis, (0..<result.shape[axis]).map { mirrored($0 - pads[axis], extent, op.mode) })
      }
      return y
    }
    let y = make(result, order: x.order)
    let value = operands.count > 2 ? operands[2].floats.first ?? 0 : op.value
    fill(y, value)
    // The box of `x` that is seen, and where it goes; negative pads cut.
    var extents: [Int] = [], from = 0, to = 0
    for axis in 0..<rank {
      let first = max(-pads[axis], 0), last = min(x.shape[axis], result.shape[axis] - pads[axis])
      extents.append(max(last - first, 0))
      from += first * x.strides[axis]
      to += (first + pads[axis]) * y.strides[axis]
    }
    if !extents.contains(0) {
      copyStrided(
        extents, size: size, from: x.rawPointer + from * size, x.strides, to: y.rawPointer + to * size,
        y.strides)
    }
    return y
  }

  /// The index within an axis of `extent` that stands in for `index` outside of it.
  private func mirrored(_ index: Int, _ extent: Int, _ mode: Pad.Mode) -> Int {
    switch mode {
    case .constant, .edge: return min(max(index, 0), max(extent - 1, 0))
    case .reflect:
      guard extent > 1 else { return 0 }
      let period = 2 * (extent - 1), position = ((index % period) + period) % period
      return position < extent ? position : period - position
    }
  }

  /// Fills with a real value, quantized where the type says so.
  private func fill(_ y: Tensor, _ value: Float) {
    let count = y.count
    switch y.element {
    case .f32: y.pointer(Float.self).update(repeating: value, count: count)
    case .i64:
      y.pointer(Int64.self).update(repeating: Int64(exactly: value.rounded(.towardZero)) ?? 0, count: count)
    case .i32:
      y.pointer(Int32.self).update(repeating: Int32(exactly: value.rounded(.towardZero)) ?? 0, count: count)
    case .u8:
      y.pointer(UInt8.self).update(repeating: UInt8(exactly: value.rounded(.towardZero)) ?? 0, count: count)
    case .i8:
      y.pointer(Int8.self).update(repeating: Int8(exactly: value.rounded(.towardZero)) ?? 0, count: count)
    case .bool: y.pointer(UInt8.self).update(repeating: value == 0 ? 0 : 1, count: count)
    case .quantized(let type):
      let range: ClosedRange<Int32> =
        type.isSigned
        ? -(1 << Int32(type.bits - 1))...(1 << Int32(type.bits - 1)) - 1 : 0...(1 << Int32(type.bits)) - 1
      let stored = AffineParameters(scale: type.scale ?? 1, zeroPoint: type.zeroPoint).quantize(value, range)
      y.pointer(UInt8.self).update(repeating: UInt8(truncatingIfNeeded: stored), count: count)
    }
  }

  func filled(_ op: ConstantOfShape, _ result: Result) -> Tensor {
    let y = make(result)
    fill(y, op.value)
    return y
  }

  func gather(_ op: Gather, _ operands: inout [Tensor], _ result: Result) throws(IndexError) -> Tensor {
    let x = operands[0].ordered(.rowMajor, pool: pool), axis = resolvedAxis(op.axis, rank: x.shape.count) ?? 0
    let extent = x.shape[axis]
    var indices: [Int] = []
    for index in operands[1].integers {
      let resolved = index < 0 ? index &+ extent : index
      guard (0..<extent).contains(resolved) else {
        throw IndexError(description: "index \(index) is outside axis \(axis) of extent \(extent)")
      }
      indices.append(resolved)
    }
    var y = take(x, axis, indices)
    y.shape = result.shape
    return y
  }

  /// The slices of a row-major tensor along `axis` at `indices`.
  func take(_ x: Tensor, _ axis: Int, _ indices: [Int]) -> Tensor {
    var shape = x.shape
    shape[axis] = indices.count
    let y = Tensor(shape, x.element, pool: pool)
    let inner = x.shape[(axis + 1)...].reduce(1, *) * x.element.sizeInBytes
    let outer = x.shape[..<axis].reduce(1, *)
    var target = y.rawPointer
    for i in 0..<outer {
      let source = x.rawPointer + i * x.shape[axis] * inner
      for index in indices {
        target.copyMemory(from: source + index * inner, byteCount: inner)
        target += inner
      }
    }
    return y
  }

  func expand(_ operands: inout [Tensor], _ result: Result) -> Tensor { broadcast(operands[0], result.shape) }

  func shape(_ op: ShapeOf, _ operands: inout [Tensor], _ result: Result) -> Tensor {
    let shape = operands[0].shape, rank = shape.count
    let start = min(max(op.start < 0 ? op.start + rank : op.start, 0), rank)
    return Tensor(result.shape, shape[start...].prefix(result.shape[0]).map { Int64($0) })
  }

  // MARK: Resize

  func resize(_ op: Resize, _ operands: inout [Tensor], _ result: Result) -> Tensor {
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    var y = operands[0]
    for axis in 2...3 {
      let taps = resizeTaps(op, from: operands[0].shape[axis], to: result.shape[axis])
      switch op.mode {
      case .nearest: y = take(y, axis, taps.map(\.low))
      case .linear: y = interpolate(y, axis, taps)
      }
    }
    return y
  }

  /// What every index of an axis resized from `input` to `output` elements is made of.
  package func resizeTaps(_ op: Resize, from input: Int, to output: Int) -> [ResizeTap] {
    (0..<output).map { index in
      let position = position(index, from: input, to: output, op.coordinates)
      switch op.mode {
      case .nearest:
        let nearest = min(max(rounded(position, op.rounding), 0), input - 1)
        return ResizeTap(low: nearest, high: nearest, weight: 0)
      case .linear:
        let lower = position.rounded(.down)
        return ResizeTap(
          low: min(max(Int(lower), 0), input - 1), high: min(max(Int(lower) + 1, 0), input - 1),
          weight: Float(position - lower))
      }
    }
  }

  /// Where the output index lies in the input.
  private func position(
    _ index: Int, from input: Int, to output: Int, _ coordinates: Resize.Coordinates
  ) -> Double {
    let scale = Double(output) / Double(input), x = Double(index)
    switch coordinates {
    case .halfPixel: return (x + 0.5) / scale - 0.5
    case .pytorchHalfPixel: return output > 1 ? (x + 0.5) / scale - 0.5 : 0
    case .asymmetric: return x / scale
    case .alignCorners: return output == 1 ? 0 : x * Double(input - 1) / Double(output - 1)
    }
  }
  private func rounded(_ x: Double, _ rounding: Resize.Rounding) -> Int {
    switch rounding {
    case .preferFloor: Int((x - 0.5).rounded(.up))
    case .preferCeil: Int((x + 0.5).rounded(.down))
    case .floor: Int(x.rounded(.down))
    case .ceil: Int(x.rounded(.up))
    }
  }

  /// Linear interpolation of a row-major f32 tensor along one axis.
  private func interpolate(_ x: Tensor, _ axis: Int, _ taps: [ResizeTap]) -> Tensor {
    var shape = x.shape
    let extent = shape[axis]
    shape[axis] = taps.count
    let y = Tensor(shape, x.element, pool: pool)
    let inner = x.shape[(axis + 1)...].reduce(1, *), outer = x.shape[..<axis].reduce(1, *)
    var target = y.pointer(Float.self)
    for i in 0..<outer {
      let source = x.pointer(Float.self) + i * extent * inner
      for tap in taps {
        let low = source + tap.low * inner, high = source + tap.high * inner, weight = tap.weight
        for j in 0..<inner { target[j] = low[j] * (1 - weight) + high[j] * weight }
        target += inner
      }
    }
    return y
  }
}

/// `(1 - weight)` of one element and `weight` of the next.
package struct ResizeTap: Sendable {
  package let low: Int
  package let high: Int
  package let weight: Float
}
