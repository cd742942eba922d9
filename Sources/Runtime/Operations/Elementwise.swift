import KernelInterface
import Program

/// Bytes of planes that agree in shape, walked in runs: the whole plane where all are contiguous, else row by row or
/// pixel by pixel.
struct ElementRuns {
  private enum Order {
    /// One pixel, or one row: blocks of bytes.
    case blocks
    /// Rows with their border, which agrees everywhere: its zero points give the output's zero point.
    case flatRows
    case rows
    case pixels
  }
  /// Bytes of a unit of work, where it is no row.
  private static let blockBytes = 4096
  private let order: Order
  private let output: Plane

  /// A run of bytes, counted from a pixel of the image.
  struct Run {
    var row: Int
    var column: Int
    var byte: Int
    var count: Int

    @inline(__always)
    func offset(_ plane: Plane) -> Int {
      plane.offset &+ row &* plane.rowStride &+ column &* plane.pixelStride &+ byte
    }
  }

  /// - Parameter keepsZeroPoints: operands at their zero points give the output's.
  init(_ planes: Plane..., keepsZeroPoints: Bool) {
    output = planes[planes.count - 1]
    var hasContiguousRows = true, isFlat = keepsZeroPoints || !output.hasBorder
    for plane in planes {
      if !plane.hasContiguousRows { hasContiguousRows = false }
      if plane.border != output.border || plane.pixelStride != plane.storedChannels { isFlat = false }
    }
    if !hasContiguousRows {
      order = .pixels
    } else if output.height == 1 && !output.hasBorder {
      order = .blocks
    } else {
      order = isFlat ? .flatRows : .rows
    }
  }

  init(pixelByPixel plane: Plane) {
    order = .pixels
    output = plane
  }

  /// Rows of the output, or blocks of a single one.
  var units: Int {
    switch order {
    case .blocks: (rowBytes + Self.blockBytes - 1) / Self.blockBytes
    case .flatRows, .rows, .pixels: output.height
    }
  }

  private var rowBytes: Int { (output.width &- 1) &* output.pixelStride &+ output.storedChannels }

  /// Calls `body` with the runs of some units, and writes the border beside them.
  @inline(__always)
  func forEach(_ memory: WorkingMemory, _ range: Range<Int>, _ body: (Run) -> Void) {
    switch order {
    case .blocks:
      let first = range.lowerBound &* Self.blockBytes
      let end = min(range.upperBound &* Self.blockBytes, rowBytes)
      body(Run(row: 0, column: 0, byte: first, count: end &- first))
    case .flatRows:
      let border = output.border
      let above = range.lowerBound == 0 ? border.top : 0
      let below = range.upperBound == output.height ? border.bottom : 0
      body(
        Run(
          row: range.lowerBound &- above, column: -border.left, byte: 0,
          count: (range.count &+ above &+ below) &* output.rowStride))
    case .rows:
      for row in range { body(Run(row: row, column: 0, byte: 0, count: rowBytes)) }
      output.fillBorder(memory.arena, rows: range)
    case .pixels:
      for row in range {
        for column in 0..<output.width {
          body(Run(row: row, column: column, byte: 0, count: output.storedChannels))
        }
      }
      output.fillBorder(memory.arena, rows: range)
    }
  }
}

struct AddStep: StepWork {
  let kernel: @Sendable (AddArguments, Int) -> Void
  let a: Plane
  let b: Plane
  let output: Plane
  let runs: ElementRuns
  let multiplierA: Int32
  let multiplierB: Int32
  let shift: Int32
  /// Zero points and rounding folded together: what is added to the weighted sum of stored numbers.
  let constant: Int32
  let zeroPoint: Int32
  let minimum: Int32
  let maximum: Int32

  init(_ add: Instruction.Add, _ program: Program, _ kernels: ElementwiseKernels) {
    kernel = kernels.add
    let a = program.tensors[add.a], b = program.tensors[add.b], y = program.tensors[add.output]
    self.a = Plane(a)
    self.b = Plane(b)
    output = Plane(y)
    runs = ElementRuns(
      self.a, self.b, output,
      keepsZeroPoints: add.clamp.minimum <= y.zeroPoint && y.zeroPoint <= add.clamp.maximum)
    multiplierA = add.multiplierA
    multiplierB = add.multiplierB
    shift = add.shift
    // Wrapping sums are the same in any order.
    constant =
      (1 &<< (add.shift &- 1)) &- Int32(a.zeroPoint) &* add.multiplierA &- Int32(b.zeroPoint)
      &* add.multiplierB
    zeroPoint = Int32(y.zeroPoint)
    minimum = Int32(add.clamp.minimum)
    maximum = Int32(add.clamp.maximum)
  }

  var units: Int { runs.units }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    runs.forEach(memory, range) { run in
      let arguments = AddArguments(
        a: memory.arena + run.offset(a), b: memory.arena + run.offset(b),
        output: memory.arena + run.offset(output),
        multiplierA: multiplierA, multiplierB: multiplierB, constant: constant, shift: shift,
        zeroPoint: zeroPoint,
        minimum: minimum, maximum: maximum)
      kernel(arguments, run.count)
    }
  }
}

struct MultiplyStep: StepWork {
  let kernel: @Sendable (MultiplyArguments, Int) -> Void
  let a: Plane
  let b: Plane
  let output: Plane
  let broadcasts: Bool
  let runs: ElementRuns
  let zeroPointA: Int32
  let zeroPointB: Int32
  let multiplier: Int32
  let shift: Int32
  let zeroPoint: Int32
  let minimum: Int32
  let maximum: Int32

  init(_ multiply: Instruction.Multiply, _ program: Program, _ kernels: ElementwiseKernels) {
    kernel = kernels.multiply
    let a = program.tensors[multiply.a], b = program.tensors[multiply.b], y = program.tensors[multiply.output]
    self.a = Plane(a)
    self.b = Plane(b)
    output = Plane(y)
    broadcasts = self.b.pixels != output.pixels
    // One pixel at a time where the second operand is the same for all.
    runs =
      broadcasts
      ? ElementRuns(pixelByPixel: output)
      : ElementRuns(
        self.a, self.b, output,
        keepsZeroPoints: multiply.clamp.minimum <= y.zeroPoint && y.zeroPoint <= multiply.clamp.maximum)
    zeroPointA = Int32(a.zeroPoint)
    zeroPointB = Int32(b.zeroPoint)
    multiplier = multiply.multiplier
    shift = multiply.shift
    zeroPoint = Int32(y.zeroPoint)
    minimum = Int32(multiply.clamp.minimum)
    maximum = Int32(multiply.clamp.maximum)
  }

  var units: Int { runs.units }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    runs.forEach(memory, range) { run in
      let arguments = MultiplyArguments(
        a: memory.arena + run.offset(a), b: memory.arena + (broadcasts ? b.offset : run.offset(b)),
        output: memory.arena + run.offset(output), zeroPointA: zeroPointA,
        zeroPointB: zeroPointB, multiplier: multiplier, shift: shift, zeroPoint: zeroPoint, minimum: minimum,
        maximum: maximum)
      kernel(arguments, run.count)
    }
  }
}

struct LookupStep: StepWork {
  let input: Plane
  let output: Plane
  let table: UnsafePointer<UInt8>
  let runs: ElementRuns

  init(_ lookup: Instruction.Lookup, _ program: Program, _ pool: ConstantPool) {
    let x = program.tensors[lookup.input], y = program.tensors[lookup.output]
    input = Plane(x)
    output = Plane(y)
    let table = program.data[lookup.table]
    self.table = pool.allocate(Array(table))
    runs = ElementRuns(input, output, keepsZeroPoints: table[Int(x.zeroPoint)] == y.zeroPoint)
  }

  var units: Int { runs.units }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    let table = table
    runs.forEach(memory, range) { run in
      let x = UnsafePointer(memory.arena + run.offset(input)), y = memory.arena + run.offset(output)
      for i in 0..<run.count { y[i] = table[Int(x[i])] }
    }
  }
}
