import Support

/// Images in the IDX format of MNIST: big-endian header, then unsigned bytes.
struct IDXImages: Sendable {
  let count: Int
  let height: Int
  let width: Int
  private let channels: Int
  private let source: ByteSource
  private let headerSize: Int

  init(_ source: ByteSource, limits: DataLimits) throws(CompilerError) {
    let header = try IDXHeader(source)
    guard header.extents.count == 3 || header.extents.count == 4 && [1, 3].contains(header.extents[3]) else {
      throw dataError(
        "is an IDX file of shape \(header.extents), not of images [count, height, width]", file: source.name)
    }
    _ = try pixelCount(width: header.extents[2], height: header.extents[1], file: source.name, limits: limits)
    self.count = header.extents[0]
    self.height = header.extents[1]
    self.width = header.extents[2]
    self.channels = header.extents.count == 4 ? header.extents[3] : 1
    self.source = source
    self.headerSize = header.size
  }

  func image(at index: Int) throws(CompilerError) -> Image {
    let size = height * width * channels
    let bytes = try source.read(at: headerSize + index * size, count: size)
    return Image(width: width, height: height, channels: channels, values: .bytes(bytes))
  }
}

/// The class indices of an IDX label file.
func readIDXLabels(_ path: String, limits: DataLimits) throws(CompilerError) -> [Int] {
  let source = try ByteSource(path: path, limits: limits)
  let header = try IDXHeader(source)
  guard header.extents.count == 1 else {
    throw dataError("is an IDX file of shape \(header.extents), not of labels [count]", file: path)
  }
  return try source.read(at: header.size, count: header.extents[0]).map(Int.init)
}

/// `00 00 type rank`, then the extents as 32-bit big-endian numbers.
private struct IDXHeader {
  var extents: [Int]
  var size: Int

  init(_ source: ByteSource) throws(CompilerError) {
    let file = source.name
    let start = try source.prefix(20)
    guard start.count >= 8, start[0] == 0, start[1] == 0, (1...4).contains(start[3]),
      start.count >= 4 + 4 * Int(start[3])
    else { throw dataError("is not an IDX file", file: file) }
    guard start[2] == 8 else {
      throw dataError(
        "is an IDX file of element type \(start[2]); unsigned bytes (8) are read", file: file,
        notes: ["save its numbers as an .npy file"])
    }
    self.extents = (0..<Int(start[3])).map { axis in
      (0..<4).reduce(0) { $0 << 8 | Int(start[4 + 4 * axis + $1]) }
    }
    self.size = 4 + 4 * extents.count
    var byteCount = 1
    for extent in extents {
      let (product, overflow) = byteCount.multipliedReportingOverflow(by: extent)
      guard !overflow else { throw dataError("claims the impossible shape \(extents)", file: file) }
      byteCount = product
    }
    guard source.count - size == byteCount else {
      throw dataError(
        "promises \(byteCount) bytes (shape \(extents)) but holds \(source.count - size)", file: file,
        notes: ["copy or download it again"])
    }
  }
}
