import Support

/// The image formats, told apart by their first bytes.
enum ImageFormat {
  case jpeg
  case png

  init?(_ bytes: some Collection<UInt8>) {
    if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else {
      return nil
    }
  }

  /// Whether a file name says that it is an image of a format that can be read.
  static func accepts(name: String) -> Bool {
    let name = name.lowercased()
    return [".jpg", ".jpeg", ".png"].contains { name.hasSuffix($0) }
  }
}

/// Reads and decodes a JPEG or PNG file, whatever its name says.
package func readImage(_ path: String, limits: DataLimits = .standard) throws(CompilerError) -> Image {
  let bytes = try RandomAccessFile(path: path).readAll(limit: limits.encodedImageBytes)
  switch ImageFormat(bytes) {
  case .jpeg: return try decodeJPEG(bytes, file: path, limits: limits)
  case .png: return try decodePNG(bytes, file: path, limits: limits)
  case nil:
    throw dataError("is neither a PNG nor a JPEG file", file: path, notes: ["convert it to one of them"])
  }
}
