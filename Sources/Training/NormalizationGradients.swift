import Evaluator
import IR

/// Means and variances of channels over a shard.
struct ChannelMoments {
  var means: [Double]
  /// Biased: divided by the number of elements.
  var variances: [Double]
}

extension ShardPass {
  /// Batch normalization by the shard's own statistics, which the backward pass reads again.
  func normalizeByBatch(
    _ op: BatchNorm, _ step: Evaluator.Step, _ operands: [Tensor], _ steps: [Double]?
  ) throws(OneDNNError) -> Tensor {
    let x = operands[0], scale = operands[1].floats, bias = operands[2].floats
    if x.shape.count == 4 {
      let result = try normalizeByOneDNN(op, x, scale, bias)
      batchMoments[step.id] = result.moments
      guard let steps else { return result.tensor }
      let (factors, offsets) = affine(op, result.moments, scale, bias)
      let rounded = context.roundedShifts(offsets, factors, steps)
      add(zip(rounded, offsets).map { $0 - $1 }, to: result.tensor)
      return result.tensor
    }
    let moments = channelMoments(x)
    let (factors, offsets) = affine(op, moments, scale, bias)
    batchMoments[step.id] = moments
    return combined(
      x, factors, nil, [], steps.map { context.roundedShifts(offsets, factors, $0) } ?? offsets)
  }

  /// What a normalization multiplies channels by, and then adds.
  private func affine(
    _ op: BatchNorm, _ moments: ChannelMoments, _ scale: [Float], _ bias: [Float]
  ) -> (factors: [Float], offsets: [Float]) {
    let factors = moments.variances.indices.map {
      scale[$0] / Float((moments.variances[$0] + Double(op.epsilon)).squareRoot())
    }
    return (factors, factors.indices.map { bias[$0] - Float(moments.means[$0]) * factors[$0] })
  }

  /// Gradients of x, scale, bias, mean and variance; the latter two are constant where the batch gives its own.
  func batchNormalization(_ op: BatchNorm, _ call: Call, _ gradient: Tensor) throws(OneDNNError) -> [Tensor?]
  {
    let x = call.operand(0), gradient = gradient.ordered(x.order, pool: pool)
    let own = call.step.usesBatchStatistics ? batchMoments[call.step.step.id] : nil
    let moments =
      own
      ?? ChannelMoments(
        means: call.operand(3).floats.map { Double($0) }, variances: call.operand(4).floats.map { Double($0) }
      )
    let channels = moments.means.count, scale = call.operand(1).floats
    if own != nil, x.shape.count == 4 {
      let result = try differentiateByOneDNN(op, x, gradient, scale, moments)
      let still = Tensor([channels], [Float](repeating: 0, count: channels))
      return [result.x, result.scale, result.bias, still, still]
    }
    let inverses = moments.variances.map { 1 / ($0 + Double(op.epsilon)).squareRoot() }
    let factors = (0..<channels).map { Double(scale[$0]) * inverses[$0] }
    let sums = channelSums(gradient)
    // Sums of gradient * (x - mean).
    let products = channelProducts(gradient, x, moments.means)
    func parameter(_ index: Int, _ value: (Int) -> Double) -> Tensor? {
      call.needs(index) ? Tensor([channels], (0..<channels).map { Float(value($0)) }) : nil
    }
    var results: [Tensor?] = [
      nil, parameter(1) { products[$0] * inverses[$0] }, parameter(2) { sums[$0] }, nil, nil,
    ]
    guard own != nil else {
      if call.needs(0) { results[0] = combined(gradient, factors.map { Float($0) }, nil, [], []) }
      results[3] = parameter(3) { -factors[$0] * sums[$0] }
      results[4] = parameter(4) { -0.5 * factors[$0] * inverses[$0] * inverses[$0] * products[$0] }
      return results
    }
    results[3] = parameter(3) { _ in 0 }
    results[4] = parameter(4) { _ in 0 }
    if call.needs(0) {
      // factor * (g - mean(g) - (x - mean) * mean(g * (x - mean)) / (variance + epsilon))
      let count = Double(max(x.count / max(channels, 1), 1))
      let slopes = (0..<channels).map { -factors[$0] * products[$0] * inverses[$0] * inverses[$0] / count }
      let offsets = (0..<channels).map { -factors[$0] * sums[$0] / count - slopes[$0] * moments.means[$0] }
      results[0] = combined(
        gradient, factors.map { Float($0) }, x, slopes.map { Float($0) }, offsets.map { Float($0) })
    }
    return results
  }

  func layerNormalization(_ op: LayerNorm, _ call: Call, _ gradient: Tensor) -> [Tensor?] {
    let shape = call.shapes[0], axis = resolvedAxis(op.axis, rank: shape.count) ?? 0
    let normalized = Array(shape[axis...]), length = normalized.reduce(1, *)
    let x = call.operand(0).rowMajor(), gradient = gradient.rowMajor()
    let scale = context.broadcast(call.operand(1), normalized)
    let dx = Tensor(shape, .f32, pool: pool), dScale = zeros(normalized), dBias = zeros(normalized)
    defer { keepAlive(x, gradient, scale) }
    let scales = scale.pointer(Float.self), scaleSums = dScale.pointer(Float.self)
    let biasSums = dBias.pointer(Float.self)
    for start in stride(from: 0, to: length > 0 ? x.count : 0, by: max(length, 1)) {
      let row = x.pointer(Float.self) + start, g = gradient.pointer(Float.self) + start
      let target = dx.pointer(Float.self) + start
      var sum = 0.0, squares = 0.0
      for i in 0..<length { sum += Double(row[i]) }
      let mean = sum / Double(length)
      for i in 0..<length { squares += (Double(row[i]) - mean) * (Double(row[i]) - mean) }
      let factor = 1 / (squares / Double(length) + Double(op.epsilon)).squareRoot()
      var gradientSum = 0.0, productSum = 0.0
      for i in 0..<length {
        let x = (Double(row[i]) - mean) * factor, gradient = Double(g[i]) * Double(scales[i])
        gradientSum += gradient
        productSum += gradient * x
        scaleSums[i] += g[i] * Float(x)
        biasSums[i] += g[i]
      }
      let gradientMean = gradientSum / Double(length), productMean = productSum / Double(length)
      for i in 0..<length {
        let x = (Double(row[i]) - mean) * factor
        target[i] = Float(factor * (Double(g[i]) * Double(scales[i]) - gradientMean - x * productMean))
      }
    }
    var results: [Tensor?] = [dx, call.needs(1) ? summed(dScale, to: call.shapes[1]) : nil]
    if call.shapes.count > 2 { results.append(call.needs(2) ? summed(dBias, to: call.shapes[2]) : nil) }
    return results
  }

  // MARK: Channels

  private func channelMoments(_ x: Tensor) -> ChannelMoments {
    let count = Double(max(x.count / max(x.shape[1], 1), 1))
    let means = channelSums(x).map { $0 / count }
    return ChannelMoments(means: means, variances: channelProducts(x, x, means).map { $0 / count })
  }

  /// Sums over all axes but the channels (axis 1).
  func channelSums(_ x: Tensor) -> [Double] {
    channelTotals(x) { base, _, _, index in base[index] }
  }

  /// Sums of `y * (x - mean)` over all axes but the channels; both in the same memory order.
  private func channelProducts(_ y: Tensor, _ x: Tensor, _ means: [Double]) -> [Double] {
    let other = x.pointer(Float.self), means = pixelRow(means.map { Float($0) })
    defer { keepAlive(x) }
    let isSquare = y.pointer(Float.self) == other
    return means.withUnsafeBufferPointer { means in
      isSquare
        ? channelTotals(y) { y, _, channel, i in (y[i] - means[channel]) * (y[i] - means[channel]) }
        : channelTotals(y) { y, offset, channel, i in y[i] * (other[offset &+ i] - means[channel]) }
    }
  }

  /// How many pixels with their channels last make a row long enough for vectors.
  private func pixelsOfRow(_ channels: Int) -> Int { max(256 / max(channels, 1), 1) }
  /// What belongs to the channels, repeated for a row of pixels.
  private func pixelRow(_ values: [Float]) -> [Float] {
    Array(repeatElement(values, count: pixelsOfRow(values.count)).joined())
  }

  /// Sums `value(row, offset of row, channel, index)`: floats over a few rows, doubles over those sums. Channels count
  /// on from pixel to pixel of a row, as in `pixelRow`.
  @inline(__always)
  private func channelTotals(
    _ x: Tensor, _ value: (UnsafePointer<Float>, Int, Int, Int) -> Float
  ) -> [Double] {
    let channels = x.shape[1], area = x.shape[2...].reduce(1, *), base = UnsafePointer(x.pointer(Float.self))
    defer { keepAlive(x) }
    var totals = [Double](repeating: 0, count: channels)
    if x.order == .channelsLast || area == 1 {
      let width = pixelsOfRow(channels) * channels, count = x.count
      var sums = [Float](repeating: 0, count: width)
      sums.withUnsafeMutableBufferPointer { sums in
        for first in stride(from: 0, to: count, by: 16 * max(width, 1)) {
          for index in 0..<width { sums[index] = 0 }
          for offset in stride(from: first, to: min(first &+ 16 &* width, count), by: width) {
            let row = base + offset
            for index in 0..<min(width, count &- offset) { sums[index] += value(row, offset, index, index) }
          }
          for index in 0..<width { totals[index % channels] += Double(sums[index]) }
        }
      }
      return totals
    }
    for plane in 0..<x.shape[0] * channels {
      let offset = plane * area, row = base + offset, channel = plane % channels
      var total = 0.0
      for first in stride(from: 0, to: area, by: 64) {
        var block: Float = 0
        for index in first..<min(first &+ 64, area) { block += value(row, offset, channel, index) }
        total += Double(block)
      }
      totals[channel] += total
    }
    return totals
  }

  /// Adds a number to every channel of a tensor that nothing else refers to.
  private func add(_ values: [Float], to x: Tensor) {
    let channels = values.count, area = x.shape[2...].reduce(1, *), base = x.pointer(Float.self)
    defer { keepAlive(x) }
    if x.order == .channelsLast || area == 1 {
      let width = pixelsOfRow(channels) * channels, count = x.count
      pixelRow(values).withUnsafeBufferPointer { values in
        for offset in stride(from: 0, to: count, by: max(width, 1)) {
          let row = base + offset
          for i in 0..<min(width, count &- offset) { row[i] += values[i] }
        }
      }
      return
    }
    for plane in 0..<x.shape[0] * channels {
      let row = base + plane * area, value = values[plane % channels]
      for i in 0..<area { row[i] += value }
    }
  }

  /// `x * a[channel] + y * b[channel] + c[channel]`; without `y` or `c` where there are none.
  private func combined(_ x: Tensor, _ a: [Float], _ y: Tensor?, _ b: [Float], _ c: [Float]) -> Tensor {
    let result = Tensor(x.shape, .f32, order: x.order, pool: pool), target = result.pointer(Float.self)
    let channels = a.count, area = x.shape[2...].reduce(1, *), source = x.pointer(Float.self)
    let other = y?.pointer(Float.self) ?? source
    defer { keepAlive(x, y ?? x) }
    let b = b.isEmpty ? Array(repeating: 0, count: channels) : b
    let c = c.isEmpty ? Array(repeating: 0, count: channels) : c
    if x.order == .channelsLast || area == 1 {
      let width = pixelsOfRow(channels) * channels, count = x.count
      pixelRow(a).withUnsafeBufferPointer { a in
        pixelRow(b).withUnsafeBufferPointer { b in
          pixelRow(c).withUnsafeBufferPointer { c in
            for offset in stride(from: 0, to: count, by: max(width, 1)) {
              let from = source + offset, second = other + offset, to = target + offset
              for i in 0..<min(width, count &- offset) { to[i] = from[i] * a[i] + second[i] * b[i] + c[i] }
            }
          }
        }
      }
      return result
    }
    for plane in 0..<x.shape[0] * channels {
      let channel = plane % channels, from = source + plane * area, second = other + plane * area
      let to = target + plane * area, a = a[channel], b = b[channel], c = c[channel]
      for i in 0..<area { to[i] = from[i] * a + second[i] * b + c }
    }
    return result
  }
}
