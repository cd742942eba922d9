import CZlib
import Support

/// Bytes that are read by position: a plain file, or what a compressed one held.
enum ByteSource: Sendable {
  case file(RandomAccessFile)
  case memory([UInt8], name: String)

  /// The file, expanded when it is a gzip file.
  init(path: String, limits: DataLimits) throws(CompilerError) {
    let file = try RandomAccessFile(path: path)
    let start = try file.read(at: 0, count: min(2, file.size))
    if start == [0x1F, 0x8B] {
      let compressed = try file.readAll(limit: limits.expandedBytes)
      self = .memory(try expandGzip(compressed, limit: limits.expandedBytes, file: path), name: path)
    } else {
      self = .file(file)
    }
  }

  /// For diagnostics.
  var name: String {
    switch self {
    case .file(let file): file.path
    case .memory(_, let name): name
    }
  }

  var count: Int {
    switch self {
    case .file(let file): file.size
    case .memory(let bytes, _): bytes.count
    }
  }

  func read(at offset: Int, count: Int) throws(CompilerError) -> [UInt8] {
    switch self {
    case .file(let file): return try file.read(at: offset, count: count)
    case .memory(let bytes, let name):
      guard offset >= 0, count >= 0, offset <= bytes.count, count <= bytes.count - offset else {
        throw dataError("ends at byte \(bytes.count), before byte \(offset) + \(count)", file: name)
      }
      return [UInt8](bytes[offset..<offset + count])
    }
  }

  /// The bytes that are there, at most `count`.
  func prefix(_ count: Int) throws(CompilerError) -> [UInt8] {
    try read(at: 0, count: min(count, self.count))
  }
}

/// Expands a gzip file of one or more members. Memory grows with what comes out, never with what a header claims.
func expandGzip(_ compressed: [UInt8], limit: Int, file: String) throws(CompilerError) -> [UInt8] {
  var stream = z_stream()
  // 16 + 15: gzip framing, the largest window.
  guard inflateInit2_(&stream, 31, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
    throw dataError("no memory for expanding", file: file)
  }
  defer { inflateEnd(&stream) }
  let chunkSize = 1 << 18
  var result: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: chunkSize)
  var position = 0
  while true {
    let piece = min(compressed.count - position, 1 << 24)
    var status: Int32 = Z_OK
    var consumed = 0
    var produced = 0
    compressed.withUnsafeBufferPointer { source in
      chunk.withUnsafeMutableBufferPointer { target in
        // Zlib reads through a pointer to mutable bytes, but does not write there.
        stream.next_in = source.baseAddress.map { UnsafeMutablePointer(mutating: $0 + position) }
        stream.avail_in = UInt32(piece)
        stream.next_out = target.baseAddress
        stream.avail_out = UInt32(chunkSize)
        status = inflate(&stream, Z_NO_FLUSH)
        consumed = piece - Int(stream.avail_in)
        produced = chunkSize - Int(stream.avail_out)
      }
    }
    position += consumed
    guard result.count + produced <= limit else {
      throw dataError("expands to more than \(limit) bytes", file: file)
    }
    result.append(contentsOf: chunk[0..<produced])
    if status == Z_STREAM_END {
      // Another member may follow; other bytes after the end are padding, which gzip ignores too.
      let hasMember =
        position + 1 < compressed.count && compressed[position] == 0x1F && compressed[position + 1] == 0x8B
      if !hasMember { return result }
      inflateReset(&stream)
    } else if status == Z_BUF_ERROR || (status == Z_OK && consumed == 0 && produced == 0) {
      throw dataError("is a gzip file that ends too early", file: file, notes: ["copy or download it again"])
    } else if status != Z_OK {
      let reason = stream.msg.map { String(cString: $0) } ?? "code \(status)"
      throw dataError("is a damaged gzip file: \(reason)", file: file, notes: ["copy or download it again"])
    }
  }
}
