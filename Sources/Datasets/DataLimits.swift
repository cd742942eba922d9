import Support

/// What is wrong with data: `line` is for text files and 1-based, notes say what the user can do.
func dataError(
  _ message: String, file: String, line: Int? = nil, notes: [String] = [],
  status: ExitStatus = .malformedInput
) -> CompilerError {
  CompilerError(message, at: file + (line.map { ":\($0)" } ?? ""), notes: notes, status: status)
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
