import Glibc
import IR
import Numerics

extension EvaluationContext {
  func reduce(
    _ function: Reduce.Function, _ axes: [Int], _ operands: inout [Tensor], _ result: Result
  ) -> Tensor {
    let x = operands[0]
    guard x.element == .f32 else { return integerReduce(function, axes, x, result) }
    if axes == [2, 3], function == .mean || function == .sum, x.order == .channelsLast {
      return spatialSum(x, result, isMean: function == .mean)
    }
    let (rows, length) = rowsToReduce(x, axes), y = make(result)
    operands[0] = rows
    let source = rows.pointer(Float.self), target = y.pointer(Float.self)
    for i in 0..<y.count {
      let row = source + i * length
      switch function {
      case .mean, .sum:
        let sum = sum(row, length)
        target[i] = Float(function == .mean ? sum / Double(length) : sum)
      case .l2:
        var sum = 0.0
        for j in 0..<length { sum += Double(row[j]) * Double(row[j]) }
        target[i] = Float(sum.squareRoot())
      case .product:
        var product: Float = 1
        for j in 0..<length { product *= row[j] }
        target[i] = product
      case .maximum:
        var best = -Float.infinity
        for j in 0..<length { best = row[j] > best ? row[j] : best }
        target[i] = best
      case .minimum:
        var best = Float.infinity
        for j in 0..<length { best = row[j] < best ? row[j] : best }
        target[i] = best
      }
    }
    return y
  }

  /// Sums in blocks: exact enough and fast.
  private func sum(_ row: UnsafePointer<Float>, _ count: Int) -> Double {
    var total = 0.0
    for start in stride(from: 0, to: count, by: 64) {
      var block: Float = 0
      for j in start..<min(start &+ 64, count) { block += row[j] }
      total += Double(block)
    }
    return total
  }

  /// The tensor with the reduced axes moved to the end, and the number of elements that each result takes.
  private func rowsToReduce(_ x: Tensor, _ axes: [Int]) -> (Tensor, Int) {
    let kept = x.shape.indices.filter { !axes.contains($0) }
    let length = axes.reduce(1) { $0 * x.shape[$1] }
    if x.order == .rowMajor, axes == Array(kept.count..<x.shape.count) { return (x, length) }
    let permutation = kept + axes, shape = permutation.map { x.shape[$0] }
    let rows = Tensor(shape, x.element, pool: pool)
    copyStrided(
      shape, size: x.element.sizeInBytes, from: x.rawPointer, permutation.map { x.strides[$0] },
      to: rows.rawPointer,
      Tensor.strides(shape, .rowMajor))
    return (rows, length)
  }

  private func spatialSum(_ x: Tensor, _ result: Result, isMean: Bool) -> Tensor {
    let y = make(result), channels = x.shape[1], area = x.shape[2] * x.shape[3]
    let factor = isMean ? 1 / Float(max(area, 1)) : 1
    for sample in 0..<x.shape[0] {
      let source = x.pointer(Float.self) + sample * area * channels,
        target = y.pointer(Float.self) + sample * channels
      for c in 0..<channels { target[c] = 0 }
      for pixel in 0..<area {
        let row = source + pixel * channels
        for c in 0..<channels { target[c] += row[c] }
      }
      for c in 0..<channels { target[c] *= factor }
    }
    return y
  }

  private func integerReduce(
    _ function: Reduce.Function, _ axes: [Int], _ x: Tensor, _ result: Result
  ) -> Tensor {
    let (rows, length) = rowsToReduce(x, axes), values = rows.integers
    let reduced = (0..<result.shape.reduce(1, *)).map { i -> Int in
      let row = values[(i * length)..<((i + 1) * length)]
      switch function {
      case .mean: return length == 0 ? 0 : row.reduce(0, &+) / length
      case .sum: return row.reduce(0, &+)
      case .product: return row.reduce(1, &*)
      case .maximum: return row.max() ?? 0
      case .minimum: return row.min() ?? 0
      case .l2: return Int(row.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot())
      }
    }
    let y = make(result)
    store(reduced, y)
    return y
  }

  func softmax(_ op: Softmax, _ operands: inout [Tensor]) -> Tensor {
    let rank = operands[0].shape.count, axis = resolvedAxis(op.axis, rank: rank) ?? 0
    let axes = op.flatten ? Array(axis..<rank) : [axis]
    let x = operands[0]
    let (rows, length) = rowsToReduce(x, axes)
    guard length > 0 else { return x }
    operands[0] = rows
    let y = Tensor(rows.shape, .f32, pool: pool)
    for start in stride(from: 0, to: rows.count, by: length) {
      let row = rows.pointer(Float.self) + start, target = y.pointer(Float.self) + start
      guard op.isLogarithmic else {
        normalizedExponentials(row, target, count: length, stride: 1)
        continue
      }
      var largest = -Float.infinity
      for i in 0..<length { largest = row[i] > largest ? row[i] : largest }
      var sum = 0.0
      for i in 0..<length { sum += Double(expf(row[i] - largest)) }
      let logarithm = Float(log(sum))
      for i in 0..<length { target[i] = row[i] - largest - logarithm }
    }
    // Undo the permutation.
    let permutation = x.shape.indices.filter { !axes.contains($0) } + axes
    guard permutation != Array(0..<rank) else { return y }
    let result = Tensor(x.shape, .f32, pool: pool)
    copyStrided(
      y.shape, size: 4, from: y.rawPointer, y.strides, to: result.rawPointer,
      permutation.map { Tensor.strides(x.shape, .rowMajor)[$0] })
    return result
  }
}
