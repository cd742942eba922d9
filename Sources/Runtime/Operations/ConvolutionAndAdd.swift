import Program

/// A convolution and the sum of its result with another image, row by row: threads meet once instead of twice, and the
/// sum finds what it reads in the first-level cache.
struct ConvolutionAndAdd: StepWork {
  /// Bytes of the convolution's result that the sum follows behind.
  private static let cachedBytes = 20 << 10

  private let convolution: ConvolutionStep
  private let add: AddStep

  /// - Returns: nil where the sum of some rows could overwrite what the convolution of others still reads, or the two do
  ///   not have rows in common.
  init?(
    _ convolution: ConvolutionStep, _ instruction: Instruction.Convolution, _ add: AddStep,
    _ sum: Instruction.Add, _ program: Program
  ) {
    let x = program.tensors[instruction.input], y = program.tensors[sum.output]
    guard sum.a == instruction.output || sum.b == instruction.output, convolution.hasRows,
      add.units == convolution.output.height, convolution.readsScratch || !x.overlaps(y)
    else { return nil }
    for operand in [sum.a, sum.b] {
      let tensor = program.tensors[operand]
      guard
        tensor.storage == y.storage && tensor.border == y.border && tensor.pixelStride == y.pixelStride
          || !tensor.overlaps(y)
      else { return nil }
    }
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

extension Program.Tensor {
  /// Bytes of the arena in common.
  fileprivate func overlaps(_ other: Program.Tensor) -> Bool {
    guard case .arena(let first) = storage, case .arena(let second) = other.storage else { return false }
    return first < second + other.byteCount && second < first + byteCount
  }
}
