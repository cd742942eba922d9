import KernelInterface
import Program
import Runtime

/// Runs one sample with arena, scratch image and the caller's tensors ending at inaccessible pages.
/// - Parameter inputs: zeros without them.
/// - Returns: the outputs.
@discardableResult
package func runGuarded(_ program: Program, features: CPUFeatures, inputs: [[Float]]? = nil) -> [[Float]] {
  let prepared = PreparedProgram(program, features: features, threads: 1)
  let arena = GuardedMemory(program.arenaBytes + Limits.slackBytes)
  let scratch = GuardedMemory(prepared.scratchBytes + Limits.slackBytes)
  let sources = program.inputs.map { GuardedMemory(4 * program.tensors[$0].elementCount) }
  let targets = program.outputs.map { GuardedMemory(4 * program.tensors[$0].elementCount) }
  let memory = prepared.makeMemory(arena: arena.base, scratch: scratch.base)
  for (number, source) in sources.enumerated() {
    let reals = source.base.assumingMemoryBound(to: Float.self)
    if let inputs { reals.update(from: inputs[number], count: inputs[number].count) }
    memory.inputs[number] = UnsafePointer(reals)
  }
  for (number, target) in targets.enumerated() {
    memory.outputs[number] = target.base.assumingMemoryBound(to: Float.self)
  }
  prepared.run(memory)
  defer { withExtendedLifetime((arena, scratch, sources)) {} }
  return zip(targets, program.outputs).map { target, tensor in
    let reals = target.base.assumingMemoryBound(to: Float.self)
    return Array(UnsafeBufferPointer(start: reals, count: program.tensors[tensor].elementCount))
  }
}
