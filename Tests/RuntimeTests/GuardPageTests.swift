import KernelInterface
import Program
import Runtime
import TestSupport
import Testing

/// Programs touch nothing outside the arena, the scratch image and their slack, nor outside the caller's
/// tensors.
@Suite struct GuardPageTests {
  @Test(arguments: 0..<4) func staysWithinItsMemory(seed: Int) throws {
    for variant in 0..<10 {
      var random = try RandomProgram(seed: UInt64(77 + 1000 * seed + variant), operations: 1 + variant)
      let inputs = random.inputs(), expected = try Interpreter(random.program).run(inputs)
      for features in [CPUFeatures([]), .host.intersection(.avx2), .host] {
        #expect(runGuarded(random.program, features: features, inputs: inputs) == expected)
      }
    }
  }
}
