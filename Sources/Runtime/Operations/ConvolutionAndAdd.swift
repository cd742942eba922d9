import Program

/// A convolution whose rows can be computed some at a time.
protocol RowWork: StepWork {
  var output: Plane { get }
  /// It reads the padded image instead of the input in place.
  var readsScratch: Bool { get }
  /// Threads may share its rows.
  var hasRows: Bool { get }
  /// Rows that are computed together.
  var rowsAtOnce: Int { get }
  /// Some rows of the output, whatever the units are.
  /// - Requires: `hasRows`.
  func run(_ memory: WorkingMemory, part: Int, rows: Range<Int>)
}

/// A convolution and the sum of its result with another image, row by row: threads meet once instead of twice, and the
/// sum finds what it reads in the first-level cache.
struct ConvolutionAndAdd<Convolution: RowWork>: StepWork {
  /// Bytes of the convolution's result that the sum follows behind.
  private static var cachedBytes: Int { 20 << 10 }

  private let convolution: Convolution
  private let add: AddStep

  /// - Returns: nil where the sum of some rows could overwrite what the convolution of others still reads, the convolution
  ///   what the sum of others still reads, or the two do not have rows in common.
  /// - Requires: a validated program, in which the sum lies on its operands byte by byte or not at all.
  init?(
    _ convolution: Convolution, _ instruction: Instruction.Convolution, _ add: AddStep,
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

  var units: Int { (convolution.output.height + convolution.rowsAtOnce - 1) / convolution.rowsAtOnce }

  func run(_ memory: WorkingMemory, part: Int, _ range: Range<Int>) {
    let atOnce = convolution.rowsAtOnce
    let bytes = range.count &* atOnce &* convolution.output.rowStride
    let blocks = max(1, min(range.count, (bytes &+ Self.cachedBytes / 2) / Self.cachedBytes))
    for block in 0..<blocks {
      let first = range.lowerBound &+ range.count &* block / blocks
      let end = range.lowerBound &+ range.count &* (block &+ 1) / blocks
      let rows = first &* atOnce..<min(end &* atOnce, convolution.output.height)
      convolution.run(memory, part: part, rows: rows)
      add.run(memory, part: part, rows)
    }
  }
}
