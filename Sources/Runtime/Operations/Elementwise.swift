import KernelInterface
import Program

/// Bytes of planes that agree in shape, walked in runs: the whole plane where all are contiguous, else pixel
/// by pixel.
struct ElementRuns {
  /// Bytes of a unit of work, where the planes are contiguous.
  static let blockBytes = 4096
  let count: Int
  let isFlat: Bool
  let length: Int

  init(_ planes: Plane...) {
    let output = planes[planes.count - 1]
    var isFlat = true
    for plane in planes where !plane.isContiguous { isFlat = false }
    self.isFlat = isFlat
    length = isFlat ? output.pixels * output.storedChannels : output.storedChannels
    count = isFlat ? (length + Self.blockBytes - 1) / Self.blockBytes : output.pixels
  }

  /// Calls `body` with the number of a pixel, the first byte behind it and the number of bytes.
  @inline(__always)
  func forEach(_ range: Range<Int>, _ body: (_ pixel: Int, _ byte: Int, _ count: Int) -> Void) {
    if isFlat {
      let first = range.lowerBound &* Self.blockBytes
      body(0, first, min(range.upperBound &* Self.blockBytes, length) &- first)
    } else {
      for pixel in range { body(pixel, 0, length) }
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
    runs = ElementRuns(self.a, self.b, output)
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

  var units: Int { runs.count }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    runs.forEach(range) { pixel, byte, count in
      let arguments = AddArguments(
        a: memory.arena + (a.offset &+ pixel &* a.pixelStride &+ byte),
        b: memory.arena + (b.offset &+ pixel &* b.pixelStride &+ byte),
        output: memory.arena + (output.offset &+ pixel &* output.pixelStride &+ byte),
        multiplierA: multiplierA, multiplierB: multiplierB, constant: constant, shift: shift,
        zeroPoint: zeroPoint,
        minimum: minimum, maximum: maximum)
      kernel(arguments, count)
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
    runs = broadcasts ? ElementRuns(pixelByPixel: output) : ElementRuns(self.a, self.b, output)
    zeroPointA = Int32(a.zeroPoint)
    zeroPointB = Int32(b.zeroPoint)
    multiplier = multiply.multiplier
    shift = multiply.shift
    zeroPoint = Int32(y.zeroPoint)
    minimum = Int32(multiply.clamp.minimum)
    maximum = Int32(multiply.clamp.maximum)
  }

  var units: Int { runs.count }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    runs.forEach(range) { pixel, byte, count in
      let arguments = MultiplyArguments(
        a: memory.arena + (a.offset &+ pixel &* a.pixelStride &+ byte),
        b: memory.arena + (b.offset &+ (broadcasts ? 0 : pixel &* b.pixelStride) &+ byte),
        output: memory.arena + (output.offset &+ pixel &* output.pixelStride &+ byte), zeroPointA: zeroPointA,
        zeroPointB: zeroPointB, multiplier: multiplier, shift: shift, zeroPoint: zeroPoint, minimum: minimum,
        maximum: maximum)
      kernel(arguments, count)
    }
  }
}

extension ElementRuns {
  init(pixelByPixel plane: Plane) {
    isFlat = false
    length = plane.storedChannels
    count = plane.pixels
  }
}

struct LookupStep: StepWork {
  let input: Plane
  let output: Plane
  let table: UnsafePointer<UInt8>
  let runs: ElementRuns

  init(_ lookup: Instruction.Lookup, _ program: Program, _ pool: ConstantPool) {
    input = Plane(program.tensors[lookup.input])
    output = Plane(program.tensors[lookup.output])
    table = pool.allocate(Array(program.data[lookup.table]))
    runs = ElementRuns(input, output)
  }

  var units: Int { runs.count }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    let table = table
    runs.forEach(range) { pixel, byte, count in
      let x = UnsafePointer(memory.arena + (input.offset &+ pixel &* input.pixelStride &+ byte))
      let y = memory.arena + (output.offset &+ pixel &* output.pixelStride &+ byte)
      for i in 0..<count { y[i] = table[Int(x[i])] }
    }
  }
}
