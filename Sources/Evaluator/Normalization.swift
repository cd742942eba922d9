import IR

extension EvaluationContext {
  func batchNormalization(
    _ op: BatchNorm, _ operands: inout [Tensor], _ result: Result, _ steps: [Double]?
  ) -> Tensor {
    let y = overwrite(&operands), x = operands[0], channels = x.shape[1]
    let scale = operands[1].pointer(Float.self), bias = operands[2].pointer(Float.self)
    let mean = operands[3].pointer(Float.self), variance = operands[4].pointer(Float.self)
    let factors = (0..<channels).map { scale[$0] / (variance[$0] + op.epsilon).squareRoot() }
    var offsets = (0..<channels).map { bias[$0] - mean[$0] * factors[$0] }
    if mode == .quantized, let steps { offsets = roundedShifts(offsets, factors, steps) }
    let area = x.shape[2...].reduce(1, *)
    switch x.order {
    case .channelsLast:
      scaleChannelsLast(x.pointer(), y.pointer(), pixels: x.shape[0] * area, factors, offsets)
    case .rowMajor:
      for plane in 0..<x.shape[0] * channels {
        let from = x.pointer(Float.self) + plane * area, to = y.pointer(Float.self) + plane * area
        let factor = factors[plane % channels], offset = offsets[plane % channels]
        for i in 0..<area { to[i] = from[i] * factor + offset }
      }
    }
    return y
  }

  /// The shifts of a batch normalization as the bias of the convolution before it can hold them: in multiples of `|factor| *
  /// step`.
  package func roundedShifts(_ shifts: [Float], _ factors: [Float], _ steps: [Double]) -> [Float] {
    shifts.indices.map { channel in
      let unit = abs(Double(factors[channel])) * steps[steps.count == 1 ? 0 : channel]
      let levels = (Double(shifts[channel]) / unit).rounded(.toNearestOrEven)
      return unit > 0 && levels.isFinite ? Float(levels * unit) : shifts[channel]
    }
  }

  /// `to[p][c] = from[p][c] * factors[c] + offsets[c]`, by rows of several pixels: few channels would make short loops.
  private func scaleChannelsLast(
    _ from: UnsafePointer<Float>, _ to: UnsafeMutablePointer<Float>, pixels: Int, _ factors: [Float],
    _ offsets: [Float]
  ) {
    let repeats = min(max(256 / factors.count, 1), max(pixels, 1)), row = repeats * factors.count
    let total = pixels * factors.count
    Array(repeatElement(factors, count: repeats).joined()).withUnsafeBufferPointer { factors in
      Array(repeatElement(offsets, count: repeats).joined()).withUnsafeBufferPointer { offsets in
        for start in stride(from: 0, to: total, by: row) {
          let source = from + start, target = to + start
          for i in 0..<min(row, total &- start) { target[i] = source[i] * factors[i] + offsets[i] }
        }
      }
    }
  }

  func layerNormalization(_ op: LayerNorm, _ operands: inout [Tensor]) -> Tensor {
    operands[0] = operands[0].ordered(.rowMajor, pool: pool)
    let axis = resolvedAxis(op.axis, rank: operands[0].shape.count) ?? 0
    let normalized = Array(operands[0].shape[axis...]), length = normalized.reduce(1, *)
    for i in 1..<operands.count { operands[i] = broadcast(operands[i], normalized) }
    let y = overwrite(&operands), x = operands[0], scale = operands[1].pointer(Float.self)
    let bias = operands.count > 2 ? operands[2].pointer(Float.self) : nil
    guard length > 0 else { return y }
    for start in stride(from: 0, to: x.count, by: length) {
      let row = x.pointer(Float.self) + start, target = y.pointer(Float.self) + start
      var sum = 0.0, squares = 0.0
      for i in 0..<length { sum += Double(row[i]) }
      let mean = sum / Double(length)
      for i in 0..<length { squares += (Double(row[i]) - mean) * (Double(row[i]) - mean) }
      let factor = Float(1 / (squares / Double(length) + Double(op.epsilon)).squareRoot()),
        center = Float(mean)
      for i in 0..<length { target[i] = (row[i] - center) * factor * scale[i] + (bias?[i] ?? 0) }
    }
    return y
  }
}
