import Numerics
import Program

/// Replays the self-test vectors of a program: it gives the bits on this machine that it gave where it was
/// compiled.
extension Interpreter {
  package struct SelfTestFailure: Hashable, Sendable {
    package var vector: Int
    package var output: Int
    package var element: Int
    package var expected: Float
    package var actual: Float
  }

  /// The first element that differs; nil when none does.
  package func selfTest() -> SelfTestFailure? {
    for (index, vector) in program.goldenVectors.enumerated() {
      let results = replay(vector.inputs)
      for (output, expected) in vector.outputs.enumerated() {
        for (element, value) in expected.enumerated()
        where results[output][element].bitPattern != value.bitPattern {
          return SelfTestFailure(
            vector: index, output: output, element: element, expected: value, actual: results[output][element]
          )
        }
      }
    }
    return nil
  }

  /// A vector from real inputs; nil when they do not fit the program or an input is not quantized.
  package func goldenVector(_ inputs: [[Float]]) -> Program.GoldenVector? {
    let tensors = program.inputs
    guard inputs.count == tensors.count else { return nil }
    var stored: [[UInt8]] = []
    for (values, tensor) in zip(inputs, tensors) {
      guard values.count == program.tensors[tensor].elementCount,
        let quantized = program.quantizedInput(tensor)
      else {
        return nil
      }
      let target = program.tensors[quantized], range = 0...((Int32(1) << Int32(target.bits)) - 1)
      let parameters = AffineParameters(scale: target.scale, zeroPoint: Int32(target.zeroPoint))
      stored.append(values.map { UInt8(truncatingIfNeeded: parameters.quantize($0, range)) })
    }
    return Program.GoldenVector(inputs: stored, outputs: replay(stored))
  }

  /// - Requires: stored integers that fit the inputs, which are quantized.
  private func replay(_ stored: [[UInt8]]) -> [[Float]] {
    var inputs: [[Float]] = []
    for (values, tensor) in zip(stored, program.inputs) {
      let target = program.tensors[program.quantizedInput(tensor) ?? tensor]
      let parameters = AffineParameters(scale: target.scale, zeroPoint: Int32(target.zeroPoint))
      inputs.append(values.map { parameters.dequantize(Int32($0)) })
    }
    do throws(RunError) { return try run(inputs) } catch {
      // Validation has matched the vectors with the inputs.
      return program.outputs.map { [Float](repeating: 0, count: program.tensors[$0].elementCount) }
    }
  }
}
