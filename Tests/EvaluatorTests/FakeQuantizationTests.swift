import IR
import Numerics
import Testing

@testable import Evaluator

@Suite("Fake quantization against the scalar definition")
struct FakeQuantizationTests {
  static let widths: [BitWidth] = (1...8).map { .bits($0) } + [.ternary]

  /// Values that matter: ties, beyond the range, huge, not finite.
  private func values(_ scale: Float, _ random: inout SeededGenerator) -> [Float] {
    let special: [Float] = [
      0, -0.0, 0.5, -0.5, 1.5, 2.5, -1.5, 1e9, -1e9, .infinity, -.infinity, .nan, 1e-30, 4_194_304, 8_388_608,
    ]
    return special.map { $0 * scale } + random.floats(85, -300...300).map { $0 * scale }
  }

  @Test(arguments: widths, [QuantizerRole.weight, .activation])
  func vectorizedIsScalar(width: BitWidth, role: QuantizerRole) {
    var random = SeededGenerator(30)
    for symmetry in [Symmetry.symmetric, .asymmetric] {
      let form = QuantizationForm(width, .tensor, symmetry), range = form.storedRange(role)
      for _ in 0..<20 {
        let parameters = AffineParameters(
          scale: Float.random(in: 1e-4...3, using: &random),
          zeroPoint: symmetry == .symmetric ? 0 : Int32.random(in: range, using: &random))
        let x = values(parameters.scale, &random)
        var y = [Float](repeating: 7, count: x.count)
        form.fakeQuantize(x, &y, x.count, parameters, role)
        let expected = x.map { value in
          let stored = form.quantize(value, parameters, role)
          return form.isBinaryWeight(role) ? parameters.scale * Float(stored) : parameters.dequantize(stored)
        }
        #expect(y == expected, "\(form.text) scale \(parameters.scale) zero point \(parameters.zeroPoint)")
        if role == .activation {
          var bytes = [UInt8](repeating: 0, count: x.count)
          parameters.quantize(x, &bytes, x.count, range)
          #expect(bytes == x.map { UInt8(parameters.quantize($0, range)) })
        }
      }
    }
  }

  @Test(
    arguments: [0, 1], [Granularity.tensor, .channel, .group(size: 4), .group(size: 7), .group(size: 1000)])
  func granularity(axis: Int, granularity: Granularity) throws {
    var random = SeededGenerator(31)
    let x = random.tensor([6, 5, 3, 1]), channels = x.shape[axis], length = x.count / channels
    let form = QuantizationForm(.bits(4), granularity, .symmetric),
      wide = QuantizationForm(.bits(8), .tensor, .symmetric)
    var op = Quantize()
    (op.role, op.axis, op.forms) = (.weight, axis, FormSet([wide, form], current: 1))
    let groupSize: Int, count: Int
    switch granularity {
    case .tensor: (groupSize, count) = (length, 1)
    case .channel: (groupSize, count) = (length, channels)
    case .group(let size): (groupSize, count) = (size, channels * ((length + size - 1) / size))
    }
    let scales = random.floats(count, 0.05...0.3)
    let operands = [
      x, Tensor([1], [0.1] as [Float]), Tensor([1], [0] as [Int32]), Tensor([count], scales),
      Tensor([count], [Int32](repeating: 0, count: count)),
    ]
    let y = try evaluate(.quantize(op), operands, constants: [1, 2, 3, 4])[0]
    let folded = try Evaluator(try singleOperation(.quantize(op), operands, constants: [0, 1, 2, 3, 4])).run(
      [])[0]
    #expect(y.bytes == folded.bytes)
    var seen = [Int](repeating: 0, count: channels)
    let perChannel = count / channels
    let expected = indices(x.shape).enumerated().map { offset, index -> Float in
      let channel = index[axis], group = seen[channel] / groupSize
      seen[channel] += 1
      let parameters = AffineParameters(
        scale: scales[granularity == .tensor ? 0 : channel * perChannel + group], zeroPoint: 0)
      return parameters.dequantize(form.quantize(x.floats[offset], parameters, .weight))
    }
    #expect(y.floats == expected)
    // Float mode and uncalibrated quantizers change nothing.
    let graph = try singleOperation(.quantize(op), operands, constants: [1, 2, 3, 4])
    #expect(try Evaluator(graph, mode: .float).run([x])[0].floats == x.floats)
    #expect(try evaluate(.quantize(op), [x])[0].floats == x.floats)
  }
}
