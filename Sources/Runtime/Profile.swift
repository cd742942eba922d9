#if !hasFeature(Embedded)
  import Glibc
  import KernelInterface
  import Program

  /// How long an instruction takes.
  package struct InstructionTiming: Sendable {
    package var instruction: Int
    package var name: Name
    package var mnemonic: String
    /// What runs a layer with weights; nil for other instructions.
    package var kernel: StaticString?
    /// The peak that bounds the kernel, one of `KernelTable.peaks`.
    package var peak: StaticString?
    /// The fastest of all runs.
    package var nanoseconds: UInt64
    /// Of some 1000 runs at most, spread evenly.
    package var medianNanoseconds: UInt64
    /// Multiplications of a convolution or product; 0 for other instructions.
    package var products: Int
  }

  /// Runs single samples and times every instruction, each on its own where a run would take several at once; the clock
  /// adds some 50 ns to each.
  package final class Profile {
    private let interpreter: Interpreter
    private let sources: [UnsafePointer<Float>]
    private let targets: [UnsafeMutablePointer<Float>]
    private var stopwatch: Stopwatch

    /// - Throws: when the inputs do not fit the program.
    package init(_ interpreter: Interpreter, _ inputs: [[Float]]) throws(RunError) {
      _ = try interpreter.run(inputs)  // checks the inputs, warms the caches
      self.interpreter = interpreter
      stopwatch = Stopwatch(instructions: interpreter.program.instructions.count)
      sources = inputs.map { values in
        let pointer = UnsafeMutablePointer<Float>.allocate(capacity: max(values.count, 1))
        pointer.initialize(from: values, count: values.count)
        return UnsafePointer(pointer)
      }
      targets = interpreter.outputNumbers.map { number in
        .allocate(capacity: max(interpreter.outputCount(number), 1))
      }
    }

    deinit {
      for pointer in sources { pointer.deallocate() }
      for pointer in targets { pointer.deallocate() }
    }

    package func run(_ runs: Int) {
      for _ in 0..<runs {
        stopwatch.startRun()
        interpreter.runObserved(inputs: sources, outputs: targets, &stopwatch)
        stopwatch.endRun()
      }
    }

    /// - Requires: `run` ran.
    package var timings: [InstructionTiming] {
      let program = interpreter.program
      return program.instructions.indices.map { index in
        let instruction = program.instructions[index]
        return InstructionTiming(
          instruction: index, name: instruction.name, mnemonic: instruction.operation.mnemonic,
          kernel: interpreter.kernel(of: index), peak: interpreter.peak(of: index),
          nanoseconds: stopwatch.fastest[index], medianNanoseconds: stopwatch.median(index),
          products: program.products(index))
      }
    }
  }

  extension Interpreter {
    /// Runs one sample several times, timing every instruction.
    /// - Throws: when the inputs do not fit the program.
    package func profile(_ inputs: [[Float]], runs: Int) throws(RunError) -> [InstructionTiming] {
      let profile = try Profile(self, inputs)
      profile.run(runs)
      return profile.timings
    }
  }

  /// Sums the time of the steps of every instruction, and keeps the smallest sum of all runs and those of some runs.
  private struct Stopwatch: StepObserver {
    static var isNeeded: Bool { true }
    static var wantsContents: Bool { false }
    var fastest: [UInt64]
    private var current: [UInt64]
    private var start: UInt64 = 0
    /// The sums of every `stride`-th run.
    private var kept: [[UInt64]] = []
    private var stride = 1
    private var runs = 0
    private static let mostKept = 2048

    init(instructions: Int) {
      fastest = [UInt64](repeating: .max, count: instructions)
      current = [UInt64](repeating: 0, count: instructions)
    }

    func median(_ instruction: Int) -> UInt64 {
      let times = kept.map { $0[instruction] }.sorted()
      return times.isEmpty ? fastest[instruction] : times[times.count / 2]
    }

    mutating func startRun() {
      for index in current.indices { current[index] = 0 }
    }
    mutating func endRun() {
      for index in current.indices { fastest[index] = min(fastest[index], current[index]) }
      if runs % stride == 0 { kept.append(current) }
      runs += 1
      guard kept.count == Self.mostKept else { return }
      kept = kept.indices.filter { $0 % 2 == 0 }.map { kept[$0] }
      stride *= 2
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
