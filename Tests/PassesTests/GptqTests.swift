import Evaluator
import Numerics
import Support
import Testing

@testable import Passes

/// Correlated inputs, on which rounding to nearest is far from the best.
private func correlatedInputs(rows: Int, columns: Int, seed: UInt64) -> [Float] {
  var random = SeededRandom(seed: seed)
  func number() -> Float { Float(random.below(2001)) / 1000 - 1 }
  var result: [Float] = []
  for _ in 0..<rows {
    let common = 3 * number()
    for _ in 0..<columns { result.append(common + number()) }
  }
  return result
}

private func naiveProduct(_ a: [Float], _ b: [Float], _ rows: Int, _ columns: Int) -> [Float] {
  (0..<columns * columns).map { index in
    (0..<rows).reduce(Float(0)) { $0 + a[$1 * columns + index / columns] * b[$1 * columns + index % columns] }
  }
}

/// Σ over rows of (x · (w - ŵ))².
private func outputError(_ x: [Float], _ w: [Float], _ rounded: [Float], _ rows: Int) -> Double {
  let columns = w.count
  return (0..<rows).reduce(0.0) { sum, row in
    let difference = (0..<columns).reduce(0.0) {
      $0 + Double(x[row * columns + $1]) * Double(w[$1] - rounded[$1])
    }
    return sum + difference * difference
  }
}

@Test func transposedProductsAreAddedToTheSum() throws {
  // Two blocks of the middle columns of wider matrices.
  let (rows, columns, stride) = (37, 5, 11)
  let a = correlatedInputs(rows: rows, columns: stride, seed: 1),
    b = correlatedInputs(rows: rows, columns: stride, seed: 2)
  var sum = [Float](repeating: 1, count: columns * columns)
  try a.withUnsafeBufferPointer { a in
    try b.withUnsafeBufferPointer { b in
      let (a, b) = (try #require(a.baseAddress), try #require(b.baseAddress))
      for (first, count) in [(0, 20), (20, 17)] {
        let start = first * stride + 3
        try addTransposedProduct(
          a + start, b + start, rows: count, columns: columns, stride: stride, to: &sum)
      }
    }
  }
  for i in 0..<columns {
    for j in 0..<columns {
      let expected = (0..<rows).reduce(Float(1)) { $0 + a[$1 * stride + 3 + i] * b[$1 * stride + 3 + j] }
      #expect(abs(sum[i * columns + j] - expected) < 1e-3)
    }
  }
}

@Test(arguments: [UInt64(1), 2, 3, 4]) func gptqBeatsRoundingToNearest(seed: UInt64) throws {
  let (rows, columns) = (200, 24)
  let x = correlatedInputs(rows: rows, columns: columns, seed: seed)
  var random = SeededRandom(seed: seed &+ 100)
  let outputs = 16
  let weights = (0..<outputs * columns).map { _ in Float(random.below(2001)) / 1000 - 1 }
  let form = QuantizationForm(.bits(3), .channel, .symmetric)
  let parameters = AffineParameters(covering: -1, 1, form: form, role: .weight),
    range = form.storedRange(.weight)
  let solver = try #require(
    GptqSolver(hessian: naiveProduct(x, x, rows, columns), size: columns, damping: 0.001))
  var rounded = weights
  solver.round(&rounded, rows: outputs, { _ in parameters }, range)
  let nearest = weights.map { parameters.dequantize(parameters.quantize($0, range)) }
  for weight in rounded {
    #expect(parameters.dequantize(parameters.quantize(weight, range)) == weight, "off the grid")
  }
  func total(_ candidate: [Float]) -> Double {
    (0..<outputs).reduce(0.0) { sum, output in
      let part = output * columns..<(output + 1) * columns
      return sum + outputError(x, Array(weights[part]), Array(candidate[part]), rows)
    }
  }
  #expect(total(rounded) < 0.5 * total(nearest))
}

@Test func refitReproducesOutputsOnChangedInputs() throws {
  // Inputs scaled by a half: the refitted weights are twice the old ones, up to the damping.
  let (rows, columns) = (300, 8)
  let x = correlatedInputs(rows: rows, columns: columns, seed: 9), seen = x.map { $0 / 2 }
  let hessian = naiveProduct(seen, seen, rows, columns)
  let difference = zip(naiveProduct(x, seen, rows, columns), hessian).map { $0 - $1 }
  let solver = try #require(GptqSolver(hessian: hessian, size: columns, damping: 1e-5))
  let weights: [Float] = [1, -1, 0.5, 0.25, 2, -0.75, 0, 1]
  var refitted = weights
  solver.refit(&refitted, rows: 1, difference: difference)
  for (old, new) in zip(weights, refitted) { #expect(abs(new - 2 * old) < 0.05) }
}

@Test func singularInputsGiveNoSolver() {
  #expect(GptqSolver(hessian: [0, 0, 0, 0], size: 2, damping: 0.01) == nil)
}

/// The error behind the descent is no larger than before, and no single step of any weight lowers it further.
@Test(arguments: [UInt64(1), 2, 3, 4, 5]) func descentEndsWhereNoSingleStepHelps(seed: UInt64) throws {
  let (rows, columns) = (120, 12)
  let x = correlatedInputs(rows: rows, columns: columns, seed: seed)
  let hessian = naiveProduct(x, x, rows, columns)
  var random = SeededRandom(seed: seed &+ 50)
  let target = (0..<columns).map { _ in Float(random.below(2001)) / 1000 - 1 }
  let form = QuantizationForm(.bits(3), .channel, .symmetric)
  var parameters = AffineParameters(covering: -1, 1, form: form, role: .weight)
  let range = form.storedRange(.weight), given = parameters
  let nearest = target.map { parameters.dequantize(parameters.quantize($0, range)) }
  var weights = nearest
  let descent = RoundingDescent(hessian: hessian, size: columns, damping: 0, range)
  descent.improve(&weights, target, &parameters, fitsStep: false, sweeps: 1000)
  #expect(parameters == given)
  let error = outputError(x, target, weights, rows)
  #expect(error <= outputError(x, target, nearest, rows))
  for index in weights.indices {
    for step in [-1, 1] as [Float] {
      var other = weights
      other[index] += step * parameters.scale
      guard abs(other[index]) <= Float(range.upperBound) * parameters.scale * 1.001,
        other[index] >= Float(range.lowerBound) * parameters.scale * 1.001
      else { continue }
      #expect(outputError(x, target, other, rows) >= error * 0.999)
    }
  }
  descent.improve(&weights, target, &parameters, fitsStep: true, sweeps: 20)
  #expect(outputError(x, target, weights, rows) <= error * 1.001)
  for weight in weights {
    let level = weight / parameters.scale
    #expect(abs(level - level.rounded()) < 1e-3 && range.contains(Int32(level.rounded())))
  }
}

@Test func fittedScalesMinimizeTheOutputError() {
  let (rows, columns) = (300, 12)
  let x = correlatedInputs(rows: rows, columns: columns, seed: 3)
  var random = SeededRandom(seed: 4)
  let weights = (0..<columns).map { _ in Float(random.below(2001)) / 1000 - 1 }
  let form = QuantizationForm(.bits(2), .channel, .symmetric)
  let parameters = AffineParameters(covering: -1, 1, form: form, role: .weight)
  let rounded = weights.map { parameters.dequantize(parameters.quantize($0, form.storedRange(.weight))) }
  var fit = ScaleFit()
  fit.add(weights[...], rounded[...], naiveProduct(x, x, rows, columns))
  let best = Float(fit.ratio ?? 0)
  #expect(best > 0)
  func error(_ ratio: Float) -> Double { outputError(x, weights, rounded.map { $0 * ratio }, rows) }
  for ratio in [best * 0.99, best * 1.01, 1] where abs(ratio - best) > 1e-3 {
    #expect(error(best) < error(ratio), "\(best) beside \(ratio)")
  }
}

@Test func nothingButZerosHasNoFit() {
  var fit = ScaleFit()
  fit.add([1, 2], [0, 0], [1, 0, 0, 1])
  #expect(fit.ratio == nil)
}
