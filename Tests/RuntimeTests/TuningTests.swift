import KernelInterface
import Program
import Runtime
import TestSupport
import Testing

/// A tuning decides how fast a program runs, never what it computes.
@Suite struct TuningTests {
  private static let host = KernelTable.layers.filter { CPUFeatures.host.isSuperset(of: $0.features) }

  private func contents(_ interpreter: Interpreter, _ inputs: [[Float]]) throws -> [Int: [UInt8]] {
    var tensors: [Int: [UInt8]] = [:]
    _ = try interpreter.run(inputs) { tensors[$0] = $1 }
    return tensors
  }

  /// Every kernel for all layers that it can run, and kernels drawn by lot: all tensors stay the same.
  @Test(arguments: 0..<12) func keepsTheBits(seed: UInt64) throws {
    for variant in 0..<4 {
      var random = try RandomProgram(seed: 500 * seed + UInt64(variant), operations: 2 + 2 * variant)
      let inputs = random.inputs(), program = random.program, count = program.instructions.count
      let expected = try contents(Interpreter(program), inputs)
      var lots = SeededGenerator(state: seed)
      var tunings = Self.host.map { Tuning([StaticString?](repeating: $0.name, count: count)) }
      for _ in 0..<4 {
        tunings.append(Tuning((0..<count).map { _ in Self.host.randomElement(using: &lots)?.name }))
      }
      for (index, tuning) in tunings.enumerated() {
        for threads in [1, 3] {
          let interpreter = Interpreter(program, threads: threads, tuning: tuning)
          #expect(try contents(interpreter, inputs) == expected, "seed \(seed).\(variant), tuning \(index)")
        }
      }
    }
  }

  /// Every kernel of the list runs some layer when it is asked for, and none without its instructions.
  @Test func choosesWhatIsNamed() throws {
    var seen: Set<String> = []
    for seed in 0..<60 {
      let program = try RandomProgram(seed: UInt64(seed), operations: 6).program
      for layer in KernelTable.layers {
        let tuning = Tuning([StaticString?](repeating: layer.name, count: program.instructions.count))
        if CPUFeatures.host.isSuperset(of: layer.features) {
          let interpreter = Interpreter(program, tuning: tuning)
          for index in program.instructions.indices {
            if let name = interpreter.kernel(of: index) { seen.insert("\(name)") }
          }
        }
        guard layer.features != [] else { continue }
        let portable = Interpreter(program, features: [], tuning: tuning)
        for index in program.instructions.indices {
          #expect(portable.kernel(of: index).map { "\($0)" } != "\(layer.name)")
        }
      }
    }
    let missing = Set(Self.host.map { "\($0.name)" }).subtracting(seen)
    #expect(missing.isEmpty, "\(missing.sorted())")
  }

  @Test func takesNamesThatMeanNothing() throws {
    var random = try RandomProgram(seed: 9, operations: 4)
    let inputs = random.inputs(), expected = try Interpreter(random.program).run(inputs)
    for names: [StaticString?] in [[], ["", nil, "dense8"], .init(repeating: "no such kernel", count: 1000)] {
      #expect(try Interpreter(random.program, tuning: Tuning(names)).run(inputs) == expected)
    }
  }
}
