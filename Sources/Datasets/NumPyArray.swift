import Support

/// An `.npy` array whose numbers are read by position.
package struct NumPyArray: Sendable {
  package let header: NumPyHeader
  private let source: ByteSource

  init(_ source: ByteSource) throws(CompilerError) {
    self.header = try NumPyHeader(source)
    self.source = source
  }

  package init(path: String) throws(CompilerError) {
    try self.init(.file(RandomAccessFile(path: path)))
  }

  var name: String { source.name }

  /// `count` elements as they are stored.
  func bytes(from first: Int, count: Int) throws(CompilerError) -> [UInt8] {
    try source.read(at: header.dataOffset + first * header.element.size, count: count * header.element.size)
  }

  /// `count` elements as float32: 64-bit floats are rounded, integers beyond 24 bits that float32 cannot hold are errors.
  func floats(from first: Int, count: Int) throws(CompilerError) -> [Float] {
    let bytes = try bytes(from: first, count: count)
    func values<Stored>(_ type: Stored.Type, _ convert: (Stored) -> Float) -> [Float] {
      bytes.withUnsafeBytes { raw in
        (0..<count).map {
          convert(raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Stored>.size, as: Stored.self))
        }
      }
    }
    func integers<Stored: FixedWidthInteger>(_ type: Stored.Type) throws(CompilerError) -> [Float] {
      let result = values(Stored.self) { Float(exactly: $0) ?? .nan }
      if let place = result.firstIndex(where: \.isNaN) {
        throw dataError("element \(first + place) is an integer that float32 cannot hold", file: name)
      }
      return result
    }
    switch header.element {
    case .bool: return values(UInt8.self) { $0 == 0 ? 0 : 1 }
    case .uint8: return values(UInt8.self) { Float($0) }
    case .int8: return values(Int8.self) { Float($0) }
    case .uint16: return values(UInt16.self) { Float($0) }
    case .int16: return values(Int16.self) { Float($0) }
    case .int32: return try integers(Int32.self)
    case .int64: return try integers(Int64.self)
    case .float16: return values(Float16.self) { Float($0) }
    case .float32: return values(Float.self) { $0 }
    case .float64: return values(Double.self) { Float($0) }
    }
  }

  /// The whole array.
  package func read(limits: DataLimits = .standard) throws(CompilerError) -> NumericArray {
    guard header.elementCount <= limits.expandedBytes / 4 else {
      throw dataError("has \(header.elementCount) elements, which is too much to read at once", file: name)
    }
    return NumericArray(shape: header.shape, values: try floats(from: 0, count: header.elementCount))
  }
}

extension NumericArray {
  /// The bytes of an `.npy` file (version 1.0, float32, C order) with these values.
  package var numPyBytes: [UInt8] {
    let extents = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(extents)), }"
    // NumPy aligns the numbers to 64 bytes; the header ends with a line feed.
    let unpadded = 10 + header.utf8.count + 1
    header += String(repeating: " ", count: (64 - unpadded % 64) % 64) + "\n"
    var bytes = NumPyHeader.magic + [1, 0]
    bytes.append(UInt8(truncatingIfNeeded: header.utf8.count))
    bytes.append(UInt8(truncatingIfNeeded: header.utf8.count >> 8))
    bytes.append(contentsOf: header.utf8)
    values.withUnsafeBytes { bytes.append(contentsOf: $0) }
    return bytes
  }
}
