import CXXHash

/// A file taken apart, to be put together again with other contents and right checksums.
package struct SectionedFile {
  package struct Section {
    package var id: [UInt8]
    package var flags: UInt8
    package var bytes: [UInt8]

    package init(id: [UInt8], flags: UInt8, bytes: [UInt8]) {
      self.id = id
      self.flags = flags
      self.bytes = bytes
    }
  }
  package var header: [UInt8]
  package var sections: [Section] = []

  package init(_ file: [UInt8]) {
    header = Array(file[..<64])
    for index in 0..<Int(file[12]) {
      let entry = 64 + 40 * index
      let offset = number(file, entry + 8), length = number(file, entry + 16)
      sections.append(
        Section(
          id: Array(file[entry..<entry + 4]), flags: file[entry + 4],
          bytes: Array(file[offset..<offset + length])))
    }
  }

  package var bytes: [UInt8] {
    var table: [UInt8] = [], body: [UInt8] = []
    let start = 64 + 40 * sections.count
    for section in sections {
      body += [UInt8](repeating: 0, count: (64 - (start + body.count) % 64) % 64)
      table +=
        section.id + [section.flags, 0, 0, 0] + little(start + body.count) + little(section.bytes.count)
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
  private func little(_ value: Int) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}

private func number(_ file: [UInt8], _ offset: Int) -> Int {
  (0..<8).reduce(0) { $0 | Int(file[offset + $1]) << (8 * $1) }
}
