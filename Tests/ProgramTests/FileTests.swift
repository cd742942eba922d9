import CXXHash
import Program
import Testing

@Suite struct FileTests {
  @Test func readsWhatItWrote() throws {
    let program = try sampleProgram()
    let bytes = program.serialize()
    let copy = try Program(bytes: bytes)
    #expect(copy.tensors == program.tensors)
    #expect(copy.instructions == program.instructions)
    #expect(copy.arenaBytes == program.arenaBytes)
    #expect(Array(copy.data.bytes) == Array(program.data.bytes))
    #expect(copy.metadata == program.metadata)
    #expect(copy.goldenVectors == program.goldenVectors)
    #expect(copy.report == program.report)
    #expect(copy.serialize() == bytes)
    #expect(copy.disassembly == program.disassembly)
    #expect(Metadata(json: copy.metadata)?["target"] == "name: test\nbits: \"8\"\n")
  }

  @Test func leavesAlignedDataInPlace() throws {
    let file = try sampleProgram().serialize().withUnsafeBytes { DataStorage(copying: $0) }
    let program = try Program(reading: file.bytes, keepAlive: { withExtendedLifetime(file) {} })
    let start = try #require(file.bytes.baseAddress), data = try #require(program.data.bytes.baseAddress)
    #expect(data > start && data < start + file.count)
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
      #expect(program.instructions == original.instructions && Array(program.data.bytes) == Array(original.data.bytes))
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
      if ["META", "GOLD", "REPT"].contains(id) {
        _ = try Program(bytes: file.bytes)
      } else {
        expectRefusal(file.bytes, "section \(id): the section is missing")
      }
    }
  }

  /// Files whose checksums are right but whose contents are not: read and proven safe, or refused.
  @Test(arguments: 0..<6) func survivesChangedRecords(seed: Int) throws {
    var random = Xorshift(state: UInt64(seed + 1))
    let pristine = SectionedFile(try sampleProgram().serialize())
    for _ in 0..<2000 {
      var file = pristine
      let section = Int(random.next() % UInt64(file.sections.count))
      guard !file.sections[section].bytes.isEmpty else { continue }
      for _ in 0...random.next() % 3 {
        let index = Int(random.next() % UInt64(file.sections[section].bytes.count))
        let interesting: [UInt8] = [0, 1, 2, 0x7F, 0x80, 0xFF, UInt8(truncatingIfNeeded: random.next())]
        file.sections[section].bytes[index] = interesting[Int(random.next() % 7)]
      }
      if let program = try? Program(bytes: file.bytes) { _ = program.disassembly }
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

/// A file taken apart, to be put together again with other contents and right checksums.
struct SectionedFile {
  struct Section {
    var id: [UInt8]
    var flags: UInt8
    var bytes: [UInt8]
  }
  var header: [UInt8]
  var sections: [Section] = []

  init(_ file: [UInt8]) {
    header = Array(file[..<64])
    for index in 0..<Int(file[12]) {
      let entry = 64 + 40 * index
      let offset = number(file, entry + 8), length = number(file, entry + 16)
      sections.append(
        Section(id: Array(file[entry..<entry + 4]), flags: file[entry + 4], bytes: Array(file[offset..<offset + length])))
    }
  }

  var bytes: [UInt8] {
    var table: [UInt8] = [], body: [UInt8] = []
    let start = 64 + 40 * sections.count
    for section in sections {
      body += [UInt8](repeating: 0, count: (64 - (start + body.count) % 64) % 64)
      table += section.id + [section.flags, 0, 0, 0] + little(start + body.count) + little(section.bytes.count)
      table += [64, 0, 0, 0, 0, 0, 0, 0] + hash(section.bytes)
      body += section.bytes
    }
    var head = header
    head[12] = UInt8(sections.count)
    head.replaceSubrange(16..<24, with: little(start + body.count))
    head.replaceSubrange(24..<32, with: little(0))
    head.replaceSubrange(24..<32, with: hash(head + table))
    return head + table + body
  }

  private func hash(_ bytes: [UInt8]) -> [UInt8] {
    little(Int(truncatingIfNeeded: bytes.withUnsafeBytes { qcc_xxh3_64($0.baseAddress, $0.count) }))
  }
  private func little(_ value: Int) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
}

private func number(_ file: [UInt8], _ offset: Int) -> Int {
  (0..<8).reduce(0) { $0 | Int(file[offset + $1]) << (8 * $1) }
}

struct Xorshift: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}
