import Program
import TestSupport
import Testing

/// Files that hold weights in as many bits as they have.
@Suite struct CompactDataTests {
  private func compact(_ program: Program) -> Program {
    var program = program
    program.isCompact = true
    return program
  }
  private func section(_ program: Program) throws -> [UInt8] {
    let file = SectionedFile(program.serialize())
    return try #require(file.sections.first { $0.id == Array("CDAT".utf8) }).bytes
  }

  /// One product of `outputs` numbers, whose weights are `weights`.
  private func product(
    _ weights: [Int8], outputs: Int, kind: Instruction.Convolution.Kind
  ) throws -> Program {
    var builder = ProgramBuilder()
    let inputs = weights.count / outputs
    let x = builder.addTensor(.real("x", shape: [inputs], storage: .input(0)))
    let q = builder.addTensor(
      .activation("q", shape: [inputs], arenaOffset: 0, scale: 0.1, zeroPoint: 7))
    let y = builder.addTensor(
      .activation("y", shape: [outputs], arenaOffset: 4096, scale: 0.1, zeroPoint: 7))
    let result = builder.addTensor(.real("result", shape: [outputs], storage: .output(0)))
    builder.append("q", .quantize(.init(input: x, output: q)))
    builder.appendConvolution(
      "y", input: q, output: y, window: .init(kernel: [1, 1]), weightBits: 8, kind: kind, weights: weights,
      bias: .init(repeating: 3, count: outputs), multiplier: .init(repeating: 1 << 30, count: outputs),
      shift: .init(repeating: 40, count: outputs), clamp: .init(0, 255))
    builder.append("result", .dequantize(.init(input: y, output: result)))
    return try builder.finish(arenaBytes: 8192)
  }

  @Test func readsWhatItWrote() throws {
    let program = try sampleProgram(), small = compact(program)
    let bytes = small.serialize(), copy = try Program(bytes: bytes)
    #expect(copy.isCompact)
    #expect(Array(copy.data.bytes) == Array(program.data.bytes))
    #expect(copy.instructions == program.instructions && copy.tensors == program.tensors)
    #expect(copy.serialize() == bytes)
    #expect(bytes.count < program.serialize().count)
    // A tuning of one is a tuning of the other.
    #expect(copy.contentHash == (try Program(bytes: program.serialize()).contentHash))
  }

  @Test(arguments: 0..<40) func expandsRandomPrograms(seed: Int) throws {
    let program = try RandomProgram(seed: UInt64(seed), operations: 1 + seed % 7).program
    let copy = try Program(bytes: compact(program).serialize())
    #expect(Array(copy.data.bytes) == Array(program.data.bytes))
  }

  /// Every width in every lane that holds it, signed, with and without the lowest number, or all of one sign: the section has
  /// the bits of the weights, rounded up to bytes, what is no weights, and 20 bytes of records.
  @Test(arguments: [(Instruction.Convolution.Kind.dense8, 8), (.dense4, 4), (.dense2, 2)])
  func keepsAsManyBitsAsTheWeightsHave(kind: Instruction.Convolution.Kind, lane: Int) throws {
    var random = SeededGenerator(state: 5)
    let outputs = 32, inputs = 64
    for bits in 1..<lane {
      let half = 1 << (bits - 1)
      var ranges = [-half...half - 1]
      if bits > 1 { ranges.append(-half + 1...half - 1) }
      if bits < lane - 1 || bits == 1 { ranges += [0...2 * half - 1, -2 * half...(-1)] }
      for range in ranges {
        var weights = (0..<outputs * inputs).map { _ in Int8(Int.random(in: range, using: &random)) }
        (weights[0], weights[1]) = (Int8(range.lowerBound), Int8(range.upperBound))
        let program = try product(weights, outputs: outputs, kind: kind)
        let others = program.data.count - outputs * inputs * lane / 8
        #expect(try section(compact(program)).count == outputs * inputs * bits / 8 + others + 20, "\(range)")
        #expect(compact(program).storedDataBytes == outputs * inputs * bits / 8 + others + 20)
        let copy = try Program(bytes: compact(program).serialize())
        #expect(Array(copy.data.bytes) == Array(program.data.bytes), "\(range)")
      }
    }
    // Nothing to leave out.
    let full = (0..<outputs * inputs).map { Int8($0 % (1 << lane) - 1 << (lane - 1)) }
    let program = try product(full, outputs: outputs, kind: kind)
    #expect(try section(compact(program)).count == program.data.count + 8)
  }

  /// Weights of 3 bits in lanes of 4.
  private func narrowProgram() throws -> Program {
    compact(try product((0..<32 * 8).map { Int8($0 * 5 % 8 - 4) }, outputs: 32, kind: .dense4))
  }

  @Test func refusesEveryTruncationAndEveryChange() throws {
    let program = try narrowProgram(), bytes = program.serialize()
    for count in 0..<bytes.count {
      #expect(throws: ProgramError.self) { try Program(bytes: Array(bytes[..<count])) }
    }
    for index in bytes.indices {
      var changed = bytes
      changed[index] ^= 0x40
      guard let read = try? Program(bytes: changed) else { continue }
      #expect(bytes[index] == 0 && Array(read.data.bytes) == Array(program.data.bytes))
    }
  }

  /// Sections whose checksums are right but whose records are not.
  @Test func refusesRegionsThatNothingWrites() throws {
    let pristine = SectionedFile(try narrowProgram().serialize())
    let place = try #require(pristine.sections.firstIndex { $0.id == Array("CDAT".utf8) })
    func expectRefusal(_ reason: String, _ change: (inout [UInt8]) -> Void) {
      var file = pristine
      change(&file.sections[place].bytes)
      do throws(ProgramError) {
        _ = try Program(bytes: file.bytes)
        Issue.record("accepted: \(reason)")
      } catch {
        #expect(error.description.contains(reason), "\(error)")
      }
    }
    expectRefusal("too short") { $0 = Array($0.prefix(7)) }
    expectRefusal("regions lead out of the section") { $0[7] = 0xFF }
    expectRefusal("overlap or lead out of the data") {
      $0[3] = 0; $0[2] = 0; $0[1] = 0; $0[0] = 64
    }
    expectRefusal("overlap or lead out of the data") { $0[8 + 3] = 0x7F }
    expectRefusal("overlap or lead out of the data") { $0[8 + 7] = 0x7F }
    expectRefusal("do not give the length") { $0.append(0) }
    expectRefusal("do not give the length") { $0.removeLast() }
    expectRefusal("do not give the length") { $0[0] ^= 4 }
    for lane: UInt8 in [0, 1, 3, 16, 255] { expectRefusal("other bits than the writer's") { $0[16] = lane } }
    for kept: UInt8 in [0, 8, 200] { expectRefusal("other bits than the writer's") { $0[17] = kept } }
    var both = pristine
    both.sections.append(.init(id: Array("DATA".utf8), flags: 1, bytes: [0, 0, 0, 0]))
    #expect(throws: ProgramError.self) { try Program(bytes: both.bytes) }
  }
}
