import KernelInterface
import Program

/// A piece of an instruction that threads can share: its units of work do not depend on one another.
struct Step {
  enum Work {
    case quantize(QuantizeStep)
    case dequantize(DequantizeStep)
    case pad(PadStep)
    case bitImage(BitImageStep)
    case convolution(ConvolutionStep)
    case matrixVector(MatrixVectorStep)
    case depthwise(DepthwiseStep)
    case add(AddStep)
    case multiply(MultiplyStep)
    case averagePool(AveragePoolStep)
    case maxPool(MaxPoolStep)
    case lookup(LookupStep)
    case fill(FillStep)
    case copy(CopyStep)
    case softmax(SoftmaxStep)
  }

  let instruction: Int
  let work: Work
  let units: Int
  /// Shares that pay for the threads' meeting; at most the number of threads.
  let parts: Int

  /// - Parameter nanoseconds: an estimate for one thread.
  init(_ work: Work, instruction: Int, units: Int, nanoseconds: Int, threads: Int) {
    self.instruction = instruction
    self.work = work
    self.units = units
    parts = max(1, min(threads, units, nanoseconds / Step.smallestShare))
  }

  /// Nanoseconds of work below which a second thread costs more than it helps.
  private static let smallestShare = 4000

  /// One of `parts` shares.
  @inline(__always)
  func run(_ memory: WorkingMemory, part: Int, of parts: Int) {
    let range = units * part / parts..<units * (part + 1) / parts
    if range.isEmpty { return }
    switch work {
    case .quantize(let step): step.run(memory, part: part, range)
    case .dequantize(let step): step.run(memory, range)
    case .pad(let step): step.run(memory, range)
    case .bitImage(let step): step.run(memory, range)
    case .convolution(let step): step.run(memory, part: part, range)
    case .matrixVector(let step): step.run(memory, part: part, range)
    case .depthwise(let step): step.run(memory, part: part, range)
    case .add(let step): step.run(memory, range)
    case .multiply(let step): step.run(memory, range)
    case .averagePool(let step): step.run(memory, range)
    case .maxPool(let step): step.run(memory, range)
    case .lookup(let step): step.run(memory, range)
    case .fill(let step): step.run(memory, range)
    case .copy(let step): step.run(memory, range)
    case .softmax(let step): step.run(memory, range)
    }
  }
}

/// A program made ready for one processor: kernels chosen, offsets and tables computed. Immutable and shared
/// by all threads.
package final class PreparedProgram {
  let program: Program
  let inputs: [Int]
  let outputs: [Int]
  let steps: [Step]
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
    steps = planner.steps
    kernelBytes = planner.kernelBytes
    imageOffset = threads * kernelBytes
    scratchBytes = imageOffset + roundedUp(planner.imageBytes, to: 64)
  }

  /// Runs one sample, whose inputs and outputs `memory` points at, on the calling thread.
  package func run(_ memory: WorkingMemory) {
    for index in steps.indices { steps[index].run(memory, part: 0, of: 1) }
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

/// Turns instructions into steps.
private struct Planner {
  let program: Program
  let features: CPUFeatures
  let threads: Int
  let tuning: Tuning
  let constants: ConstantPool
  private let elementwise: ElementwiseKernels
  var steps: [Step] = []
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
      append(.quantize(step), index, step.units, nanoseconds: elements / 8)
    case .dequantize(let o):
      let step = DequantizeStep(o, program)
      append(.dequantize(step), index, step.units, nanoseconds: elements)
    case .convolution(let o):
      if let step = MatrixVectorStep(o, program, features: features, constants) {
        return append(step, index)
      }
      guard let kind = o.kind.kernelKind else { return planDepthwise(o, index) }
      let kernel = KernelTable.select(kind, features, preferred: tuning.kernel(index))
      var image: ScratchImage?
      if o.kind.isBitSerial {
        let step = BitImageStep(o.window, program.tensors[o.input], o.kind, features: features)
        append(.bitImage(step), index, step.units, nanoseconds: program.tensors[o.input].elementCount / 16)
        imageBytes = max(imageBytes, step.byteCount)
        image = step.image
      } else if o.window.isPadded || kernel.readsWords {
        let step = PadStep(o.window, program.tensors[o.input], toWords: kernel.readsWords)
        append(.pad(step), index, step.units, nanoseconds: step.byteCount / 8)
        imageBytes = max(imageBytes, step.byteCount)
        image = step.image
      }
      if let step = ConvolutionStep(o, program, image: image, kernel, threads: threads, constants) {
        let products = step.geometry.productsPerPixel * output.pixels
        append(
          .convolution(step), index, step.units,
          nanoseconds: products / productsPerNanosecond(step.kernel.features))
      }
    case .floatProduct(let o):
      if let step = MatrixVectorStep(o, program, features: features, constants) { append(step, index) }
    case .add(let o):
      let step = AddStep(o, program, elementwise)
      append(.add(step), index, step.units, nanoseconds: elements / 32)
    case .multiply(let o):
      let step = MultiplyStep(o, program, elementwise)
      append(.multiply(step), index, step.units, nanoseconds: elements / 8)
    case .averagePool(let o):
      let step = AveragePoolStep(o, program, features: features, constants)
      append(.averagePool(step), index, step.units, nanoseconds: elements * o.window.taps / 32)
    case .maxPool(let o):
      let step = MaxPoolStep(o, program, features: features)
      append(.maxPool(step), index, step.units, nanoseconds: elements * o.window.taps / 32)
    case .lookup(let o):
      let step = LookupStep(o, program, constants)
      append(.lookup(step), index, step.units, nanoseconds: elements)
    case .copy(let o):
      if let value = o.fill {
        let step = FillStep(output, value)
        append(.fill(step), index, step.units, nanoseconds: step.count / 16)
      }
      let step = CopyStep(o, program, constants)
      append(.copy(step), index, step.units, nanoseconds: elements)
    case .softmax(let o):
      let step = SoftmaxStep(o, program)
      append(.softmax(step), index, step.units, nanoseconds: 4 * elements)
    }
  }

  private mutating func append(_ usual: MatrixVectorStep, _ index: Int) {
    var step = usual
    step.prefer(tuning.kernel(index), features)
    append(
      .matrixVector(step), index, step.units,
      nanoseconds: step.geometry.weightBytes / bytesPerNanosecond(step))
  }

  private mutating func planDepthwise(_ convolution: Instruction.Convolution, _ index: Int) {
    let step = DepthwiseStep(
      convolution, program, features: features, preferred: tuning.kernel(index), constants)
    kernelBytes = max(kernelBytes, step.scratchBytes)
    let products = step.geometry.productsPerPixel * program.tensors[convolution.output].pixels
    append(
      .depthwise(step), index, step.units,
      nanoseconds: products / productsPerNanosecond(step.kernel.features))
  }

  private mutating func append(_ work: Step.Work, _ index: Int, _ units: Int, nanoseconds: Int) {
    steps.append(Step(work, instruction: index, units: units, nanoseconds: nanoseconds, threads: threads))
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
