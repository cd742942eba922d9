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

@Test func transposedProductMatchesTheLoop() throws {
  let (rows, columns) = (37, 11)
  let a = correlatedInputs(rows: rows, columns: columns, seed: 1),
    b = correlatedInputs(rows: rows, columns: columns, seed: 2)
  let product = try transposedProduct(a, b, rows: rows, columns: columns)
  for (x, y) in zip(product, naiveProduct(a, b, rows, columns)) { #expect(abs(x - y) < 1e-3) }
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
