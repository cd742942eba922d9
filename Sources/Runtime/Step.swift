import KernelInterface
import Program

/// What runs a piece of an instruction; its units of work do not depend on one another, so that threads can share them.
protocol StepWork {
  var units: Int { get }
  /// Does the units of a range, as one of several parts: those may run at the same time.
  func run(_ memory: WorkingMemory, part: Int, _ range: Range<Int>)
}

/// What runs the multiplications of a step, for reports.
struct StepKernel {
  var name: StaticString
  /// The kind of kernels whose peak bounds it.
  var peak: KernelKind
  var features: CPUFeatures
}

/// A piece of an instruction. A class for each kind of work, so that a step is one call, which copies nothing and counts
/// no references.
class Step {
  let instruction: Int
  let kernel: StepKernel?
  /// Shares that pay for the threads' meeting; at most the number of threads.
  let parts: Int

  /// - Parameter nanoseconds: an estimate for one thread.
  fileprivate init(instruction: Int, kernel: StepKernel?, units: Int, nanoseconds: Int, threads: Int) {
    self.instruction = instruction
    self.kernel = kernel
    parts = max(1, min(threads, units, nanoseconds / Step.smallestShare))
  }

  /// Nanoseconds of work below which a second thread costs more than it helps.
  private static let smallestShare = 1000

  /// One of `parts` shares.
  func run(_ memory: WorkingMemory, part: Int, of parts: Int) {}
}

private final class StepOf<Work: StepWork>: Step {
  private let work: Work

  init(_ work: Work, instruction: Int, kernel: StepKernel?, nanoseconds: Int, threads: Int) {
    self.work = work
    super.init(
      instruction: instruction, kernel: kernel, units: work.units, nanoseconds: nanoseconds, threads: threads)
  }

  override func run(_ memory: WorkingMemory, part: Int, of parts: Int) {
    let units = work.units
    let range = units &* part / parts..<units &* (part &+ 1) / parts
    if !range.isEmpty { work.run(memory, part: part, range) }
  }
}

/// Steps in the order of execution, at an address: taking one from an array would count references.
struct StepList {
  private let steps: UnsafeMutablePointer<Unmanaged<Step>>
  let count: Int

  init(_ steps: [Step]) {
    count = steps.count
    self.steps = .allocate(capacity: max(count, 1))
    for index in 0..<count { (self.steps + index).initialize(to: Unmanaged.passRetained(steps[index])) }
  }

  func deallocate() {
    for index in 0..<count { steps[index].release() }
    steps.deallocate()
  }

  var indices: Range<Int> { 0..<count }
  func instruction(_ index: Int) -> Int { steps[index]._withUnsafeGuaranteedRef { $0.instruction } }
  func kernel(_ index: Int) -> StepKernel? { steps[index]._withUnsafeGuaranteedRef { $0.kernel } }
  @inline(__always)
  func parts(_ index: Int) -> Int { steps[index]._withUnsafeGuaranteedRef { $0.parts } }
  @inline(__always)
  func run(_ index: Int, _ memory: WorkingMemory, part: Int, of parts: Int) {
    steps[index]._withUnsafeGuaranteedRef { $0.run(memory, part: part, of: parts) }
  }
}

/// A program made ready for one processor: kernels chosen, offsets and tables computed. Immutable and shared
/// by all threads.
package final class PreparedProgram {
  let program: Program
  let inputs: [Int]
  let outputs: [Int]
  /// Elements of every input and output.
  let inputCounts: [Int]
  let outputCounts: [Int]
  /// Each of one instruction, to be observed.
  let steps: StepList
  /// The same work with some instructions together, to be run.
  let fusedSteps: StepList
  /// What every thread's kernels need, and the largest padded image behind it.
  package let scratchBytes: Int
  private let kernelBytes: Int
  private let imageOffset: Int
  private let constants: ConstantPool

  /// - Requires: a validated program.
  package init(_ program: Program, features: CPUFeatures, threads: Int, tuning: Tuning = .none) {
    let constants = ConstantPool()
    var planner = Planner(
      program: program, features: features, threads: threads, tuning: tuning, constants: constants)
    for index in program.instructions.indices { planner.plan(index) }
    self.program = program
    self.constants = constants
    inputs = program.inputs
    outputs = program.outputs
    inputCounts = inputs.map { program.tensors[$0].elementCount }
    outputCounts = outputs.map { program.tensors[$0].elementCount }
    steps = StepList(planner.steps)
    fusedSteps = StepList(planner.fusedSteps)
    kernelBytes = planner.kernelBytes
    imageOffset = threads * kernelBytes
    scratchBytes = imageOffset + roundedUp(planner.imageBytes, to: 64)
  }

  deinit {
    steps.deallocate()
    fusedSteps.deallocate()
  }

  /// Runs one sample, whose inputs and outputs `memory` points at, on the calling thread.
  package func run(_ memory: WorkingMemory) {
    for index in fusedSteps.indices { fusedSteps.run(index, memory, part: 0, of: 1) }
  }

  package func makeMemory() -> WorkingMemory {
    makeMemory(arena: nil, scratch: nil)
  }

  /// Over memory of the caller's, aligned to 64 and with `Limits.slackBytes` behind the bytes that the program and
  /// `scratchBytes` name.
  package func makeMemory(
    arena: UnsafeMutableRawPointer?, scratch: UnsafeMutableRawPointer?
  ) -> WorkingMemory {
    WorkingMemory(
      arena: arena, scratch: scratch, arenaBytes: program.arenaBytes, scratchBytes: scratchBytes,
      kernelBytes: kernelBytes, imageOffset: imageOffset, inputs: inputs.count, outputs: outputs.count)
  }
}

extension Instruction.Convolution.Kind {
  /// Of dense convolutions.
  var kernelKind: KernelKind? {
    switch self {
    case .dense8: .dense8
    case .dense4: .dense4
    case .depthwise: nil
    case .dense2: .dense2
    case .palette: .palette
    case .binary: .binary
    case .ternary: .ternary
    }
  }
}

/// Convolutions that a sum can join.
private enum RowConvolution {
  case direct(ConvolutionStep)
  case winograd(WinogradStep)
}

/// Turns instructions into steps.
private struct Planner {
  let program: Program
  let features: CPUFeatures
  let threads: Int
  let tuning: Tuning
  let constants: ConstantPool
  private let elementwise: ElementwiseKernels
  var steps: [Step] = []
  var fusedSteps: [Step] = []
  /// The last step, if it is a convolution.
  private var convolution: (step: RowConvolution, instruction: Int, nanoseconds: Int)?
  var imageBytes = 0
  var kernelBytes = ConvolutionArguments.scratchBytes

  init(
    program: Program, features: CPUFeatures, threads: Int, tuning: Tuning, constants: ConstantPool
  ) {
    self.program = program
    self.features = features
    self.threads = threads
    self.tuning = tuning
    self.constants = constants
    elementwise = KernelTable.selectElementwise(features)
  }

  mutating func plan(_ index: Int) {
    let instruction = program.instructions[index], output = program.tensors[instruction.output]
    // Rough speeds of one core, in elements a nanosecond.
    let elements = output.elementCount
    switch instruction.operation {
    case .quantize(let o):
      let step = QuantizeStep(o, program, features: features)
      append(step, index, nanoseconds: elements / 8)
    case .dequantize(let o):
      let step = DequantizeStep(o, program)
      append(step, index, nanoseconds: elements / 8)
    case .convolution(let o):
      if let step = MatrixVectorStep(o, program, features: features, constants) {
        return append(step, index)
      }
      guard let kind = o.kind.kernelKind else { return planDepthwise(o, index) }
      let kernel = KernelTable.select(kind, features, preferred: tuning.kernel(index))
      if planWinograd(o, index, direct: kernel) { return }
      var image: ScratchImage?
      if o.kind.isBitSerial {
        let step = BitImageStep(o.window, program.tensors[o.input], o.kind, features: features)
        append(step, index, nanoseconds: program.tensors[o.input].elementCount / 16)
        imageBytes = max(imageBytes, step.byteCount)
        image = step.image
      } else if kernel.readsWords || !program.tensors[o.input].border.covers(o.window) {
        let step = PadStep(o.window, program.tensors[o.input], toWords: kernel.readsWords)
        append(step, index, nanoseconds: step.byteCount / 8)
        imageBytes = max(imageBytes, step.byteCount)
        image = step.image
      }
      if let step = ConvolutionStep(o, program, image: image, kernel, threads: threads, constants) {
        let nanoseconds =
          step.geometry.productsPerPixel * output.pixels / productsPerNanosecond(step.kernel.features)
        append(
          step, index,
          kernel: StepKernel(
            name: step.kernel.name, peak: step.kernel.kind, features: step.kernel.features),
          nanoseconds: nanoseconds)
        convolution = (.direct(step), index, nanoseconds)
      }
    case .floatProduct(let o):
      if let step = MatrixVectorStep(o, program, features: features, constants) { append(step, index) }
    case .add(let o):
      planAdd(o, index, nanoseconds: elements / 32)
    case .multiply(let o):
      let step = MultiplyStep(o, program, elementwise)
      append(step, index, nanoseconds: elements / 8)
    case .averagePool(let o):
      let step = AveragePoolStep(o, program, features: features, constants)
      append(step, index, nanoseconds: elements * o.window.taps / 32)
    case .maxPool(let o):
      let step = MaxPoolStep(o, program, features: features)
      append(step, index, nanoseconds: elements * o.window.taps / 32)
    case .lookup(let o):
      let step = LookupStep(o, program, constants)
      append(step, index, nanoseconds: elements)
    case .copy(let o):
      if let value = o.fill {
        let step = FillStep(output, value)
        append(step, index, nanoseconds: step.count / 16)
      }
      let step = CopyStep(o, program, constants)
      append(step, index, nanoseconds: elements)
    case .softmax(let o):
      let step = SoftmaxStep(o, program)
      append(step, index, nanoseconds: 4 * elements)
    }
  }

  /// - Returns: whether the convolution is one of those, and there is a kernel for them that should run it.
  private mutating func planWinograd(
    _ convolution: Instruction.Convolution, _ index: Int, direct: Kernel
  ) -> Bool {
    let input = program.tensors[convolution.input], output = program.tensors[convolution.output]
    guard
      let kernel = KernelTable.selectWinograd(features, direct: direct, preferred: tuning.kernel(index)),
      WinogradStep.canRun(convolution, program)
    else { return false }
    var image: ScratchImage?
    if !input.border.covers(convolution.window) {
      let step = PadStep(convolution.window, input, toWords: false)
      append(step, index, nanoseconds: step.byteCount / 16)
      imageBytes = max(imageBytes, step.byteCount)
      image = step.image
    }
    guard let step = WinogradStep(convolution, program, image: image, kernel, constants) else { return false }
    kernelBytes = max(kernelBytes, step.scratchBytes)
    let nanoseconds =
      step.geometry.productsPerPixel * output.pixels / (2 * productsPerNanosecond(kernel.features))
    append(
      step, index, kernel: StepKernel(name: kernel.name, peak: .dense8, features: kernel.features),
      nanoseconds: nanoseconds)
    self.convolution = (.winograd(step), index, nanoseconds)
    return true
  }

  /// A sum behind a convolution joins it.
  private mutating func planAdd(_ add: Instruction.Add, _ index: Int, nanoseconds: Int) {
    let step = AddStep(add, program, elementwise), previous = convolution
    append(step, index, nanoseconds: nanoseconds)
    guard let previous, case .convolution(let o) = program.instructions[previous.instruction].operation else {
      return
    }
    let total = previous.nanoseconds + nanoseconds
    switch previous.step {
    case .direct(let convolution): join(ConvolutionAndAdd(convolution, o, step, add, program), index, total)
    case .winograd(let convolution): join(ConvolutionAndAdd(convolution, o, step, add, program), index, total)
    }
  }

  /// Replaces the last two steps.
  private mutating func join<Work: StepWork>(_ both: Work?, _ index: Int, _ nanoseconds: Int) {
    guard let both else { return }
    fusedSteps.removeLast(2)
    fusedSteps.append(
      StepOf(both, instruction: index, kernel: nil, nanoseconds: nanoseconds, threads: threads))
  }

  private mutating func append(_ usual: MatrixVectorStep, _ index: Int) {
    var step = usual
    step.prefer(tuning.kernel(index), features)
    append(
      step, index,
      kernel: StepKernel(
        name: step.kernels.name, peak: step.geometry.kind == .dense4 ? .dense4 : .dense8,
        features: step.kernels.features),
      nanoseconds: step.geometry.weightBytes / bytesPerNanosecond(step))
  }

  private mutating func planDepthwise(_ convolution: Instruction.Convolution, _ index: Int) {
    let step = DepthwiseStep(
      convolution, program, features: features, preferred: tuning.kernel(index), constants)
    kernelBytes = max(kernelBytes, step.scratchBytes)
    let products = step.geometry.productsPerPixel * program.tensors[convolution.output].pixels
    append(
      step, index, kernel: StepKernel(name: step.kernel.name, peak: .dense8, features: step.kernel.features),
      nanoseconds: products / productsPerNanosecond(step.kernel.features))
  }

  private mutating func append<Work: StepWork>(
    _ work: Work, _ index: Int, kernel: StepKernel? = nil, nanoseconds: Int
  ) {
    let step = StepOf(work, instruction: index, kernel: kernel, nanoseconds: nanoseconds, threads: threads)
    steps.append(step)
    fusedSteps.append(step)
    convolution = nil
  }

  /// Weights that one thread reads, roughly.
  private func bytesPerNanosecond(_ step: MatrixVectorStep) -> Int {
    if step.kernels.features.contains(.avx512vnni) { return 64 }
    return step.kernels.features.contains(.avx2) ? 32 : 4
  }

  /// What one thread does at least, from the slowest shapes of each instruction set.
  private func productsPerNanosecond(_ features: CPUFeatures) -> Int {
    if features.contains(.avx512vnni) { return 200 }
    return features.contains(.avx2) ? 80 : 12
  }
}
