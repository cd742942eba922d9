#if !hasFeature(Embedded)
  import CXXHash

  extension Program {
    /// The program as the bytes of a `.qpk` file; the same program gives the same bytes.
    /// - Requires: a validated program.
    package func serialize() -> [UInt8] {
      var names = NameTable(), numbers: [Int32] = []
      var records: [UInt8] = []
      for instruction in instructions {
        records += RecordEncoder.record(instruction, name: names.add(instruction.name), numbers: &numbers)
      }
      let tensorRecords = tensors.flatMap { tensor in
        RecordEncoder.record(tensor, name: names.add(tensor.name))
      }

      var program = ByteWriter()
      program.append(UInt32(instructions.count))
      program.append(UInt32(numbers.count))
      program.append(UInt32(names.bytes.count))
      program.append(UInt32(0))
      program.bytes += records
      for number in numbers { program.append(UInt32(bitPattern: number)) }
      program.bytes += names.bytes

      var table = ByteWriter()
      table.append(UInt32(tensors.count))
      table.append(UInt32(0))
      table.bytes += tensorRecords

      var sections: [Section] = [
        Section(id: .metadata, isCritical: false, bytes: metadata, alignment: 4),
        Section(id: .instructions, isCritical: true, bytes: program.bytes, alignment: 4),
        Section(id: .tensors, isCritical: true, bytes: table.bytes, alignment: 4),
      ]
      if !goldenVectors.isEmpty {
        sections.append(Section(id: .golden, isCritical: false, bytes: goldenBytes, alignment: 4))
      }
      if !report.isEmpty {
        sections.append(Section(id: .report, isCritical: false, bytes: report, alignment: 4))
      }
      if !tuning.isEmpty {
        sections.append(Section(id: .tuning, isCritical: false, bytes: tuning, alignment: 4))
      }
      if isCompact {
        sections.append(Section(id: .compactData, isCritical: true, bytes: compactData, alignment: 4))
      } else {
        // Pages of a large data section are then mapped whole.
        let alignment = data.count > 65_536 * 16 ? 4096 : FileFormat.alignment
        sections.append(
          Section(id: .data, isCritical: true, bytes: Array(data.bytes), alignment: alignment))
      }
      return file(sections)
    }

    private struct Section {
      var id: SectionID
      var isCritical: Bool
      var bytes: [UInt8]
      var alignment: Int
    }

    private func file(_ sections: [Section]) -> [UInt8] {
      var position = FileFormat.headerBytes + sections.count * FileFormat.sectionEntryBytes
      var offsets: [Int] = []
      for section in sections {
        position = roundedUp(position, to: section.alignment)
        offsets.append(position)
        position += section.bytes.count
      }
      var writer = ByteWriter()
      writer.bytes = FileFormat.magic
      writer.append(UInt32(FileFormat.majorVersion) | UInt32(FileFormat.minorVersion) << 16)
      writer.append(UInt32(0))
      writer.append(UInt32(sections.count))
      writer.append(UInt64(position))
      writer.append(UInt64(0))
      writer.append(UInt64(arenaBytes))
      writer.pad(to: FileFormat.headerBytes)
      for (section, offset) in zip(sections, offsets) {
        writer.append(section.id.rawValue)
        writer.append(UInt32(section.isCritical ? 1 : 0))
        writer.append(UInt64(offset))
        writer.append(UInt64(section.bytes.count))
        writer.append(UInt32(section.alignment))
        writer.append(UInt32(0))
        writer.append(section.bytes.withUnsafeBytes { qcc_xxh3_64($0.baseAddress, $0.count) })
      }
      let hash = writer.bytes.withUnsafeBytes { qcc_xxh3_64($0.baseAddress, $0.count) }
      withUnsafeBytes(of: hash.littleEndian) { bytes in
        for i in 0..<8 { writer.bytes[FileFormat.hashOffset + i] = bytes[i] }
      }
      for (section, offset) in zip(sections, offsets) {
        writer.pad(to: offset)
        writer.bytes += section.bytes
      }
      return writer.bytes
    }

    private var goldenBytes: [UInt8] {
      var writer = ByteWriter()
      writer.append(UInt32(goldenVectors.count))
      for vector in goldenVectors {
        for input in vector.inputs {
          writer.append(UInt32(input.count))
          writer.bytes += input
          writer.pad(to: roundedUp(writer.bytes.count, to: 4))
        }
        for output in vector.outputs {
          writer.append(UInt32(output.count))
          for value in output { writer.append(value.bitPattern) }
        }
      }
      return writer.bytes
    }
  }

  /// Appends little-endian numbers.
  struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func append<Number: FixedWidthInteger>(_ number: Number) {
      withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
    }
    /// - Requires: `count` is not below the current count.
    mutating func pad(to count: Int) { bytes += [UInt8](repeating: 0, count: count - bytes.count) }
  }

  /// Names one after another, each once.
  struct NameTable {
    private(set) var bytes: [UInt8] = []
    private var offsets: [Name: Int] = [:]

    /// The offset of a name, cut to 65535 bytes.
    mutating func add(_ name: Name) -> UInt32 {
      if let offset = offsets[name] { return UInt32(offset) }
      let offset = bytes.count, utf8 = name.utf8.prefix(65_535)
      bytes += [UInt8(utf8.count & 255), UInt8(utf8.count >> 8)] + utf8
      offsets[name] = offset
      return UInt32(offset)
    }
  }
#endif
