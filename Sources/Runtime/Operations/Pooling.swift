import KernelInterface
import Program

/// The windows of a pool, in rows of the output and runs of windows that cover equally many columns.
private struct WindowRuns {
  let window: Instruction.Window
  let input: Plane
  let output: Plane

  /// Taps that lie in the image along one axis.
  private struct Cover {
    /// Row or column of the first.
    var first: Int
    var count: Int

    @inline(__always)
    init(start: Int, kernel: Int, dilation: Int, extent: Int) {
      let skipped = start >= 0 ? 0 : (dilation &- 1 &- start) / dilation
      let end = start >= extent ? 0 : (extent &- 1 &- start) / dilation &+ 1
      first = start &+ skipped &* dilation
      count = max(0, min(kernel, end) &- skipped)
    }
  }

  /// Calls `body` for the runs of an output row; with one window, of no rows or columns, where it lies in the padding.
  @inline(__always)
  func forEach(_ memory: WorkingMemory, row: Int, _ body: (_ windows: PoolArguments, _ count: Int) -> Void) {
    let rows = Cover(
      start: row &* window.strideRows &- window.padTop, kernel: window.kernelHeight,
      dilation: window.dilationRows, extent: input.height)
    var column = 0
    while column < output.width {
      let left = column &* window.strideColumns &- window.padLeft
      let columns = Cover(
        start: left, kernel: window.kernelWidth, dilation: window.dilationColumns, extent: input.width)
      var count = 1
      if rows.count > 0 && left >= 0 && columns.count == window.kernelWidth {
        // And so do the windows that follow, up to the last that ends in the image.
        let last = (input.width &- window.spanColumns &- left) / window.strideColumns
        count = min(last &+ 1, output.width &- column)
      }
      let pixel =
        memory.arena + (input.offset &+ rows.first &* input.rowStride &+ columns.first &* input.pixelStride)
      let windows = PoolArguments(
        input: pixel, rows: rows.count, columns: columns.count,
        rowStride: window.dilationRows &* input.rowStride,
        columnStride: window.dilationColumns &* input.pixelStride,
        windowStride: window.strideColumns &* input.pixelStride, channels: output.storedChannels,
        output: memory.arena + (output.offset &+ row &* output.rowStride &+ column &* output.pixelStride),
        outputPixelStride: output.pixelStride)
      body(windows, count)
      column &+= count
    }
  }
}

struct AveragePoolStep: StepWork {
  private let kernel: @Sendable (PoolArguments, MeanArguments, Int) -> Void
  private let runs: WindowRuns
  private let countsPads: Bool
  private let multiplier: UnsafePointer<Int32>
  private let shift: UnsafePointer<Int32>
  /// Entries of the tables: 1, or one for every count of positions.
  private let entries: Int
  private let inputZeroPoint: Int32
  private let zeroPoint: Int32
  private let minimum: Int32
  private let maximum: Int32

  init(_ pool: Instruction.AveragePool, _ program: Program, features: CPUFeatures, _ constants: ConstantPool)
  {
    let x = program.tensors[pool.input], y = program.tensors[pool.output]
    kernel = KernelTable.selectPool(features).means
    runs = WindowRuns(window: pool.window, input: Plane(x), output: Plane(y))
    countsPads = pool.countsPads
    entries = pool.shift.count
    multiplier = constants.allocate((0..<entries).map { program.data.int32(pool.multiplier, $0) })
    shift = constants.allocate((0..<entries).map { Int32(program.data.bytes[pool.shift.offset + $0]) })
    inputZeroPoint = Int32(x.zeroPoint)
    zeroPoint = Int32(y.zeroPoint)
    minimum = Int32(pool.clamp.minimum)
    maximum = Int32(pool.clamp.maximum)
  }

  /// Rows of the output.
  var units: Int { runs.output.height }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    for row in range {
      runs.forEach(memory, row: row) { windows, count in
        let positions = windows.rows &* windows.columns
        guard positions > 0 else {
          // The window lies in the padding: the mean of nothing is zero.
          let zero = UInt8(truncatingIfNeeded: min(max(zeroPoint, minimum), maximum))
          return windows.output.update(repeating: zero, count: windows.channels)
        }
        let entry = entries == 1 ? 0 : (countsPads ? runs.window.taps : positions) &- 1
        let mean = MeanArguments(
          offset: inputZeroPoint &* Int32(truncatingIfNeeded: positions), multiplier: multiplier[entry],
          shift: shift[entry], zeroPoint: zeroPoint, minimum: minimum, maximum: maximum)
        kernel(windows, mean, count)
      }
    }
    runs.output.fillBorder(memory.arena, rows: range)
  }
}

struct MaxPoolStep: StepWork {
  private let kernel: @Sendable (PoolArguments, Int) -> Void
  private let runs: WindowRuns

  init(_ pool: Instruction.MaxPool, _ program: Program, features: CPUFeatures) {
    kernel = KernelTable.selectPool(features).maxima
    runs = WindowRuns(
      window: pool.window, input: Plane(program.tensors[pool.input]),
      output: Plane(program.tensors[pool.output]))
  }

  /// Rows of the output.
  var units: Int { runs.output.height }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    for row in range {
      runs.forEach(memory, row: row) { windows, count in
        guard windows.rows > 0 && windows.columns > 0 else {
          return windows.output.update(repeating: 0, count: windows.channels)
        }
        kernel(windows, count)
      }
    }
    runs.output.fillBorder(memory.arena, rows: range)
  }
}
