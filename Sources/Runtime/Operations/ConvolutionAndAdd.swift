import Program

/// A convolution and the sum of its result with another image, row by row: threads meet once instead of twice, and the
/// sum finds what it reads in the first-level cache.
struct ConvolutionAndAdd: StepWork {
  /// Bytes of the convolution's result that the sum follows behind.
  private static let cachedBytes = 20 << 10

  private let convolution: ConvolutionStep
  private let add: AddStep

  /// - Returns: nil where the sum of some rows could overwrite what the convolution of others still reads, the convolution
  ///   what the sum of others still reads, or the two do not have rows in common.
  /// - Requires: a validated program, in which the sum lies on its operands byte by byte or not at all.
  init?(
    _ convolution: ConvolutionStep, _ instruction: Instruction.Convolution, _ add: AddStep,
    _ sum: Instruction.Add, _ program: Program
  ) {
    guard sum.a == instruction.output || sum.b == instruction.output, convolution.hasRows,
      add.units == convolution.output.height
    else { return nil }
    let x = program.tensors[instruction.input], product = program.tensors[instruction.output]
    let other = sum.a == instruction.output ? sum.b : sum.a
    guard convolution.readsScratch || !x.overlaps(program.tensors[sum.output]),
      other == instruction.output || !product.overlaps(program.tensors[other])
    else { return nil }
    self.convolution = convolution
    self.add = add
  }

  /// Rows.
  var units: Int { convolution.output.height }

  func run(_ memory: WorkingMemory, part: Int, _ range: Range<Int>) {
    let bytes = range.count &* convolution.output.rowStride
    let blocks = max(1, min(range.count, (bytes &+ Self.cachedBytes / 2) / Self.cachedBytes))
    for block in 0..<blocks {
      let rows =
        range.lowerBound &+ range.count &* block / blocks..<range.lowerBound &+ range.count &* (block &+ 1)
        / blocks
      convolution.run(memory, part: part, rows: rows)
      add.run(memory, part: part, rows)
    }
  }
}
