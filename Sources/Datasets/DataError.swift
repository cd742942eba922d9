/// What is wrong with the data, in which file, and what to do about it.
package struct DataError: Error, Equatable, Sendable, CustomStringConvertible {
  package var message: String
  /// The file or folder; nil for options.
  package var file: String?
  /// 1-based, for text files.
  package var line: Int?
  /// What the user can do.
  package var notes: [String]

  package init(_ message: String, file: String? = nil, line: Int? = nil, notes: [String] = []) {
    self.message = message
    self.file = file
    self.line = line
    self.notes = notes
  }

  package var description: String {
    var text = ""
    if let file { text += file + (line.map { ":\($0)" } ?? "") + ": " }
    text += message
    for note in notes { text += "\n  " + note }
    return text
  }
}

/// Bounds on what hostile or damaged files may make the reader allocate.
package struct DataLimits: Sendable {
  /// Bytes of one encoded image file.
  package var encodedImageBytes = 256 << 20
  /// Pixels of one image.
  package var imagePixels = 64 << 20
  /// Bytes that one compressed file (.gz, .npz) may expand to, and that one array read into memory may have.
  package var expandedBytes = 2 << 30
  /// Files in one dataset.
  package var files = 20_000_000
  /// Levels of folders below the dataset's.
  package var folderDepth = 8

  package init() {}

  package static let standard = DataLimits()
}
