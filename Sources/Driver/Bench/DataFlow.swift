import Program

/// What bounds the time of a program whatever the number of threads, and what it moves.
struct CriticalPath {
  /// Instructions of the longest chain, in order.
  let instructions: [Int]
  let nanoseconds: UInt64

  /// The longest chain of instructions that wait for one another's results, each taking the time that was measured:
  /// how long a sample would take if every instruction started as soon as its inputs are complete, with a thread of its
  /// own and memory of its own. Instructions that several threads share can still be faster.
  init(_ program: Program, nanoseconds: [UInt64]) {
    var finished = [UInt64](repeating: 0, count: program.instructions.count)
    var previous = [Int?](repeating: nil, count: program.instructions.count)
    var writers = [[Int]](repeating: [], count: program.tensors.count)
    for (index, instruction) in program.instructions.enumerated() {
      let awaited = instruction.inputs.flatMap { Self.producers(of: $0, writers, program) }
      if let last = awaited.max(by: { finished[$0] < finished[$1] }) {
        previous[index] = last
        finished[index] = finished[last]
      }
      finished[index] += nanoseconds[index]
      writers[instruction.output].append(index)
    }
    var chain: [Int] = []
    var next = finished.indices.max { finished[$0] < finished[$1] }
    self.nanoseconds = next.map { finished[$0] } ?? 0
    while let index = next {
      chain.append(index)
      next = previous[index]
    }
    instructions = chain.reversed()
  }

  /// Those that wrote a tensor; for a view, which no instruction writes, those that wrote into its bytes last.
  private static func producers(of tensor: Int, _ writers: [[Int]], _ program: Program) -> [Int] {
    if !writers[tensor].isEmpty { return writers[tensor] }
    guard let bytes = arenaBytes(program.tensors[tensor]) else { return [] }
    return writers.indices.compactMap { other in
      guard let last = writers[other].last, let written = arenaBytes(program.tensors[other]),
        written.overlaps(bytes)
      else { return nil }
      return last
    }
  }

  private static func arenaBytes(_ tensor: Program.Tensor) -> Range<Int>? {
    switch tensor.storage {
    case .arena(let offset): offset..<offset + tensor.byteCount
    case .input, .output: nil
    }
  }
}

extension Program {
  /// Bytes of inputs, weights, parameters and output of an instruction, each counted once.
  func traffic(_ index: Int) -> Int {
    let instruction = instructions[index]
    if case .copy(let copy) = instruction.operation {
      // Only the elements that move, not the tensors that they are a part of.
      let moved = copy.dimensions.reduce(tensors[copy.output].element.size) { $0 * $1.extent }
      return 2 * moved + (copy.fill == nil ? 0 : storedBytes(copy.output))
    }
    let constants: [DataSlice] =
      switch instruction.operation {
      case .convolution(let o): [o.weights, o.bias, o.multiplier, o.shift]
      case .floatProduct(let o): [o.weights, o.bias, o.scale]
      case .averagePool(let o): [o.multiplier, o.shift]
      case .lookup(let o): [o.table]
      case .quantize, .dequantize, .add, .multiply, .maxPool, .copy, .softmax: []
      }
    return instruction.inputs.reduce(storedBytes(instruction.output)) { $0 + storedBytes($1) }
      + constants.reduce(0) { $0 + $1.count }
  }

  private func storedBytes(_ index: Int) -> Int {
    let tensor = tensors[index]
    return switch tensor.layout {
    case .rowMajor: tensor.elementCount * tensor.element.size
    case .channelsLast4: tensor.pixels * roundedUp(tensor.channels, to: 4)
    }
  }
}
