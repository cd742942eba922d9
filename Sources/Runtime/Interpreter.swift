import KernelInterface
import Program

/// Runs a program: one sample with the threads sharing its steps, several with a sample for each thread. Runs
/// through pointers allocate nothing and count no references. One caller at a time.
package final class Interpreter {
  package var program: Program { prepared.program }
  /// Those that the system gave.
  package var threads: Int { pool.threads }
  private let prepared: PreparedProgram
  private let pool: ThreadPool
  /// That of single samples and of the first thread.
  private let memory: WorkingMemory
  /// Those of the other threads, made when they are needed; released with the interpreter.
  private let otherMemories: UnsafeMutablePointer<Unmanaged<WorkingMemory>>
  private var otherMemoryCount = 0

  // The run in progress, as its threads see it. The caller's tensors lie in memory of their own: holding on to the
  // caller's arrays would count references.
  private var steps: StepList
  private var step = 0
  private var samples = 0
  private let sources: UnsafeMutablePointer<UnsafePointer<Float>?>
  private let targets: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>

  /// - Parameters:
  ///   - program: valid: from `ProgramBuilder.finish` or the reader.
  ///   - features: what kernels may use; at most what the processor has.
  ///   - threads: 1 or more, the caller's included.
  ///   - tuning: kernels to prefer; the results do not depend on it.
  package init(
    _ program: Program, features: CPUFeatures = .host, threads: Int = 1, tuning: Tuning = .none
  ) {
    pool = ThreadPool(threads: threads)
    prepared = PreparedProgram(program, features: features, threads: pool.threads, tuning: tuning)
    memory = prepared.makeMemory()
    steps = prepared.fusedSteps
    otherMemories = .allocate(capacity: pool.threads)
    // A program has an output, but may have no input.
    sources = .allocate(capacity: max(prepared.inputs.count, 1))
    sources.initialize(repeating: nil, count: max(prepared.inputs.count, 1))
    targets = .allocate(capacity: max(prepared.outputs.count, 1))
    targets.initialize(repeating: nil, count: max(prepared.outputs.count, 1))
  }

  deinit {
    for index in 0..<otherMemoryCount { otherMemories[index].release() }
    otherMemories.deallocate()
    sources.deallocate()
    targets.deallocate()
  }

  /// Elements of one sample of the n-th input or output.
  package func inputCount(_ number: Int) -> Int { program.tensors[prepared.inputs[number]].elementCount }
  package func outputCount(_ number: Int) -> Int { program.tensors[prepared.outputs[number]].elementCount }
  package var inputNumbers: Range<Int> { 0..<prepared.inputs.count }
  package var outputNumbers: Range<Int> { 0..<prepared.outputs.count }
  /// Bytes that one sample in flight needs besides the program.
  package var workingBytes: Int { program.arenaBytes + prepared.scratchBytes + 2 * Limits.slackBytes }

  /// Runs `samples` samples that lie one after another in every input and output.
  /// - Requires: a pointer for every input and output of the program, each to `samples` times its elements.
  package func run(
    _ samples: Int, inputs: [UnsafePointer<Float>], outputs: [UnsafeMutablePointer<Float>]
  ) {
    take(inputs, outputs)
    self.samples = samples
    let workers = min(threads, samples)
    guard workers > 1 else {
      for sample in 0..<samples {
        bind(memory, sample)
        for step in steps.indices { runShared(step) }
      }
      return
    }
    while otherMemoryCount < workers - 1 {
      (otherMemories + otherMemoryCount).initialize(to: .passRetained(prepared.makeMemory()))
      otherMemoryCount += 1
    }
    pool.run(workers, Unmanaged.passUnretained(self).toOpaque()) { context, part in
      Unmanaged<Interpreter>.fromOpaque(context)._withUnsafeGuaranteedRef { $0.runSamples(part) }
    }
  }

  private func take(_ inputs: [UnsafePointer<Float>], _ outputs: [UnsafeMutablePointer<Float>]) {
    for number in 0..<prepared.inputs.count { sources[number] = inputs[number] }
    for number in 0..<prepared.outputs.count { targets[number] = outputs[number] }
  }

  /// Runs samples, given and returned as one array for every input and output.
  /// - Throws: when an input has another number of elements than `samples` samples have.
  package func run(_ inputs: [[Float]], samples: Int = 1) throws(RunError) -> [[Float]] {
    var observer = NoObserver()
    return try run(inputs, samples: samples, observer: &observer)
  }

  /// Runs one sample and shows every tensor of the program when it is complete: its index, and its elements
  /// in logical row-major order, as bytes (f32 little-endian). A tensor that several instructions write is
  /// shown after the last.
  package func run(
    _ inputs: [[Float]], observe: (_ tensor: Int, _ contents: [UInt8]) -> Void
  ) throws(RunError) -> [[Float]] {
    var failure: RunError?
    var results: [[Float]] = []
    withoutActuallyEscaping(observe) { observe in
      var observer = ClosureObserver(observe: observe)
      do throws(RunError) { results = try run(inputs, samples: 1, observer: &observer) } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return results
  }

  private func run<Observer: StepObserver>(
    _ inputs: [[Float]], samples: Int, observer: inout Observer
  ) throws(RunError) -> [[Float]] {
    guard samples >= 0, inputs.count == prepared.inputs.count else {
      throw RunError("the program has another number of inputs", input: inputs.count)
    }
    for number in inputNumbers where inputs[number].count != samples * inputCount(number) {
      throw RunError("the input has another number of elements than the program's", input: number)
    }
    // Copies with stable addresses; runs of single samples that must not allocate use pointers instead.
    var sources: [UnsafeMutablePointer<Float>] = [], targets: [UnsafeMutablePointer<Float>] = []
    defer {
      for pointer in sources + targets { pointer.deallocate() }
    }
    for number in inputNumbers {
      let pointer = UnsafeMutablePointer<Float>.allocate(capacity: max(inputs[number].count, 1))
      for (index, value) in inputs[number].enumerated() { (pointer + index).initialize(to: value) }
      sources.append(pointer)
    }
    for number in outputNumbers {
      let count = max(samples * outputCount(number), 1)
      let pointer = UnsafeMutablePointer<Float>.allocate(capacity: count)
      pointer.initialize(repeating: 0, count: count)
      targets.append(pointer)
    }
    if Observer.isNeeded {
      take(sources.map { UnsafePointer($0) }, targets)
      runObserved(&observer)
    } else {
      run(samples, inputs: sources.map { UnsafePointer($0) }, outputs: targets)
    }
    return outputNumbers.map { number in
      Array(UnsafeBufferPointer(start: targets[number], count: samples * outputCount(number)))
    }
  }

  private func runObserved<Observer: StepObserver>(_ observer: inout Observer) {
    bind(memory, 0)
    // Fused steps would hide their first instruction.
    steps = prepared.steps
    defer { steps = prepared.fusedSteps }
    var lastWriter = [Int](repeating: -1, count: program.tensors.count)
    for (index, instruction) in program.instructions.enumerated() { lastWriter[instruction.output] = index }
    for index in steps.indices {
      let instruction = steps.instruction(index)
      observer.willRun(instruction)
      runShared(index)
      observer.didRun(instruction)
      let isLastStep =
        index + 1 == steps.count || steps.instruction(index + 1) != instruction
      let tensor = program.instructions[instruction].output
      if Observer.wantsContents && isLastStep && lastWriter[tensor] == instruction {
        observer.show(tensor, contents(of: program.tensors[tensor], memory))
      }
    }
  }

  /// Runs one sample under an observer.
  /// - Requires: as for `run` with pointers.
  func runObserved<Observer: StepObserver>(
    inputs: [UnsafePointer<Float>], outputs: [UnsafeMutablePointer<Float>], _ observer: inout Observer
  ) {
    take(inputs, outputs)
    runObserved(&observer)
  }

  /// The name of what was chosen to run an instruction's multiplications; nil for other instructions.
  package func kernel(of instruction: Int) -> StaticString? { stepKernel(of: instruction)?.name }

  /// The peak of the instructions that the kernel of an instruction consists of; nil where there is none.
  package func peak(of instruction: Int) -> StaticString? {
    guard let kernel = stepKernel(of: instruction) else { return nil }
    return KernelTable.peak(kernel.peak, kernel.features)?.name
  }

  private func stepKernel(of instruction: Int) -> StepKernel? {
    for index in prepared.steps.indices where prepared.steps.instruction(index) == instruction {
      if let kernel = prepared.steps.kernel(index) { return kernel }
    }
    return nil
  }

  // MARK: Shares of work

  /// Points a memory's inputs and outputs at one sample.
  private func bind(_ memory: WorkingMemory, _ sample: Int) {
    for number in 0..<prepared.inputs.count {
      memory.inputs[number] = sources[number].map { $0 + sample &* prepared.inputCounts[number] }
    }
    for number in 0..<prepared.outputs.count {
      memory.outputs[number] = targets[number].map { $0 + sample &* prepared.outputCounts[number] }
    }
  }

  /// All of a step of the sample in the first memory, by as many threads as it pays for.
  @inline(__always)
  private func runShared(_ index: Int) {
    let parts = steps.parts(index)
    if parts == 1 { return steps.run(index, memory, part: 0, of: 1) }
    step = index
    pool.run(parts, Unmanaged.passUnretained(self).toOpaque()) { context, part in
      Unmanaged<Interpreter>.fromOpaque(context)._withUnsafeGuaranteedRef { interpreter in
        let steps = interpreter.steps, index = interpreter.step
        steps.run(index, interpreter.memory, part: part, of: steps.parts(index))
      }
    }
  }

  /// Samples one after another, until all are taken.
  private func runSamples(_ worker: Int) {
    while true {
      let sample = pool.takeIndex()
      guard sample < samples else { return }
      if worker == 0 {
        runSample(sample, memory)
      } else {
        otherMemories[worker - 1]._withUnsafeGuaranteedRef { runSample(sample, $0) }
      }
    }
  }

  private func runSample(_ sample: Int, _ memory: WorkingMemory) {
    bind(memory, sample)
    prepared.run(memory)
  }

  private func contents(of tensor: Program.Tensor, _ memory: WorkingMemory) -> [UInt8] {
    switch tensor.element {
    case .u8:
      let plane = Plane(tensor)
      var bytes: [UInt8] = []
      bytes.reserveCapacity(tensor.elementCount)
      for channel in 0..<plane.channels {
        for row in 0..<plane.height {
          for column in 0..<plane.width {
            let pixel = plane.offset + row * plane.rowStride + column * plane.pixelStride
            bytes.append(memory.arena[pixel + channel])
          }
        }
      }
      return bytes
    case .f32:
      guard let reals = memory.reals(RealPlace(tensor)) else { return [] }
      var bytes: [UInt8] = []
      for index in 0..<tensor.elementCount {
        let bits = reals[index].bitPattern
        for byte in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(8 * byte))) }
      }
      return bytes
    }
  }
}

/// What watches a run of one sample.
protocol StepObserver {
  /// Whether anything is watched at all.
  static var isNeeded: Bool { get }
  static var wantsContents: Bool { get }
  mutating func willRun(_ instruction: Int)
  mutating func didRun(_ instruction: Int)
  mutating func show(_ tensor: Int, _ contents: [UInt8])
}

private struct NoObserver: StepObserver {
  static var isNeeded: Bool { false }
  static var wantsContents: Bool { false }
  mutating func willRun(_: Int) {}
  mutating func didRun(_: Int) {}
  mutating func show(_: Int, _: [UInt8]) {}
}

private struct ClosureObserver: StepObserver {
  static var isNeeded: Bool { true }
  static var wantsContents: Bool { true }
  let observe: (Int, [UInt8]) -> Void
  mutating func willRun(_: Int) {}
  mutating func didRun(_: Int) {}
  mutating func show(_ tensor: Int, _ contents: [UInt8]) { observe(tensor, contents) }
}

/// Why inputs do not fit a program.
package struct RunError: Error, Sendable {
  package var reason: StaticString
  /// The number of the input, or of inputs where that is wrong.
  package var input: Int

  init(_ reason: StaticString, input: Int) {
    self.reason = reason
    self.input = input
  }
}

#if !hasFeature(Embedded)
  extension RunError: CustomStringConvertible {
    package var description: String { "input \(input): \(reason)" }
  }
#endif
