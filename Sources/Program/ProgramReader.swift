import CXXHash

extension Program {
  /// Reads and validates a `.qpk` file; weights stay where they are when `bytes` is aligned to 64 and the file is not
  /// compact.
  /// - Parameters:
  ///   - verifyingData: compares the checksum of weights and tables, which costs a pass over them. Everything that memory
  ///     safety depends on is checked without: damaged weights only give other numbers.
  ///   - keepAlive: holds on to what owns `bytes`, which must not change.
  /// - Throws: the first thing wrong with the file. It is hostile until then.
  package init(
    reading bytes: UnsafeRawBufferPointer, verifyingData: Bool = true,
    keepAlive: @escaping @Sendable () -> Void
  ) throws(ProgramError) {
    let sections = try FileReader(bytes, verifyingData: verifyingData).sections()
    func section(_ id: SectionID) throws(ProgramError) -> ByteReader {
      for section in sections where section.id == id { return section.bytes }
      throw ProgramError("the section is missing", .section(id))
    }
    func optionalSection(_ id: SectionID) -> ByteReader {
      for section in sections where section.id == id { return section.bytes }
      return ByteReader(UnsafeRawBufferPointer(start: nil, count: 0), origin: 0)
    }

    let code = try section(.instructions), table = try section(.tensors)
    guard code.count >= 16 else { throw ProgramError("the section is too short", .section(.instructions)) }
    guard table.count >= 8 else { throw ProgramError("the section is too short", .section(.tensors)) }
    let instructionCount = Int(code.uint32(0)), numberCount = Int(code.uint32(4)),
      nameBytes = Int(code.uint32(8))
    let numbersStart = 16 + instructionCount * FileFormat.instructionBytes
    let namesStart = numbersStart + 4 * numberCount
    guard code.count == namesStart + nameBytes else {
      throw ProgramError("the counts do not give the length", .section(.instructions))
    }
    let tensorCount = Int(table.uint32(0))
    guard table.count == 8 + tensorCount * FileFormat.tensorBytes else {
      throw ProgramError("the count does not give the length", .section(.tensors))
    }
    let names = code.part(namesStart..<namesStart + nameBytes), numbers = code.part(numbersStart..<namesStart)

    self.init()
    let tensorDecoder = RecordDecoder(bytes: table, names: names, numbers: numbers)
    tensors.reserveCapacity(tensorCount)
    for index in 0..<tensorCount {
      tensors.append(try tensorDecoder.tensor(at: 8 + index * FileFormat.tensorBytes))
    }
    let decoder = RecordDecoder(bytes: code, names: names, numbers: numbers)
    instructions.reserveCapacity(instructionCount)
    for index in 0..<instructionCount {
      instructions.append(try decoder.instruction(at: 16 + index * FileFormat.instructionBytes, tensors))
    }
    // The header is there: `sections` has checked it.
    let arena = ByteReader(bytes, origin: 0).uint64(32)
    guard arena <= UInt64(Limits.bytes) else {
      throw ProgramError("the arena must be at most 2 GiB", .file(byte: 32))
    }
    arenaBytes = Int(arena)
    let compact = optionalSection(.compactData)
    isCompact = compact.count > 0
    if isCompact {
      for section in sections where section.id == .data {
        throw ProgramError("there are two sections of data", .section(section.id))
      }
      data = try CompactData.expanded(compact)
    } else {
      let dataBytes = try section(.data).bytes
      let isAligned = UInt(bitPattern: dataBytes.baseAddress) % 64 == 0
      data =
        isAligned ? DataStorage(borrowing: dataBytes, keepAlive: keepAlive) : DataStorage(copying: dataBytes)
    }
    metadata = Array(optionalSection(.metadata).bytes)
    report = Array(optionalSection(.report).bytes)
    tuning = Array(optionalSection(.tuning).bytes)
    contentHash = hash(of: sections)
    let golden = optionalSection(.golden)
    if golden.count > 0 { try readGolden(golden) }
    try validate()
  }

  /// From the hashes of the sections that a program cannot do without; a compact file has the other's.
  private func hash(of sections: [FileReader.Section]) -> UInt64 {
    var hashes = [UInt64(arenaBytes)]
    for id: SectionID in [.instructions, .tensors, .data] {
      for section in sections where section.id == id { hashes.append(section.hash.littleEndian) }
    }
    if isCompact { hashes.append(qcc_xxh3_64(data.bytes.baseAddress, data.count).littleEndian) }
    return hashes.withUnsafeBytes { qcc_xxh3_64($0.baseAddress, $0.count) }
  }

  private mutating func readGolden(_ bytes: ByteReader) throws(ProgramError) {
    let inputCount = inputs.count, outputCount = outputs.count
    var position = 0
    func count(_ elementBytes: Int) throws(ProgramError) -> Int {
      guard bytes.count - position >= 4 else {
        throw ProgramError("the section is too short", .section(.golden))
      }
      let count = Int(bytes.uint32(position))
      guard count * elementBytes <= bytes.count - position - 4 else {
        throw ProgramError("a count leads out of the section", .section(.golden))
      }
      position += 4
      return count
    }
    let vectors = try count(1)
    for _ in 0..<vectors {
      var vector = GoldenVector(inputs: [], outputs: [])
      for _ in 0..<inputCount {
        let count = try count(1)
        vector.inputs.append(Array(bytes.bytes[position..<position + count]))
        position = roundedUp(position + count, to: 4)
      }
      for _ in 0..<outputCount {
        let count = try count(4)
        vector.outputs.append((0..<count).map { Float(bitPattern: bytes.uint32(position + 4 * $0)) })
        position += 4 * count
      }
      goldenVectors.append(vector)
    }
  }

  #if !hasFeature(Embedded)
    /// Reads a program from bytes in memory.
    package init(bytes: [UInt8]) throws(ProgramError) {
      let copy = bytes.withUnsafeBytes { DataStorage(copying: $0) }
      try self.init(reading: copy.bytes, keepAlive: { withExtendedLifetime(copy) {} })
    }
  #endif
}

/// Header and section table.
private struct FileReader {
  struct Section {
    var id: SectionID
    var bytes: ByteReader
    var hash: UInt64
  }
  let file: ByteReader
  private let verifyingData: Bool

  init(_ bytes: UnsafeRawBufferPointer, verifyingData: Bool) {
    self.verifyingData = verifyingData
    file = ByteReader(bytes, origin: 0)
  }

  func sections() throws(ProgramError) -> [Section] {
    guard file.count >= FileFormat.headerBytes else {
      throw ProgramError("not a .qpk file: it is shorter than a header", .file(byte: nil))
    }
    for (index, byte) in FileFormat.magic.enumerated() where file.uint8(index) != byte {
      throw ProgramError("not a .qpk file: it does not start with QPK1", .file(byte: 0))
    }
    guard file.uint16(4) == FileFormat.majorVersion else {
      throw ProgramError(
        "the file has another major version than 1; use the qcc that wrote it", .file(byte: 4))
    }
    guard file.uint64(16) == UInt64(file.count) else {
      throw ProgramError(
        "the file is truncated or has trailing bytes: its size is not what it says", .file(byte: 16))
    }
    let count = Int(file.uint32(12))
    guard count <= FileFormat.maximumSections,
      FileFormat.headerBytes + count * FileFormat.sectionEntryBytes <= file.count
    else { throw ProgramError("the section table leads out of the file", .file(byte: 12)) }
    try checkHeaderHash(FileFormat.headerBytes + count * FileFormat.sectionEntryBytes)
    var sections: [Section] = []
    var covered = [0..<FileFormat.headerBytes + count * FileFormat.sectionEntryBytes]
    for index in 0..<count {
      let entry = FileFormat.headerBytes + index * FileFormat.sectionEntryBytes
      covered.append(try range(entry))
      if let section = try section(entry) {
        for other in sections where other.id == section.id {
          throw ProgramError("the section is there twice", .section(section.id))
        }
        sections.append(section)
      }
    }
    try checkGaps(covered)
    return sections
  }

  /// No checksum covers the bytes between sections, so they must be zero: any damage is noticed.
  private func checkGaps(_ covered: [Range<Int>]) throws(ProgramError) {
    var end = 0
    for range in covered.sorted(by: { $0.lowerBound < $1.lowerBound }) + [file.count..<file.count] {
      var position = end
      while position < range.lowerBound {
        guard file.bytes[position] == 0 else {
          throw ProgramError("the file is damaged: a gap between sections is not zero", .file(byte: position))
        }
        position += 1
      }
      end = max(end, range.upperBound)
    }
  }

  private func checkHeaderHash(_ count: Int) throws(ProgramError) {
    var header = Array(file.bytes[0..<count])
    for index in 0..<8 { header[FileFormat.hashOffset + index] = 0 }
    let hash = header.withUnsafeBytes { qcc_xxh3_64($0.baseAddress, $0.count) }
    guard hash == file.uint64(FileFormat.hashOffset) else {
      throw ProgramError("the header is damaged: its checksum differs", .file(byte: FileFormat.hashOffset))
    }
  }

  /// Where the section of a table entry lies.
  private func range(_ entry: Int) throws(ProgramError) -> Range<Int> {
    let offset = file.uint64(entry + 8), length = file.uint64(entry + 16), size = UInt64(file.count)
    guard offset <= size, length <= size - offset else {
      throw ProgramError(
        "the section leads out of the file", .section(SectionID(rawValue: file.uint32(entry))))
    }
    return Int(offset)..<Int(offset + length)
  }

  /// A known section with its checksum verified; nil for one to skip.
  private func section(_ entry: Int) throws(ProgramError) -> Section? {
    let id = SectionID(rawValue: file.uint32(entry))
    let isCritical = file.uint32(entry + 4) & 1 != 0
    let known: [SectionID] = [
      .metadata, .instructions, .tensors, .data, .compactData, .golden, .report, .tuning,
    ]
    guard known.contains(id) else {
      if isCritical {
        throw ProgramError(
          "the section is unknown but needed; a newer version of qcc wrote the file", .section(id))
      }
      return nil
    }
    let bytes = file.part(try range(entry))
    let hash = file.uint64(entry + 32)
    if id == .data || id == .compactData, !verifyingData { return Section(id: id, bytes: bytes, hash: hash) }
    guard qcc_xxh3_64(bytes.bytes.baseAddress, bytes.count) == hash else {
      throw ProgramError("the section is damaged: its checksum differs", .section(id))
    }
    return Section(id: id, bytes: bytes, hash: hash)
  }
}
