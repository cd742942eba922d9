import Support

/// A `labels.tsv`: a header line, then one line per file with its name, a tab and its class index; further columns are
/// ignored.
struct LabelTable: Sendable {
  /// In the order of the lines.
  let entries: [(file: String, label: Int)]

  init(path: String) throws(CompilerError) {
    let bytes = try RandomAccessFile(path: path).readAll(limit: 256 << 20)
    var entries: [(file: String, label: Int)] = []
    var seen: Set<String> = []
    var number = 0
    for var line in bytes.split(separator: 0x0A, omittingEmptySubsequences: false) {
      number += 1
      if line.last == 0x0D { line.removeLast() }
      let fields = line.split(separator: 0x09, maxSplits: 2, omittingEmptySubsequences: false)
      func fail(_ message: String) -> CompilerError {
        dataError(message, file: path, line: number, notes: [LabelTable.form])
      }
      if line.isEmpty { continue }
      guard fields.count >= 2 else { throw fail("has no tab") }
      let name = String(decoding: fields[0], as: UTF8.self)
      let value = Int(String(decoding: fields[1], as: UTF8.self))
      if number == 1 {
        // A header that is data means that the first image would be lost.
        guard value == nil else { throw fail("has no header line") }
        continue
      }
      guard let value, (0...9_999_999).contains(value) else {
        throw fail("'\(printable(String(decoding: fields[1], as: UTF8.self)))' is not a class index")
      }
      guard !name.isEmpty, !name.hasPrefix("/"), !name.split(separator: "/").contains("..") else {
        throw fail("'\(printable(name))' is not a file name inside the folder")
      }
      guard seen.insert(name).inserted else { throw fail("'\(printable(name))' is listed twice") }
      entries.append((name, value))
    }
    guard !entries.isEmpty else {
      throw dataError("lists no files", file: path, notes: [LabelTable.form])
    }
    self.entries = entries
  }

  private static let form = "each line: file name, tab, class index; the first line is a header"
}
