import Numerics
import Program

/// The part of an image that a window covers, cut off at the borders.
private struct Cover {
  var rows: Range<Int>
  var columns: Range<Int>

  @inline(__always)
  init(_ window: Instruction.Window, _ input: Plane, row: Int, column: Int) {
    let top = row &* window.strideRows &- window.padTop,
      left = column &* window.strideColumns &- window.padLeft
    let firstRow = max(top, 0), firstColumn = max(left, 0)
    rows = firstRow..<max(firstRow, min(top &+ window.kernelHeight, input.height))
    columns = firstColumn..<max(firstColumn, min(left &+ window.kernelWidth, input.width))
  }
  var count: Int { rows.count &* columns.count }
}

struct AveragePoolStep {
  let input: Plane
  let output: Plane
  let window: Instruction.Window
  let countsPads: Bool
  let multiplier: UnsafePointer<Int32>
  let shift: UnsafePointer<Int32>
  /// Entries of the tables: 1, or one for every count of positions.
  let entries: Int
  let inputZeroPoint: Int32
  let zeroPoint: Int32
  let minimum: Int32
  let maximum: Int32

  init(_ pool: Instruction.AveragePool, _ program: Program, _ constants: ConstantPool) {
    let x = program.tensors[pool.input], y = program.tensors[pool.output]
    input = Plane(x)
    output = Plane(y)
    window = pool.window
    countsPads = pool.countsPads
    entries = pool.shift.count
    multiplier = constants.allocate((0..<entries).map { program.data.int32(pool.multiplier, $0) })
    shift = constants.allocate((0..<entries).map { Int32(program.data.bytes[pool.shift.offset + $0]) })
    inputZeroPoint = Int32(x.zeroPoint)
    zeroPoint = Int32(y.zeroPoint)
    minimum = Int32(pool.clamp.minimum)
    maximum = Int32(pool.clamp.maximum)
  }

  /// Blocks of 16 channels of one output pixel.
  private var blocks: Int { (output.channels + 15) / 16 }
  var units: Int { output.pixels * blocks }

  func run(_ memory: WorkingMemory, _ range: Range<Int>) {
    withUnsafeTemporaryAllocation(of: Int32.self, capacity: 16) { buffer in
      guard let sums = buffer.baseAddress else { return }
      for unit in range {
        let pixel = unit / blocks, block = unit % blocks
        average(memory, pixel: pixel, first: 16 * block, count: min(16, output.channels - 16 * block), sums)
      }
    }
  }

  /// The means of `count` channels from `first` on for one output pixel; `sums` is memory for 16 numbers.
  private func average(
    _ memory: WorkingMemory, pixel: Int, first: Int, count: Int, _ sums: UnsafeMutablePointer<Int32>
  ) {
    let cover = Cover(window, input, row: pixel / output.width, column: pixel % output.width)
    let source = UnsafePointer(memory.arena + (input.offset + first))
    for c in 0..<16 { sums[c] = 0 }
    for row in cover.rows {
      for column in cover.columns {
        let x = source + (row &* input.rowStride &+ column &* input.pixelStride)
        if count == 16 {
          for c in 0..<16 { sums[c] &+= Int32(x[c]) }
        } else {
          for c in 0..<count { sums[c] &+= Int32(x[c]) }
        }
      }
    }
    let positions = cover.count
    let averaged = countsPads ? window.taps : positions
    let target = memory.arena + (output.offset + pixel * output.pixelStride + first)
    guard averaged > 0 else {
      // The window lies in the padding: the mean of nothing is zero.
      target.update(repeating: UInt8(truncatingIfNeeded: min(max(zeroPoint, minimum), maximum)), count: count)
      return
    }
    let entry = entries == 1 ? 0 : averaged - 1
    let offset = inputZeroPoint &* Int32(truncatingIfNeeded: positions)
    for c in 0..<count {
      target[c] = requantizeToByte(
        sums[c] &- offset, multiplier[entry], shift[entry], zeroPoint: zeroPoint, minimum: minimum,
        maximum: maximum)
    }
  }
}

struct MaxPoolStep {
  let input: Plane
  let output: Plane
  let window: Instruction.Window

  init(_ pool: Instruction.MaxPool, _ program: Program) {
    input = Plane(program.tensors[pool.input])
    output = Plane(program.tensors[pool.output])
    window = pool.window
  }

  var units: Int { output.height }

  func run(_ memory: WorkingMemory, _ range: Range<Int>) {
    let source = UnsafePointer(memory.arena + input.offset), channels = output.storedChannels
    for row in range {
      for column in 0..<output.width {
        let target = memory.arena + (output.offset &+ (row &* output.width &+ column) &* output.pixelStride)
        target.update(repeating: 0, count: channels)
        for tapRow in 0..<window.kernelHeight {
          let y = row &* window.strideRows &- window.padTop &+ tapRow &* window.dilationRows
          guard y >= 0, y < input.height else { continue }
          for tapColumn in 0..<window.kernelWidth {
            let x = column &* window.strideColumns &- window.padLeft &+ tapColumn &* window.dilationColumns
            guard x >= 0, x < input.width else { continue }
            let pixel = source + (y &* input.rowStride &+ x &* input.pixelStride)
            for c in 0..<channels { target[c] = max(target[c], pixel[c]) }
          }
        }
      }
    }
  }
}
