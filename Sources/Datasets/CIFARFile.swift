import Support

/// The binary version of CIFAR-10: per image a label byte, then planes of red, green and blue of 32 x 32 bytes.
struct CIFARImages: Sendable {
  static let recordSize = 3073
  let count: Int
  private let files: [RandomAccessFile]
  /// The index of the first image of each file.
  private let starts: [Int]

  init(_ paths: [String]) throws(CompilerError) {
    var files: [RandomAccessFile] = []
    var starts: [Int] = []
    var count = 0
    for path in paths {
      let file = try RandomAccessFile(path: path)
      guard file.size > 0, file.size % CIFARImages.recordSize == 0 else {
        throw dataError(
          "has \(file.size) bytes, which is no multiple of CIFAR-10's \(CIFARImages.recordSize) per image",
          file: path,
          notes: ["use the binary version of CIFAR-10"])
      }
      starts.append(count)
      files.append(file)
      count += file.size / CIFARImages.recordSize
    }
    self.files = files
    self.starts = starts
    self.count = count
    for index in 0..<min(count, 64) { _ = try image(at: index) }
  }

  func image(at index: Int) throws(CompilerError) -> (image: Image, label: Int) {
    let position = starts.lastIndex { $0 <= index } ?? 0
    let file = files[position]
    let place = index - starts[position]
    let record = try file.read(at: place * CIFARImages.recordSize, count: CIFARImages.recordSize)
    guard record[0] < 10 else {
      throw dataError("image \(place) has the label \(record[0]); CIFAR-10 has 0 to 9", file: file.path)
    }
    let image = Image(planes: record[1...], width: 32, height: 32, channels: 3) { .bytes($0) }
    return (image, Int(record[0]))
  }
}
