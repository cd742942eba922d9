import IR

extension EvaluationContext {
  func maximumPool(_ op: MaxPool, _ operands: inout [Tensor], _ result: Result) -> Tensor {
    operands[0] = operands[0].ordered(.channelsLast, pool: pool)
    let x = operands[0], y = make(result, order: .channelsLast)
    switch x.element {
    case .f32: maximum(Float.self, op.window, x, y, lowest: -.infinity)
    case .i64: maximum(Int64.self, op.window, x, y, lowest: .min)
    case .i32: maximum(Int32.self, op.window, x, y, lowest: .min)
    case .i8: maximum(Int8.self, op.window, x, y, lowest: .min)
    case .u8, .bool: maximum(UInt8.self, op.window, x, y, lowest: .min)
    case .quantized(let type):
      if type.isSigned {
        maximum(Int8.self, op.window, x, y, lowest: .min)
      } else {
        maximum(UInt8.self, op.window, x, y, lowest: .min)
      }
    }
    return y
  }

  @inline(__always)
  private func maximum<T: Comparable & BitwiseCopyable>(
    _: T.Type, _ window: Window, _ x: Tensor, _ y: Tensor, lowest: T
  ) {
    let channels = x.shape[1], target = y.pointer(T.self)
    forEachWindow(window, x, y) { output, inputs in
      let row = target + output
      for c in 0..<channels { row[c] = lowest }
      for input in inputs {
        let source = x.pointer(T.self) + input
        for c in 0..<channels { row[c] = source[c] > row[c] ? source[c] : row[c] }
      }
    }
  }

  func averagePool(_ op: AveragePool, _ operands: inout [Tensor], _ result: Result) -> Tensor {
    operands[0] = operands[0].ordered(.channelsLast, pool: pool)
    let x = operands[0], y = make(result, order: .channelsLast), channels = x.shape[1]
    let source = x.pointer(Float.self), target = y.pointer(Float.self)
    let rows = paddedCounts(op.window, 0, x.shape[2], y.shape[2]),
      columns = paddedCounts(op.window, 1, x.shape[3], y.shape[3])
    var position = 0
    forEachWindow(op.window, x, y) { output, inputs in
      let row = target + output
      for c in 0..<channels { row[c] = 0 }
      for input in inputs {
        for c in 0..<channels { row[c] += source[input &+ c] }
      }
      let padded = rows[position / columns.count % rows.count] * columns[position % columns.count]
      let factor = 1 / Float(max(op.countPads ? padded : inputs.count, 1))
      for c in 0..<channels { row[c] *= factor }
      position += 1
    }
    return y
  }

  /// How many positions of every window along an axis lie within the padded image (a ceiling may leave it).
  package func paddedCounts(_ window: Window, _ axis: Int, _ input: Int, _ output: Int) -> [Int] {
    (0..<output).map { index in
      let start = index * window.strides[axis] - window.pads[axis]
      return max(min(start + window.kernel[axis], input + window.pads[axis + 2]) - start, 0)
    }
  }

  /// Calls `body` for every output pixel, in order, with its offset and the offsets of the window's pixels within the
  /// image; both tensors are channels last.
  package func forEachWindow(
    _ window: Window, _ x: Tensor, _ y: Tensor, _ body: (_ output: Int, _ inputs: [Int]) -> Void
  ) {
    let channels = x.shape[1], height = x.shape[2], width = x.shape[3]
    var inputs: [Int] = [], output = 0
    for sample in 0..<x.shape[0] {
      for row in 0..<y.shape[2] {
        for column in 0..<y.shape[3] {
          inputs.removeAll(keepingCapacity: true)
          for i in 0..<window.kernel[0] {
            let h = row * window.strides[0] - window.pads[0] + i * window.dilations[0]
            guard h >= 0, h < height else { continue }
            for j in 0..<window.kernel[1] {
              let w = column * window.strides[1] - window.pads[1] + j * window.dilations[1]
              if w >= 0, w < width { inputs.append(((sample * height + h) * width + w) * channels) }
            }
          }
          body(output, inputs)
          output += channels
        }
      }
    }
  }
}
