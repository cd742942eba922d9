import Foundation
import KernelInterface
import Numerics
import Program
import Runtime
import TestSupport
import Testing

@Suite struct InterpreterTests {
  /// Every tensor of random programs has the bits of the formulas, for every set of kernels and number of
  /// threads.
  @Test(arguments: 0..<12)
  func givesTheBitsOfTheFormulas(seed: Int) throws {
    for variant in 0..<10 {
      var random = try RandomProgram(seed: UInt64(1000 * seed + variant), operations: 1 + variant)
      let inputs = random.inputs(), program = random.program
      let reference = ReferenceMachine(program, inputs: inputs)
      for (features, threads) in [([], 3), (CPUFeatures.host, 1), (.host.intersection(.avx2), 1)]
        as [(CPUFeatures, Int)]
      {
        let interpreter = Interpreter(program, features: features, threads: threads)
        var shown = 0
        let outputs = try interpreter.run(inputs) { tensor, contents in
          shown += 1
          check(
            program, tensor, contents, reference.bytes(tensor), "seed \(seed).\(variant), \(threads) threads")
        }
        #expect(shown == Set(program.instructions.map(\.output)).count)
        // Unobserved, some instructions run together.
        #expect(try interpreter.run(inputs) == outputs)
      }
    }
  }

  private func check(
    _ program: Program, _ tensor: Int, _ actual: [UInt8], _ expected: [UInt8], _ place: String
  ) {
    guard actual != expected else { return }
    let writers = program.instructions.filter { $0.output == tensor }
    let isSoftmax = writers.contains { if case .softmax = $0.operation { true } else { false } }
    if isSoftmax {
      // The exponential has no written bits but those of one implementation.
      for (a, b) in zip(floats(actual), floats(expected)) {
        #expect(abs(a - b) <= 1e-5 * max(a, b) + 1e-30, "\(place)")
      }
      return
    }
    let wrong = zip(actual, expected).enumerated().first { $0.element.0 != $0.element.1 }
    Issue.record(
      "\(place): tensor \(tensor) of \(writers) differs at \(String(describing: wrong))\n\(program.disassembly)"
    )
  }
  private func floats(_ bytes: [UInt8]) -> [Float] {
    stride(from: 0, to: bytes.count, by: 4).map { at in
      Float(bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + $1]) << UInt32(8 * $1) })
    }
  }

  /// Shares of steps, taken by threads in any order, make up the same tensors.
  @Test(arguments: [CPUFeatures([]), .host], [2, 3, 7])
  func sharesStepsAmongThreads(features: CPUFeatures, threads: Int) throws {
    for seed in 0..<6 {
      var random = try RandomProgram(seed: UInt64(900 + seed), operations: 6, largestImage: 60)
      let inputs = random.inputs()
      let expected = try Interpreter(random.program, features: features).run(inputs)
      let interpreter = Interpreter(random.program, features: features, threads: threads)
      for _ in 0..<20 { #expect(try interpreter.run(inputs) == expected) }
    }
  }

  @Test(arguments: [1, 2, 5]) func runsBatchesAsSingleSamples(threads: Int) throws {
    for seed in 0..<6 {
      var random = try RandomProgram(seed: UInt64(seed), operations: 5)
      let inputs = random.inputs(7), program = random.program
      let interpreter = Interpreter(program, threads: threads), single = Interpreter(program)
      let results = try interpreter.run(inputs, samples: 7)
      let inputCount = single.inputCount(0)
      for sample in 0..<7 {
        let expected = try single.run([Array(inputs[0][sample * inputCount..<(sample + 1) * inputCount])])
        for output in expected.indices {
          let count = single.outputCount(output)
          #expect(Array(results[output][sample * count..<(sample + 1) * count]) == expected[output])
        }
      }
      #expect(try interpreter.run(inputs.map { $0.filter { _ in false } }, samples: 0).allSatisfy(\.isEmpty))
    }
  }

  @Test func reportsInputsThatDoNotFit() throws {
    let interpreter = Interpreter(try RandomProgram(seed: 1, operations: 1).program)
    #expect(throws: RunError.self) { try interpreter.run([]) }
    #expect(throws: RunError.self) { try interpreter.run([[1]], samples: 2) }
  }

  @Test func replaysSelfTests() throws {
    var random = try RandomProgram(seed: 3, operations: 4)
    let inputs = random.inputs()
    var program = random.program
    program.goldenVectors = [try #require(Interpreter(program).goldenVector(inputs))]
    let copy = try Program(bytes: program.serialize())
    #expect(Interpreter(copy).selfTest() == nil)
    #expect(
      try Interpreter(copy).run(inputs).map { $0.map(\.bitPattern) }
        == program.goldenVectors[0].outputs.map { $0.map(\.bitPattern) })
    program.goldenVectors[0].outputs[0][0] += 1
    #expect(Interpreter(program).selfTest()?.element == 0)
  }

  @Test func quantizesEveryKindOfNumber() throws {
    let values: [Float] = [
      .nan, .infinity, -.infinity, 1e30, -1e30, 0.5, 1.5, 2.5, -0.5, 126.5, 127.49, 1e-37, 700, -700,
    ]
    var builder = ProgramBuilder()
    let x = builder.addTensor(.real("x", shape: [values.count], storage: .input(0)))
    let q = builder.addTensor(
      .activation("q", shape: [values.count], arenaOffset: 0, scale: 1, zeroPoint: 100, bits: 8))
    let y = builder.addTensor(.real("y", shape: [values.count], storage: .output(0)))
    builder.append("q", .quantize(.init(input: x, output: q)))
    builder.append("y", .dequantize(.init(input: q, output: y)))
    let program = try builder.finish(arenaBytes: 64)
    #expect(
      try Interpreter(program).run([values])[0] == [
        0, 155, -100, 155, -100, 0, 2, 2, 0, 126, 127, 0, 155, -100,
      ])
  }

  @Test func exponentiates() {
    for step in 0...200_000 {
      let x = -Float(step) * 0.000_45, expected = Foundation.exp(Double(x))
      if x > -87 {
        #expect(abs(Double(exponential(x)) - expected) <= 2e-7 * expected)
      } else {
        #expect(exponential(x) == 0)
      }
    }
    #expect(exponential(0) == 1 && exponential(-.infinity) == 0 && exponential(.nan).isNaN)
  }

  @Test func profilesEveryInstruction() throws {
    var random = try RandomProgram(seed: 5, operations: 6)
    let inputs = random.inputs()
    let timings = try Interpreter(random.program, threads: 2).profile(inputs, runs: 3)
    #expect(timings.count == random.program.instructions.count)
    #expect(timings.allSatisfy { $0.nanoseconds < .max })
  }
}
