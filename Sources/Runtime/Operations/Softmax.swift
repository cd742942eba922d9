import Numerics
import Program

/// `normalizedExponentials` of Numerics along one axis.
struct SoftmaxStep: StepWork {
  let input: RealPlace
  let output: RealPlace
  let outer: Int
  let extent: Int
  let inner: Int

  init(_ softmax: Instruction.Softmax, _ program: Program) {
    input = RealPlace(program.tensors[softmax.input])
    output = RealPlace(program.tensors[softmax.output])
    outer = softmax.outer
    extent = softmax.extent
    inner = softmax.inner
  }

  var units: Int { outer * inner }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    guard let source = memory.reals(input), let target = memory.reals(output) else { return }
    for unit in range {
      let start = unit / inner * extent * inner + unit % inner
      normalizedExponentials(source + start, target + start, count: extent, stride: inner)
    }
  }
}
