import Support

/// Rows of numbers that a long computation has made so far, in a file for every network and data. What cannot be used is
/// ignored: then everything is computed again.
struct CurvatureStore {
  private let path: String
  private let key: UInt64
  private let rowLength: Int

  init(folder: String, key: UInt64, rowLength: Int) throws(CompilerError) {
    self.key = key
    self.rowLength = rowLength
    path = "\(folder)/\(String(key, radix: 16)).curvature"
    try createFolder(folder)
  }

  private var head: String { "qcc-curvature 1\nkey \(String(key, radix: 16))\n" }

  func load(atMost count: Int) -> [[Double]] {
    guard let file = try? MappedFile(path: path), file.bytes.count < 1 << 28 else { return [] }
    let text = String(decoding: file.contents, as: UTF8.self)
    guard text.hasPrefix(head), text.hasSuffix("\n") else { return [] }
    let lines = text.dropFirst(head.count).split(separator: "\n")
    let rows = lines.map { line in line.split(separator: " ").map { Double($0) ?? .nan } }
    let isSound = rows.allSatisfy { $0.count == rowLength && $0.allSatisfy { $0.isFinite && $0 >= 0 } }
    return isSound && rows.count <= count ? rows : []
  }

  /// Reads back as the same numbers.
  func save(_ rows: [[Double]]) throws(CompilerError) {
    let lines = rows.map { $0.map { "\($0)" }.joined(separator: " ") + "\n" }
    try writeFile(path, head + lines.joined())
  }
}
