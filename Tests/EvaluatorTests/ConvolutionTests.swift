import IR
import Testing

@testable import Evaluator

@Suite("Float convolutions against loops")
struct ConvolutionTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var shape: [Int]
    var outputs: Int
    var kernel: [Int]
    var strides = [1, 1]
    var pads = [0, 0, 0, 0]
    var dilations = [1, 1]
    var groups = 1
    var hasBias = true
    var activation = Activation.none
    var testDescription: String {
      "\(shape) to \(outputs), k \(kernel) s \(strides) p \(pads) d \(dilations) g \(groups) \(activation.text)"
    }
  }

  @Test(arguments: [
    Case(shape: [2, 3, 9, 7], outputs: 16, kernel: [3, 3], pads: [1, 1, 1, 1]),
    Case(
      shape: [1, 16, 8, 8], outputs: 32, kernel: [3, 3], strides: [2, 2], pads: [0, 0, 1, 1],
      activation: .relu),
    Case(shape: [1, 5, 6, 6], outputs: 7, kernel: [1, 1], hasBias: false),
    Case(
      shape: [2, 24, 10, 10], outputs: 24, kernel: [3, 3], pads: [1, 1, 1, 1], groups: 24,
      activation: .clip(minimum: 0, maximum: 6)),
    Case(shape: [1, 6, 12, 11], outputs: 12, kernel: [3, 5], pads: [2, 0, 1, 3], groups: 6),
    Case(
      shape: [1, 12, 9, 9], outputs: 18, kernel: [3, 3], pads: [1, 1, 1, 1], groups: 3,
      activation: .clip(minimum: -1, maximum: 1)),
    Case(shape: [1, 4, 13, 13], outputs: 8, kernel: [3, 3], pads: [2, 2, 2, 2], dilations: [2, 2]),
    Case(
      shape: [1, 3, 7, 9], outputs: 4, kernel: [2, 4], strides: [3, 2], pads: [1, 0, 0, 2], dilations: [2, 1]),
    Case(shape: [1, 1, 5, 5], outputs: 1, kernel: [5, 5], hasBias: false),
    Case(shape: [3, 64, 4, 4], outputs: 64, kernel: [3, 3], pads: [1, 1, 1, 1]),
  ])
  func convolution(_ test: Case) throws {
    var random = SeededGenerator(1)
    let x = random.tensor(test.shape)
    let w = random.tensor([test.outputs, test.shape[1] / test.groups] + test.kernel)
    let bias = random.tensor([test.outputs])
    var op = Conv2D()
    (op.strides, op.pads, op.dilations, op.groups, op.activation) = (
      test.strides, test.pads, test.dilations, test.groups, test.activation
    )
    let operands = test.hasBias ? [x, w, bias] : [x, w]
    let constant = try evaluate(.conv2d(op), operands, constants: [1, 2])[0]
    let variable = try evaluate(.conv2d(op), operands)[0]
    #expect(constant.bytes == variable.bytes)

    let shape = constant.shape, group = test.outputs / test.groups, channels = w.shape[1]
    let xs = x.floats, ws = w.floats, bs = bias.floats
    let expected = indices(shape).map { index -> Float in
      var sum = test.hasBias ? Double(bs[index[1]]) : 0
      for c in 0..<channels {
        for i in 0..<test.kernel[0] {
          for j in 0..<test.kernel[1] {
            let h = index[2] * test.strides[0] - test.pads[0] + i * test.dilations[0]
            let v = index[3] * test.strides[1] - test.pads[1] + j * test.dilations[1]
            guard h >= 0, h < test.shape[2], v >= 0, v < test.shape[3] else { continue }
            let channel = index[1] / group * channels + c
            sum +=
              Double(xs[position([index[0], channel, h, v], test.shape)])
              * Double(ws[position([index[1], c, i, j], w.shape)])
          }
        }
      }
      return test.activation(Float(sum))
    }
    #expect(relativeError(constant.floats, expected) < 1e-5)
  }

  @Test(
    arguments: [
      Case(shape: [2, 6, 5, 4], outputs: 4, kernel: [3, 3]),
      Case(shape: [1, 16, 6, 6], outputs: 16, kernel: [2, 2], strides: [2, 2], activation: .relu),
      Case(
        shape: [1, 8, 4, 5], outputs: 6, kernel: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], groups: 2),
      Case(
        shape: [1, 3, 5, 5], outputs: 3, kernel: [4, 4], strides: [2, 2], pads: [1, 1, 1, 1], groups: 3,
        hasBias: false),
      Case(
        shape: [1, 4, 5, 5], outputs: 5, kernel: [3, 2], strides: [1, 3], pads: [1, 0, 0, 1],
        dilations: [2, 2]),
    ], [[0, 0], [1, 1]])
  func transposedConvolution(_ test: Case, outputPads: [Int]) throws {
    guard test.strides.allSatisfy({ $0 > 1 }) || outputPads == [0, 0] else { return }
    var random = SeededGenerator(2)
    let x = random.tensor(test.shape),
      w = random.tensor([test.shape[1], test.outputs / test.groups] + test.kernel)
    let bias = random.tensor([test.outputs])
    var op = ConvTranspose2D()
    (op.strides, op.pads, op.dilations, op.groups) = (test.strides, test.pads, test.dilations, test.groups)
    (op.outputPads, op.activation) = (outputPads, test.activation)
    let y = try evaluate(.convTranspose2d(op), test.hasBias ? [x, w, bias] : [x, w], constants: [1, 2])[0]

    var sums = [Double](repeating: 0, count: y.count)
    let inputs = test.shape[1] / test.groups, xs = x.floats, ws = w.floats, bs = bias.floats
    for index in indices(test.shape) {
      let value = Double(xs[position(index, test.shape)])
      for o in 0..<w.shape[1] {
        for i in 0..<test.kernel[0] {
          for j in 0..<test.kernel[1] {
            let h = index[2] * test.strides[0] - test.pads[0] + i * test.dilations[0]
            let v = index[3] * test.strides[1] - test.pads[1] + j * test.dilations[1]
            guard h >= 0, h < y.shape[2], v >= 0, v < y.shape[3] else { continue }
            let output = index[1] / inputs * w.shape[1] + o
            sums[position([index[0], output, h, v], y.shape)] +=
              value * Double(ws[position([index[1], o, i, j], w.shape)])
          }
        }
      }
    }
    let expected = zip(indices(y.shape), sums).map { index, sum in
      test.activation(Float(sum) + (test.hasBias ? bs[index[1]] : 0))
    }
    #expect(relativeError(y.floats, expected) < 1e-5)
  }

  @Test(arguments: [false, true], [false, true])
  func gemm(transposeA: Bool, transposeB: Bool) throws {
    var random = SeededGenerator(3)
    let (m, n, k) = (5, 7, 6)
    let a = random.tensor(transposeA ? [k, m] : [m, k]), b = random.tensor(transposeB ? [n, k] : [k, n])
    for shape in [[], [1], [n], [m, 1], [m, n]] {
      let c = random.tensor(shape)
      var op = Gemm()
      (op.transposeA, op.transposeB, op.alpha, op.beta, op.activation) = (
        transposeA, transposeB, 0.5, 2, .relu
      )
      let y = try evaluate(.gemm(op), [a, b, c])[0]
      let expected = indices([m, n]).map { index -> Float in
        let sum = (0..<k).reduce(0.0) { sum, d in
          sum + Double(a.floats[transposeA ? d * m + index[0] : index[0] * k + d])
            * Double(b.floats[transposeB ? index[1] * k + d : d * n + index[1]])
        }
        let addend: Float
        switch shape.count {
        case 0: addend = c.floats[0]
        case 1: addend = c.floats[shape[0] == 1 ? 0 : index[1]]
        default: addend = c.floats[shape[1] == 1 ? index[0] : index[0] * n + index[1]]
        }
        return max(Float(0.5 * sum) + 2 * addend, 0)
      }
      #expect(relativeError(y.floats, expected) < 1e-5)
    }
  }

  @Test(arguments: [
    ([4, 5], [5, 3]), ([2, 3, 4, 5], [5, 6]), ([2, 3, 4, 5], [2, 3, 5, 6]), ([2, 1, 4, 5], [3, 5, 2]),
    ([4, 5], [7, 5, 2]),
  ])
  func matrixProduct(a: [Int], b: [Int]) throws {
    var random = SeededGenerator(4)
    let x = random.tensor(a), w = random.tensor(b)
    let y = try evaluate(.matMul(MatMul()), [x, w])[0]
    let expected = indices(y.shape).map { index -> Float in
      func element(_ t: Tensor, _ last: [Int]) -> Double {
        let outer = t.shape.count - 2
        let own = index.dropLast(2).suffix(outer).enumerated().map {
          t.shape[$0.offset] == 1 ? 0 : $0.element
        }
        return Double(t.floats[position(own + last, t.shape)])
      }
      let i = index[index.count - 2], j = index[index.count - 1]
      return Float((0..<a[a.count - 1]).reduce(0.0) { $0 + element(x, [i, $1]) * element(w, [$1, j]) })
    }
    #expect(relativeError(y.floats, expected) < 1e-5)
  }
}
