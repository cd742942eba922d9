import Foundation
import IR
import Testing

@testable import Evaluator

@Suite("Poolings, reductions, normalizations")
struct PoolingTests {
  struct Case: Sendable {
    var kernel: [Int]
    var strides: [Int]
    var pads: [Int]
    var dilations = [1, 1]
    var ceilMode = false
  }
  static let cases = [
    Case(kernel: [2, 2], strides: [2, 2], pads: [0, 0, 0, 0]),
    Case(kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1]),
    Case(kernel: [3, 2], strides: [1, 2], pads: [1, 0, 0, 1]),
    Case(kernel: [3, 3], strides: [2, 2], pads: [0, 0, 1, 1], ceilMode: true),
    Case(kernel: [2, 2], strides: [1, 1], pads: [0, 0, 0, 0], dilations: [2, 2]),
  ]

  /// The window's elements within the image, and the number of its positions within the padded image.
  private func window(
    _ x: [Float], _ shape: [Int], _ index: [Int], _ test: Case
  ) -> (values: [Float], padded: Int) {
    var values: [Float] = [], padded = 0
    for i in 0..<test.kernel[0] {
      for j in 0..<test.kernel[1] {
        let h = index[2] * test.strides[0] - test.pads[0] + i * test.dilations[0]
        let w = index[3] * test.strides[1] - test.pads[1] + j * test.dilations[1]
        if h < shape[2] + test.pads[2], w < shape[3] + test.pads[3] { padded += 1 }
        if h >= 0, h < shape[2], w >= 0, w < shape[3] {
          values.append(x[position([index[0], index[1], h, w], shape)])
        }
      }
    }
    return (values, padded)
  }

  @Test(arguments: cases)
  func maximum(_ test: Case) throws {
    var random = SeededGenerator(8)
    let x = random.tensor([2, 5, 7, 8])
    var op = MaxPool()
    (op.kernel, op.strides, op.pads, op.dilations, op.ceilMode) = (
      test.kernel, test.strides, test.pads, test.dilations, test.ceilMode
    )
    let y = try evaluate(.maxPool(op), [x])[0]
    let xs = x.floats
    #expect(y.floats == indices(y.shape).map { window(xs, x.shape, $0, test).values.max() ?? -.infinity })
    let bytes = Tensor(x.shape, random.bytes(x.count))
    let z = try evaluate(.maxPool(op), [bytes])[0]
    let floats = bytes.floats
    #expect(z.floats == indices(z.shape).map { window(floats, x.shape, $0, test).values.max() ?? 0 })
  }

  @Test(arguments: cases.filter { $0.dilations == [1, 1] }, [false, true])
  func average(_ test: Case, countPads: Bool) throws {
    var random = SeededGenerator(9)
    let x = random.tensor([2, 5, 7, 8])
    var op = AveragePool()
    (op.kernel, op.strides, op.pads, op.ceilMode, op.countPads) = (
      test.kernel, test.strides, test.pads, test.ceilMode, countPads
    )
    let y = try evaluate(.averagePool(op), [x])[0]
    let xs = x.floats
    let expected = indices(y.shape).map { index -> Float in
      let (values, padded) = window(xs, x.shape, index, test)
      return values.reduce(0, +) / Float(countPads ? padded : values.count)
    }
    #expect(relativeError(y.floats, expected) < 1e-6)
  }

  @Test(arguments: [[2, 3], [1], [0, 2], [-1], []], [true, false])
  func reductions(axes: [Int], keeps: Bool) throws {
    var random = SeededGenerator(10)
    let x = random.tensor([2, 3, 4, 5]),
      reduced = axes.isEmpty ? [0, 1, 2, 3] : axes.map { $0 < 0 ? $0 + 4 : $0 }
    for function in Reduce.Function.allCases {
      var op = Reduce(function)
      (op.axes, op.keepDimensions) = (axes, keeps)
      let y = try evaluate(.reduce(op), [x])[0]
      let kept = (0..<4).filter { !reduced.contains($0) }
      var groups: [[Int]: [Double]] = [:]
      for index in indices(x.shape) {
        groups[kept.map { index[$0] }, default: []].append(Double(x.floats[position(index, x.shape)]))
      }
      let expected = indices(kept.map { x.shape[$0] }).map { key -> Float in
        let values = groups[key] ?? []
        switch function {
        case .mean: return Float(values.reduce(0, +) / Double(values.count))
        case .sum: return Float(values.reduce(0, +))
        case .maximum: return Float(values.max() ?? 0)
        case .minimum: return Float(values.min() ?? 0)
        case .product: return Float(values.reduce(1, *))
        case .l2: return Float(values.reduce(0) { $0 + $1 * $1 }.squareRoot())
        }
      }
      #expect(y.count == expected.count && y.shape.count == (keeps ? 4 : kept.count))
      #expect(relativeError(y.floats, expected) < 1e-5, "\(function)")
    }
  }

  @Test(arguments: [-1, 1, 2], [false, true])
  func softmaxes(axis: Int, flatten: Bool) throws {
    var random = SeededGenerator(11)
    let x = random.tensor([2, 3, 4, 5], -10...10), first = axis < 0 ? axis + 4 : axis
    for mnemonic in ["softmax", "log-softmax"] {
      var op = try #require(Softmax(mnemonic: mnemonic))
      (op.axis, op.flatten) = (axis, flatten)
      let y = try evaluate(.softmax(op), [x])[0]
      let axes = flatten ? Array(first..<4) : [first]
      func key(_ index: [Int]) -> [Int] { index.indices.map { axes.contains($0) ? 0 : index[$0] } }
      var sums: [[Int]: Double] = [:]
      for index in indices(x.shape) {
        sums[key(index), default: 0] += exp(Double(x.floats[position(index, x.shape)]))
      }
      let expected = indices(x.shape).map { index -> Float in
        let probability = exp(Double(x.floats[position(index, x.shape)])) / (sums[key(index)] ?? 1)
        return Float(mnemonic == "softmax" ? probability : log(probability))
      }
      #expect(relativeError(y.floats, expected) < 1e-5)
    }
  }

  @Test func normalizations() throws {
    var random = SeededGenerator(12)
    let x = random.tensor([2, 6, 3, 4])
    let parameters = [
      random.tensor([6]), random.tensor([6]), random.tensor([6]), random.tensor([6], 0.1...2),
    ]
    let y = try evaluate(.batchNorm(BatchNorm()), [x] + parameters)[0]
    let expected = indices(x.shape).map { index -> Float in
      let p = parameters.map { Double($0.floats[index[1]]) }
      return Float(
        (Double(x.floats[position(index, x.shape)]) - p[2]) / (p[3] + 1e-5).squareRoot() * p[0] + p[1])
    }
    #expect(relativeError(y.floats, expected) < 1e-5)

    let scale = random.tensor([4]), bias = random.tensor([4])
    let z = try evaluate(.layerNorm(LayerNorm()), [x, scale, bias])[0]
    let rows = indices([2, 6, 3]).flatMap { index -> [Float] in
      let row = (0..<4).map { Double(x.floats[position(index + [$0], x.shape)]) }
      let mean = row.reduce(0, +) / 4, variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 4
      return row.enumerated().map { i, v in
        Float((v - mean) / (variance + 1e-5).squareRoot() * Double(scale.floats[i]) + Double(bias.floats[i]))
      }
    }
    #expect(relativeError(z.floats, rows) < 1e-4)

    let mean = try evaluate(.globalAveragePool(GlobalAveragePool()), [x])[0]
    #expect(mean.shape == [2, 6, 1, 1])
  }
}
