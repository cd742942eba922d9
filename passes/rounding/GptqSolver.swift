import Numerics

/// GPTQ (Frantar et al., arXiv 2210.17323): rounds the weights of one layer column by column and spreads each column's
/// error over the columns still to come, so that the layer's outputs on sample inputs change least.
struct GptqSolver {
  private let size: Int
  /// Columns by falling importance (`act-order`).
  private let order: [Int]
  /// Upper triangular U with H⁻¹ = Uᵀ U, in the order of `order`.
  private let factor: [Float]
  /// What was added to the diagonal.
  let added: Float

  /// - Parameters:
  ///   - hessian: `xᵀ x` over sample inputs, row-major, `size` x `size`.
  ///   - damping: the share of the mean diagonal that is added to it.
  /// - Returns: nil when the matrix stays singular under heavy damping.
  init?(hessian: [Float], size: Int, damping: Float) {
    self.size = size
    let diagonal = (0..<size).map { hessian[$0 * size + $0] }
    let mean = diagonal.reduce(0) { $0 + Double($1) } / Double(max(size, 1))
    guard mean.isFinite, mean > 0 else { return nil }
    order = (0..<size).sorted { (-diagonal[$0], $0) < (-diagonal[$1], $1) }
    var share = damping
    while share < 100 {
      if let factor = GptqSolver.inverseFactor(hessian, order, size, added: share * Float(mean)) {
        self.factor = factor
        added = share * Float(mean)
        return
      }
      share *= 10
    }
    return nil
  }

  /// R⁻¹ for H = R Rᵀ with R upper triangular; nil when a pivot is not positive.
  private static func inverseFactor(_ hessian: [Float], _ order: [Int], _ n: Int, added: Float) -> [Float]? {
    var r = [Float](repeating: 0, count: n * n)
    var u = [Float](repeating: 0, count: n * n)
    let isPositive = r.withUnsafeMutableBufferPointer { r -> Bool in
      guard let base = r.baseAddress else { return true }
      for j in stride(from: n - 1, through: 0, by: -1) {
        let rowJ = base + j * n, tail = n - 1 - j
        let pivot = hessian[order[j] * n + order[j]] + added - dot(rowJ + j + 1, rowJ + j + 1, tail)
        guard pivot > 0, pivot.isFinite else { return false }
        let root = pivot.squareRoot()
        rowJ[j] = root
        for i in 0..<j {
          let rowI = base + i * n
          rowI[j] = (hessian[order[i] * n + order[j]] - dot(rowI + j + 1, rowJ + j + 1, tail)) / root
        }
      }
      return true
    }
    guard isPositive else { return nil }
    u.withUnsafeMutableBufferPointer { u in
      r.withUnsafeBufferPointer { r in
        guard let out = u.baseAddress, let base = r.baseAddress else { return }
        for i in stride(from: n - 1, through: 0, by: -1) {
          let row = out + i * n, inverse = 1 / base[i * n + i]
          for k in i + 1..<n { addScaled(row + k, out + k * n + k, -base[i * n + k] * inverse, n - k) }
          row[i] = inverse
        }
      }
    }
    return u
  }

  /// Adds `W D (H + damping)⁻¹` to the rows of W: with D = Xᵀ X̂ - X̂ᵀ X̂ and H = X̂ᵀ X̂ these are the weights that bring
  /// the layer's outputs on X̂ nearest to those of the old weights on X.
  func refit(_ weights: inout [Float], rows: Int, difference: [Float]) {
    let n = size
    var step = [Float](repeating: 0, count: n), inner = step, shift = step
    for index in 0..<rows {
      for k in 0..<n { step[k] = 0 }
      step.withUnsafeMutableBufferPointer { step in
        difference.withUnsafeBufferPointer { difference in
          guard let y = step.baseAddress, let d = difference.baseAddress else { return }
          for k in 0..<n { addScaled(y, d + k * n, weights[index * n + k], n) }
        }
      }
      // In the order of the factor: shift = step Uᵀ U.
      for position in 0..<n { inner[position] = step[order[position]] }
      for position in 0..<n { shift[position] = 0 }
      shift.withUnsafeMutableBufferPointer { shift in
        inner.withUnsafeBufferPointer { inner in
          factor.withUnsafeBufferPointer { factor in
            guard let y = shift.baseAddress, let x = inner.baseAddress, let u = factor.baseAddress else {
              return
            }
            for j in 0..<n { addScaled(y + j, u + j * n + j, dot(x + j, u + j * n + j, n - j), n - j) }
          }
        }
      }
      for position in 0..<n { weights[index * n + order[position]] += shift[position] }
    }
  }

  /// Rounds the rows of a weight matrix [rows, size] in place to multiples of their steps.
  func round(
    _ weights: inout [Float], rows: Int, _ parameters: (Int) -> AffineParameters, _ range: ClosedRange<Int32>
  ) {
    var row = [Float](repeating: 0, count: size)
    for index in 0..<rows {
      let p = parameters(index)
      for position in 0..<size { row[position] = weights[index * size + order[position]] }
      row.withUnsafeMutableBufferPointer { row in
        factor.withUnsafeBufferPointer { factor in
          guard let w = row.baseAddress, let u = factor.baseAddress else { return }
          for i in 0..<size {
            let rounded = p.dequantize(p.quantize(w[i], range))
            let error = (w[i] - rounded) / u[i * size + i]
            w[i] = rounded
            addScaled(w + i + 1, u + i * size + i + 1, -error, size - i - 1)
          }
        }
      }
      for position in 0..<size { weights[index * size + order[position]] = row[position] }
    }
  }
}

/// Σ a b, in sixteen partial sums.
@inline(__always)
func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Float {
  var sums = (SIMD8<Float>.zero, SIMD8<Float>.zero), index = 0
  while index + 16 <= count {
    let a0 = UnsafeRawPointer(a + index).loadUnaligned(as: SIMD8<Float>.self)
    let b0 = UnsafeRawPointer(b + index).loadUnaligned(as: SIMD8<Float>.self)
    let a1 = UnsafeRawPointer(a + index + 8).loadUnaligned(as: SIMD8<Float>.self)
    let b1 = UnsafeRawPointer(b + index + 8).loadUnaligned(as: SIMD8<Float>.self)
    sums.0 += a0 * b0
    sums.1 += a1 * b1
    index += 16
  }
  var total = (sums.0 + sums.1).sum()
  while index < count {
    total += a[index] * b[index]
    index += 1
  }
  return total
}

/// y += factor x
@inline(__always)
func addScaled(
  _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ factor: Float, _ count: Int
) {
  for index in 0..<count { y[index] += factor * x[index] }
}
