import CCounters
import Foundation
import KernelInterface
import Program
import Runtime
import TestSupport
import Testing

/// Once it is warm, a run through pointers allocates nothing and counts no references, on any number of threads. In
/// processes of their own, since other tests allocate meanwhile.
@Suite struct SteadyStateTests {
  @Test func theCountersCount() async {
    await #expect(processExitsWith: .success) {
      let object = Counted()
      qcc_start_counting()
      var copies: [Counted] = []
      for _ in 0..<100 { copies.append(object) }
      let counts = qcc_stop_counting()
      precondition(copies.count == 100)
      precondition(counts.retains >= 100)
      precondition(qcc_counts_allocations() == 0 || counts.allocations > 3)
    }
  }

  @Test func runsOfSingleSamplesAllocateAndCountNothing() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      for seed in 0..<60 {
        for (features, threads) in SteadyState.settings {
          try SteadyState.check(seed: seed, features, threads: threads, samples: 1)
        }
      }
    }
    let messages = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(messages == "")
  }

  @Test func runsOfBatchesAllocateAndCountNothing() async {
    let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
      for seed in 0..<20 {
        for threads in [1, 2] {
          try SteadyState.check(seed: seed, .host, threads: threads, samples: 5)
        }
      }
    }
    let messages = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(messages == "")
  }

  /// The programs of the tests above hold every kind of instruction.
  @Test func coversEveryKindOfInstruction() throws {
    var mnemonics: Set<String> = []
    for seed in 0..<60 {
      mnemonics.formUnion(try SteadyState.program(seed).program.instructions.map(\.operation.mnemonic))
    }
    #expect(
      mnemonics.isSuperset(of: [
        "quantize", "dequantize", "convolution8", "convolution4", "depthwise", "float-product8",
        "float-product4", "add", "multiply", "average-pool", "max-pool", "lookup", "copy", "softmax",
      ]))
  }
}

private final class Counted {}

private enum SteadyState {
  static let settings: [(CPUFeatures, Int)] = [
    ([], 1), (.host.intersection(.avx2), 1), (.host, 1), (.host, 2),
  ]

  static func program(_ seed: Int) throws -> RandomProgram {
    try RandomProgram(seed: UInt64(5000 + seed), operations: 2 + seed % 8, largestImage: 40)
  }

  static func check(seed: Int, _ features: CPUFeatures, threads: Int, samples: Int) throws {
    var random = try program(seed)
    let interpreter = Interpreter(random.program, features: features, threads: threads)
    let inputs = random.inputs(samples).map { values in
      let pointer = UnsafeMutablePointer<Float>.allocate(capacity: values.count)
      pointer.initialize(from: values, count: values.count)
      return UnsafePointer(pointer)
    }
    let outputs = interpreter.outputNumbers.map {
      UnsafeMutablePointer<Float>.allocate(capacity: samples * interpreter.outputCount($0))
    }
    for _ in 0..<3 { interpreter.run(samples, inputs: inputs, outputs: outputs) }
    qcc_start_counting()
    for _ in 0..<10 { interpreter.run(samples, inputs: inputs, outputs: outputs) }
    let counts = qcc_stop_counting()

    if counts.allocations + counts.deallocations + counts.retains + counts.releases > 0 {
      let place = "seed \(seed), \(features), \(threads) threads, \(samples) samples: \(counts)"
      FileHandle.standardError.write(Data("\(place)\n\(random.program.disassembly)\n".utf8))
      exit(EXIT_SUCCESS)  // what it has written fails the test, and would be lost if it failed itself
    }
    inputs.forEach { $0.deallocate() }
    outputs.forEach { $0.deallocate() }
  }
}
