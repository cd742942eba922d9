import Program

/// Fills all bytes of a tensor.
struct FillStep: StepWork {
  let offset: Int
  let count: Int
  let value: UInt8

  init(_ tensor: Program.Tensor, _ value: UInt8) {
    if case .arena(let offset) = tensor.storage { self.offset = offset } else { offset = 0 }
    count = tensor.byteCount
    self.value = value
  }

  var units: Int { (count + 16_383) / 16_384 }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    let first = range.lowerBound * 16_384, end = min(range.upperBound * 16_384, count)
    (memory.arena + (offset + first)).update(repeating: value, count: end - first)
  }
}

/// Elements moved between strided views.
struct CopyStep: StepWork {
  let input: RealPlace
  let output: RealPlace
  let elementSize: Int
  let inputOffset: Int
  let outputOffset: Int
  /// Always 8, the first ones of extent 1.
  let loops: UnsafePointer<Instruction.Copy.Dimension>
  /// The first loop that is not trivial: its iterations are shared among threads.
  let outermost: Int

  init(_ copy: Instruction.Copy, _ program: Program, _ pool: ConstantPool) {
    input = RealPlace(program.tensors[copy.input])
    output = RealPlace(program.tensors[copy.output])
    elementSize = program.tensors[copy.output].element.size
    inputOffset = copy.inputOffset
    outputOffset = copy.outputOffset
    let missing = Instruction.Copy.maximumDimensions - copy.dimensions.count
    let trivial = Instruction.Copy.Dimension(extent: 1, inputStride: 0, outputStride: 0)
    let all = [Instruction.Copy.Dimension](repeating: trivial, count: missing) + copy.dimensions
    outermost = all.firstIndex { $0.extent != 1 } ?? all.count - 1
    loops = pool.allocate(all)
  }

  var units: Int { loops[outermost].extent }

  func run(_ memory: WorkingMemory, part _: Int, _ range: Range<Int>) {
    let loop = loops[outermost]
    guard let source = base(memory, input), let target = base(memory, output) else { return }
    let last = Instruction.Copy.maximumDimensions - 1
    if outermost == last {
      copyRun(
        source, inputOffset + range.lowerBound * loop.inputStride, target,
        outputOffset + range.lowerBound * loop.outputStride, range.count)
    } else if outermost == last - 1 {
      copyRuns(
        source, inputOffset + range.lowerBound * loop.inputStride, target,
        outputOffset + range.lowerBound * loop.outputStride, range.count)
    } else {
      for i in range {
        copy(
          outermost + 1, source, inputOffset + i * loop.inputStride, target,
          outputOffset + i * loop.outputStride)
      }
    }
  }

  private func base(_ memory: WorkingMemory, _ place: RealPlace) -> UnsafeMutableRawPointer? {
    switch place {
    case .arena(let offset): UnsafeMutableRawPointer(memory.arena + offset)
    case .input, .output: memory.reals(place).map { UnsafeMutableRawPointer($0) }
    }
  }

  private func copy(
    _ depth: Int, _ source: UnsafeMutableRawPointer, _ from: Int, _ target: UnsafeMutableRawPointer, _ to: Int
  ) {
    let loop = loops[depth]
    if depth == Instruction.Copy.maximumDimensions - 2 {
      copyRuns(source, from, target, to, loop.extent)
    } else {
      for i in 0..<loop.extent {
        copy(depth + 1, source, from &+ i &* loop.inputStride, target, to &+ i &* loop.outputStride)
      }
    }
  }

  /// The two innermost loops: pixels of channels, mostly.
  private func copyRuns(
    _ source: UnsafeMutableRawPointer, _ from: Int, _ target: UnsafeMutableRawPointer, _ to: Int, _ count: Int
  ) {
    let last = Instruction.Copy.maximumDimensions - 1
    let outer = loops[last - 1], inner = loops[last]
    if inner.inputStride == 1 && inner.outputStride == 1 && inner.extent &* elementSize == 16 {
      var x = UnsafeRawPointer(source + from &* elementSize), y = target + to &* elementSize
      for _ in 0..<count {
        y.storeBytes(of: x.loadUnaligned(as: SIMD4<UInt32>.self), as: SIMD4<UInt32>.self)
        x += outer.inputStride &* elementSize
        y += outer.outputStride &* elementSize
      }
    } else {
      for i in 0..<count {
        copyRun(
          source, from &+ i &* outer.inputStride, target, to &+ i &* outer.outputStride, inner.extent)
      }
    }
  }

  /// The innermost loop.
  @inline(__always)
  private func copyRun(
    _ source: UnsafeMutableRawPointer, _ from: Int, _ target: UnsafeMutableRawPointer, _ to: Int, _ count: Int
  ) {
    let loop = loops[Instruction.Copy.maximumDimensions - 1]
    if loop.inputStride == 1 && loop.outputStride == 1 {
      copyBytes(source + from &* elementSize, target + to &* elementSize, count &* elementSize)
    } else if elementSize == 1 {
      let x = source.assumingMemoryBound(to: UInt8.self) + from,
        y = target.assumingMemoryBound(to: UInt8.self) + to
      for i in 0..<count { y[i &* loop.outputStride] = x[i &* loop.inputStride] }
    } else {
      let x = source.assumingMemoryBound(to: Float.self) + from,
        y = target.assumingMemoryBound(to: Float.self) + to
      for i in 0..<count { y[i &* loop.outputStride] = x[i &* loop.inputStride] }
    }
  }

  /// Short runs, as pixels have, cost less than the call of a function would.
  @inline(__always)
  private func copyBytes(_ source: UnsafeRawPointer, _ target: UnsafeMutableRawPointer, _ count: Int) {
    guard count >= 16 && count <= 64 else { return target.copyMemory(from: source, byteCount: count) }
    // Vectors of 16 bytes, the last of which may overlap the one before.
    var place = 0
    while place < count &- 16 {
      target.storeBytes(
        of: source.loadUnaligned(fromByteOffset: place, as: SIMD4<UInt32>.self), toByteOffset: place,
        as: SIMD4<UInt32>.self)
      place &+= 16
    }
    let last = source.loadUnaligned(fromByteOffset: count &- 16, as: SIMD4<UInt32>.self)
    target.storeBytes(of: last, toByteOffset: count &- 16, as: SIMD4<UInt32>.self)
  }
}
