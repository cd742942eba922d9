#if !hasFeature(Embedded)
  import Glibc
  import KernelInterface
  import Program

  /// How long an instruction takes.
  package struct InstructionTiming: Sendable {
    package var instruction: Int
    package var name: Name
    package var mnemonic: String
    /// The convolution kernel, where there is one.
    package var kernel: StaticString?
    /// The fastest of all runs.
    package var nanoseconds: UInt64
    /// Multiplications of a convolution or product; 0 for other instructions.
    package var products: Int
  }

  extension Interpreter {
    /// Runs one sample several times, timing every instruction; the clock adds some 50 ns to each.
    /// - Throws: when the inputs do not fit the program.
    package func profile(_ inputs: [[Float]], runs: Int) throws(RunError) -> [InstructionTiming] {
      _ = try run(inputs)  // checks the inputs, warms the caches
      var observer = Stopwatch(instructions: program.instructions.count)
      var sources: [UnsafePointer<Float>] = [], targets: [UnsafeMutablePointer<Float>] = []
      for values in inputs {
        let pointer = UnsafeMutablePointer<Float>.allocate(capacity: max(values.count, 1))
        pointer.initialize(from: values, count: values.count)
        sources.append(UnsafePointer(pointer))
      }
      for number in outputNumbers { targets.append(.allocate(capacity: outputCount(number))) }
      defer {
        for pointer in sources { pointer.deallocate() }
        for pointer in targets { pointer.deallocate() }
      }
      for _ in 0..<runs {
        observer.startRun()
        runObserved(inputs: sources, outputs: targets, &observer)
        observer.endRun()
      }
      return program.instructions.indices.map { index in
        let instruction = program.instructions[index]
        return InstructionTiming(
          instruction: index, name: instruction.name, mnemonic: instruction.operation.mnemonic,
          kernel: kernel(of: index), nanoseconds: observer.fastest[index],
          products: program.products(index))
      }
    }
  }

  /// Sums the time of the steps of every instruction, and keeps the smallest sum of all runs.
  private struct Stopwatch: StepObserver {
    static var isNeeded: Bool { true }
    static var wantsContents: Bool { false }
    var fastest: [UInt64]
    private var current: [UInt64]
    private var start: UInt64 = 0

    init(instructions: Int) {
      fastest = [UInt64](repeating: .max, count: instructions)
      current = [UInt64](repeating: 0, count: instructions)
    }
    mutating func startRun() {
      for index in current.indices { current[index] = 0 }
    }
    mutating func endRun() {
      for index in current.indices { fastest[index] = min(fastest[index], current[index]) }
    }
    mutating func willRun(_: Int) { start = monotonicNanoseconds() }
    mutating func didRun(_ instruction: Int) { current[instruction] += monotonicNanoseconds() - start }
    mutating func show(_: Int, _: [UInt8]) {}
  }

  private func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
#endif
