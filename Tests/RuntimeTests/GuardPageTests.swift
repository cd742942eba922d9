import KernelInterface
import Program
import Runtime
import TestSupport
import Testing

/// Programs touch nothing outside the arena, the scratch image and their slack, nor outside the caller's tensors: all
/// of them end at inaccessible pages here.
@Suite struct GuardPageTests {
  @Test(arguments: 0..<4) func staysWithinItsMemory(seed: Int) throws {
    for variant in 0..<10 {
      var random = try RandomProgram(seed: UInt64(77 + 1000 * seed + variant), operations: 1 + variant)
      let inputs = random.inputs(), program = random.program
      let expected = try Interpreter(program).run(inputs)
      for features in [CPUFeatures([]), .host.intersection(.avx2), .host] {
        let prepared = PreparedProgram(program, features: features, threads: 1)
        let arena = GuardedMemory(program.arenaBytes + Limits.slackBytes)
        let scratch = GuardedMemory(prepared.scratchBytes + Limits.slackBytes)
        let memory = WorkingMemory(arena: arena.base, scratch: scratch.base, inputs: 1, outputs: 2)
        let source = GuardedMemory(inputs[0].count * 4)
        inputs[0].withUnsafeBytes { source.base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(source.base), byteCount: $0.count) }
        let targets = expected.map { GuardedMemory($0.count * 4) }
        memory.inputs[0] = UnsafePointer(source.base.assumingMemoryBound(to: Float.self))
        for (number, target) in targets.enumerated() {
          memory.outputs[number] = target.base.assumingMemoryBound(to: Float.self)
        }
        prepared.run(memory)
        for (target, values) in zip(targets, expected) {
          let actual = UnsafeBufferPointer(start: target.base.assumingMemoryBound(to: Float.self), count: values.count)
          #expect(Array(actual) == values)
        }
        withExtendedLifetime((arena, scratch, source)) {}
      }
    }
  }
}
