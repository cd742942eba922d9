import Support

/// Weights in a `.safetensors` file: 8 bytes of header length, a JSON header, then the tensors without gaps.
///
/// The format forbids holes between tensors, so the writer orders them by element size, widest first, and starts the
/// data at a multiple of 64: every tensor is aligned to its element.
package struct SafetensorsFile: Sendable {
  package let path: String
  private let file: MappedFile
  private let tensors: [String: Tensor]
  private struct Tensor: Sendable {
    var dtype: String
    var shape: [Int]
    var range: Range<Int>
  }
  private static let maximumHeaderLength = 100_000_000

  /// Maps and checks the file: its header is well formed and every tensor lies inside.
  package init(path: String) throws(CompilerError) { try self.init(MappedFile(path: path)) }

  package init(_ file: MappedFile) throws(CompilerError) {
    self.file = file
    path = file.path
    let bytes = file.bytes
    guard bytes.count >= 8 else { throw .malformed("no .safetensors file: shorter than 8 bytes", at: path) }
    let headerLength = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard headerLength <= UInt64(min(SafetensorsFile.maximumHeaderLength, bytes.count - 8)) else {
      throw .malformed("the header length \(headerLength) exceeds the file", at: path)
    }
    let dataStart = 8 + Int(headerLength), dataLength = bytes.count - dataStart
    let entries: [SafetensorsHeader.Entry]
    do { entries = try SafetensorsHeader.parse(UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart])) } catch
    {
      throw .malformed(error.message, at: "\(path): byte \(8 + error.offset)")
    }
    var tensors: [String: Tensor] = [:]
    for entry in entries {
      let begin = entry.offsets[0], end = entry.offsets[1]
      guard begin <= end, end <= dataLength else {
        throw .malformed(
          "tensor '\(entry.name)' lies at \(begin)..<\(end), outside the \(dataLength) bytes of data",
          at: path)
      }
      let tensor = Tensor(dtype: entry.dtype, shape: entry.shape, range: dataStart + begin..<dataStart + end)
      guard tensors.updateValue(tensor, forKey: entry.name) == nil else {
        throw .malformed("tensor '\(entry.name)' occurs twice", at: path)
      }
    }
    self.tensors = tensors
  }

  /// The shape of tensor `name`; nil when there is none.
  package func shape(of name: String) -> [Int]? { tensors[name]?.shape }

  /// The bytes of tensor `name`; nil when there is none.
  /// - Throws: when the file's type or size is not that of `type`.
  package func storage(_ name: String, _ type: TensorType) throws(CompilerError) -> TensorStorage? {
    guard let tensor = tensors[name] else { return nil }
    guard tensor.dtype == type.element.safetensorsName, tensor.shape == type.shape.sizes,
      tensor.range.count == type.sizeInBytes
    else {
      let shape = "[" + tensor.shape.map(String.init).joined(separator: ", ") + "]"
      throw .malformed(
        "tensor '\(name)' is \(tensor.dtype) \(shape) of \(tensor.range.count) bytes, expected \(type)",
        at: path)
    }
    return TensorStorage(file: file, range: tensor.range)
  }

  /// Writes the constants, whose names must differ.
  package static func write(_ constants: [Constant], to path: String) throws(CompilerError) {
    let widestFirst = [8, 4, 1].flatMap { size in constants.filter { $0.type.element.sizeInBytes == size } }
    var header: [String] = [], end = 0
    for constant in widestFirst {
      let begin = end
      end += constant.storage.bytes.count
      let shape = (constant.type.shape.sizes ?? []).map(String.init).joined(separator: ",")
      header.append(
        SafetensorsHeader.quoted(constant.name)
          + ":{\"dtype\":\"\(constant.type.element.safetensorsName)\",\"shape\":[\(shape)],\"data_offsets\":[\(begin),\(end)]}"
      )
    }
    var text = Array(("{" + header.joined(separator: ",") + "}").utf8)
    while (8 + text.count) % 64 != 0 { text.append(UInt8(ascii: " ")) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(8 + text.count + end)
    withUnsafeBytes(of: UInt64(text.count).littleEndian) { bytes += $0 }
    bytes += text
    for constant in widestFirst { bytes += constant.storage.bytes }
    try writeFile(path, bytes: bytes)
  }
}

/// `writeFile` for an array, with its typed error carried through the closure.
private func writeFile(_ path: String, bytes: [UInt8]) throws(CompilerError) {
  let failure: CompilerError? = bytes.withUnsafeBytes { buffer in
    do throws(CompilerError) { try writeFile(path, buffer) } catch { return error }
    return nil
  }
  if let failure { throw failure }
}

extension ElementType {
  fileprivate var safetensorsName: String {
    switch self {
    case .f32: "F32"
    case .i64: "I64"
    case .i32: "I32"
    case .u8: "U8"
    case .i8: "I8"
    case .bool: "BOOL"
    case .quantized(let q): q.isSigned ? "I8" : "U8"
    }
  }
}

extension TensorType {
  /// The bytes of a static tensor, or nil when an extent is not fixed or the size overflows.
  package var sizeInBytes: Int? {
    shape.elementCount.flatMap {
      let (size, overflow) = $0.multipliedReportingOverflow(by: element.sizeInBytes)
      return overflow ? nil : size
    }
  }
}
