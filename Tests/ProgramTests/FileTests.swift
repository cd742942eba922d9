import Program
import TestSupport
import Testing

@Suite struct FileTests {
  @Test func readsWhatItWrote() throws {
    var program = try sampleProgram()
    program.tuning = Array("the usual kernels".utf8)
    let bytes = program.serialize()
    let copy = try Program(bytes: bytes)
    #expect(copy.tensors == program.tensors)
    #expect(copy.instructions == program.instructions)
    #expect(copy.arenaBytes == program.arenaBytes)
    #expect(Array(copy.data.bytes) == Array(program.data.bytes))
    #expect(copy.metadata == program.metadata)
    #expect(copy.goldenVectors == program.goldenVectors)
    #expect(copy.report == program.report)
    #expect(copy.tuning == program.tuning)
    #expect(copy.serialize() == bytes)
    #expect(copy.disassembly == program.disassembly)
    #expect(Metadata(json: copy.metadata)?["target"] == "name: test\nbits: \"8\"\n")
  }

  /// Programs without borders are those that older versions wrote and read; a border is a layout that they do not know.
  @Test func marksTensorsWithBorders() throws {
    let program = try sampleProgram()
    let file = SectionedFile(program.serialize())
    let table = try #require(file.sections.first { $0.id == Array("TENS".utf8) }).bytes
    for (index, tensor) in program.tensors.enumerated() {
      let record = table[(8 + 56 * index)...].prefix(56)
      let sides = [tensor.border.top, tensor.border.left, tensor.border.bottom, tensor.border.right]
      #expect(record.dropFirst(5).first == (tensor.border == .none ? tensor.layout.rawValue : 2))
      #expect(record.suffix(4).map { Int($0) } == sides)
    }
  }

  @Test func refusesBordersThatNothingWrites() throws {
    let wide = Program.Tensor.Border(top: 256, left: 0, bottom: 0, right: 0)
    let border = Program.Tensor.Border(top: 0, left: 1, bottom: 0, right: 0)
    func expectRefusal(_ reason: String, _ change: (inout Program) -> Void) throws {
      var program = try sampleProgram()
      program.arenaBytes = 1 << 20
      try program.validate()
      change(&program)
      do throws(ProgramError) {
        try program.validate()
        Issue.record("accepted: \(reason)")
      } catch {
        #expect(error.description.contains(reason), "\(error)")
      }
    }
    func index(_ name: Name, _ program: Program) -> Int {
      program.tensors.firstIndex { $0.name == name } ?? 0
    }
    try expectRefusal("a border is that of an image") { $0.tensors[index("conv2", $0)].border = wide }
    try expectRefusal("a border is that of an image") { $0.tensors[index("mean", $0)].border = border }
    try expectRefusal("a border is that of an image") { $0.tensors[index("conv1", $0)].pixelStride += 4 }
    try expectRefusal("no pixel stride and no border") { $0.tensors[index("logits", $0)].border = border }
    try expectRefusal("a copy does not write a border") { $0.tensors[index("shuffled", $0)].border = border }
    try expectRefusal("outside the arena") {
      $0.tensors[index("conv1", $0)].border.bottom = 255
      $0.arenaBytes = try! sampleProgram().arenaBytes
    }
  }

  /// What a tuning was measured for is known again whatever else the file holds, and nothing else is.
  @Test func hashesWhatIsComputed() throws {
    var program = try sampleProgram()
    let hash = try Program(bytes: program.serialize()).contentHash
    #expect(hash != 0)
    (program.tuning, program.report, program.metadata, program.goldenVectors) = ([65], [], [], [])
    #expect(try Program(bytes: program.serialize()).contentHash == hash)
    program.arenaBytes += 64
    #expect(try Program(bytes: program.serialize()).contentHash != hash)
  }

  @Test func leavesAlignedDataInPlace() throws {
    let file = try sampleProgram().serialize().withUnsafeBytes { DataStorage(copying: $0) }
    let program = try Program(reading: file.bytes, keepAlive: { withExtendedLifetime(file) {} })
    let start = try #require(file.bytes.baseAddress), data = try #require(program.data.bytes.baseAddress)
    #expect(data > start && data < start + file.count)
  }

  @Test func leavesWeightsUncheckedWhereAsked() throws {
    let program = try sampleProgram()
    var bytes = program.serialize()
    let data = Array(program.data.bytes)
    let start = try #require(bytes.indices.first { bytes[$0...].starts(with: data) })
    bytes[start] ^= 1
    let damaged = bytes.withUnsafeBytes { DataStorage(copying: $0) }
    #expect(throws: ProgramError.self) { try Program(reading: damaged.bytes, keepAlive: {}) }
    let read = try Program(reading: damaged.bytes, verifyingData: false, keepAlive: {})
    #expect(read.instructions == program.instructions)
  }

  @Test func refusesEveryTruncation() throws {
    let bytes = try sampleProgram().serialize()
    for count in 0..<bytes.count { expectRefusal(Array(bytes[..<count])) }
    expectRefusal(bytes + [0])
  }

  /// Every byte counts: gaps between sections aside, each is under a checksum.
  @Test func refusesEveryChangedByte() throws {
    let bytes = try sampleProgram().serialize()
    let original = try Program(bytes: bytes)
    for index in bytes.indices {
      var changed = bytes
      changed[index] ^= 0x40
      guard let program = try? Program(bytes: changed) else { continue }
      #expect(bytes[index] == 0, "byte \(index) is not checked")
      #expect(
        program.instructions == original.instructions
          && Array(program.data.bytes) == Array(original.data.bytes))
    }
  }

  @Test func skipsUnknownSectionsUnlessCritical() throws {
    for isCritical in [false, true] {
      var file = SectionedFile(try sampleProgram().serialize())
      file.sections.append(.init(id: Array("XTRA".utf8), flags: isCritical ? 1 : 0, bytes: [1, 2, 3]))
      if isCritical { expectRefusal(file.bytes) } else { _ = try Program(bytes: file.bytes) }
    }
  }

  @Test func namesTheMissingSection() throws {
    for index in SectionedFile(try sampleProgram().serialize()).sections.indices {
      var file = SectionedFile(try sampleProgram().serialize())
      let id = String(decoding: file.sections.remove(at: index).id, as: UTF8.self)
      if ["META", "GOLD", "REPT", "TUNE"].contains(id) {
        _ = try Program(bytes: file.bytes)
      } else {
        expectRefusal(file.bytes, "section \(id): the section is missing")
      }
    }
  }

  private func expectRefusal(_ bytes: [UInt8], _ message: String? = nil) {
    do throws(ProgramError) {
      _ = try Program(bytes: bytes)
      Issue.record("a damaged file was read")
    } catch {
      #expect(!error.description.isEmpty)
      if let message { #expect(error.description == message) }
    }
  }
}
