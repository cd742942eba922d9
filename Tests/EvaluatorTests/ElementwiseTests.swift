import Foundation
import IR
import Testing

@testable import Evaluator

@Suite("Elementwise operations")
struct ElementwiseTests {
  @Test(arguments: Unary.Function.allCases)
  func unary(_ function: Unary.Function) throws {
    var random = SeededGenerator(5)
    let positive = function == .log || function == .sqrt || function == .reciprocal
    let x = random.tensor([2, 3, 4, 5], positive ? 0.1...5 : -4...4)
    let op = Unary(function, alpha: function == .clip ? -1 : nil, beta: function == .clip ? 2 : nil)
    let y = try evaluate(.unary(op), [x])[0]
    let expected = x.floats.map { value -> Float in
      let v = Double(value)
      let result: Double =
        switch function {
        case .relu: max(v, 0)
        case .clip: min(max(v, -1), 2)
        case .leakyRelu: v < 0 ? 0.01 * v : v
        case .elu: v < 0 ? exp(v) - 1 : v
        case .sigmoid: 1 / (1 + exp(-v))
        case .hardSigmoid: min(max(0.2 * v + 0.5, 0), 1)
        case .hardSwish: v * min(max(v / 6 + 0.5, 0), 1)
        case .silu: v / (1 + exp(-v))
        case .gelu: 0.5 * v * (1 + erf(v / 2.0.squareRoot()))
        case .tanh: Foundation.tanh(v)
        case .erf: Foundation.erf(v)
        case .exp: Foundation.exp(v)
        case .log: Foundation.log(v)
        case .sqrt: v.squareRoot()
        case .reciprocal: 1 / v
        case .negate: -v
        case .abs: Swift.abs(v)
        case .floor: v.rounded(.down)
        case .ceil: v.rounded(.up)
        case .sign: v > 0 ? 1 : -1
        case .softplus: Foundation.log(1 + Foundation.exp(v))
        case .not: v == 0 ? 1 : 0
        }
      return Float(result)
    }
    #expect(relativeError(y.floats, expected) < 2e-6)
  }

  @Test(arguments: [
    ([2, 3, 4, 5], [2, 3, 4, 5]), ([2, 3, 4, 5], [3, 1, 1]), ([2, 3, 4, 5], [2, 3, 1, 1]),
    ([1, 3, 1, 5], [2, 1, 4, 1]),
    ([2, 3, 4, 5], []), ([1], [2, 3, 4, 5]), ([2, 3, 4, 5], [5]), ([7], [7]), ([4, 1], [1, 6]),
    ([2, 3, 4, 5], [1, 1, 4, 5]),
  ])
  func broadcasting(a: [Int], b: [Int]) throws {
    var random = SeededGenerator(6)
    let x = random.tensor(a), w = random.tensor(b, 0.5...2)
    for function in Binary.Function.allCases {
      let y = try evaluate(.binary(Binary(function)), [x, w])[0]
      let expected = indices(y.shape).map { index -> Float in
        func element(_ t: Tensor) -> Float {
          let own = zip(index.suffix(t.shape.count), t.shape).map { $1 == 1 ? 0 : $0 }
          return t.floats[position(own, t.shape)]
        }
        let p = element(x), q = element(w)
        switch function {
        case .add: return p + q
        case .subtract: return p - q
        case .multiply: return p * q
        case .divide: return p / q
        case .power: return powf(p, q)
        case .minimum: return min(p, q)
        case .maximum: return max(p, q)
        case .equal: return p == q ? 1 : 0
        case .less: return p < q ? 1 : 0
        case .greater: return p > q ? 1 : 0
        case .and, .or: return 1
        case .parametricRelu: return p < 0 ? p * q : p
        }
      }
      let finite = zip(y.floats, expected).filter { !$1.isNaN }
      #expect(relativeError(finite.map(\.0), finite.map(\.1)) == 0, "\(function)")
    }
  }

  @Test func fusedActivationOfAdd() throws {
    var random = SeededGenerator(7)
    let a = random.tensor([2, 8, 3, 3]), b = random.tensor([2, 8, 3, 3])
    for activation in [Activation.none, .relu, .clip(minimum: -0.5, maximum: 1)] {
      var op = Binary(.add)
      op.activation = activation
      let y = try evaluate(.binary(op), [a, b])[0]
      #expect(y.floats == zip(a.floats, b.floats).map { activation($0 + $1) })
    }
  }

  @Test func integerArithmetic() throws {
    let a = Tensor([4], [7, -7, 5, 0] as [Int64]), b = Tensor([1], [2] as [Int64])
    #expect(try evaluate(.binary(Binary(.divide)), [a, b])[0].integers == [3, -3, 2, 0])
    #expect(try evaluate(.binary(Binary(.power)), [a, b])[0].integers == [49, 49, 25, 0])
    #expect(try evaluate(.binary(Binary(.less)), [a, b])[0].integers == [0, 1, 0, 1])
    let zero = Tensor([1], [0] as [Int64])
    #expect(try evaluate(.binary(Binary(.divide)), [a, zero])[0].integers == [0, 0, 0, 0])
    #expect(try evaluate(.unary(Unary(.negate)), [a])[0].integers == [-7, 7, -5, 0])
  }

  @Test func casts() throws {
    func cast(_ x: Tensor, _ to: Cast.Target) throws -> Tensor {
      var op = Cast()
      op.to = to
      return try evaluate(.cast(op), [x])[0]
    }
    let x = Tensor([4], [-1.5, 0, 0.25, 300] as [Float])
    #expect(try cast(x, .i64).integers == [-1, 0, 0, 300])
    #expect(try cast(x, .bool).integers == [1, 0, 1, 1])
    #expect(try cast(Tensor([2], [3, -4] as [Int64]), .f32).floats == [3, -4])
    #expect(try cast(Tensor([2], [true, false]), .i64).integers == [1, 0])
  }

  @Test func selection() throws {
    let condition = Tensor([2, 1], [true, false])
    let y = try evaluate(
      .select(Select()), [condition, Tensor([3], [1, 2, 3] as [Float]), Tensor([], [9] as [Float])])[0]
    #expect(y.shape == [2, 3] && y.floats == [1, 2, 3, 9, 9, 9])
  }
}
