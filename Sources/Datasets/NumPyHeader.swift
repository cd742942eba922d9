import Support

/// The element types of NumPy arrays that are read.
package enum NumPyElement: String, CaseIterable, Sendable {
  case bool = "|b1"
  case uint8 = "|u1"
  case int8 = "|i1"
  case uint16 = "<u2"
  case int16 = "<i2"
  case int32 = "<i4"
  case int64 = "<i8"
  case float16 = "<f2"
  case float32 = "<f4"
  case float64 = "<f8"

  var size: Int {
    switch self {
    case .bool, .uint8, .int8: 1
    case .uint16, .int16, .float16: 2
    case .int32, .float32: 4
    case .int64, .float64: 8
    }
  }
}

/// What stands before the numbers of an `.npy` file.
package struct NumPyHeader: Equatable, Sendable {
  package var element: NumPyElement
  package var shape: [Int]
  /// Where the numbers begin.
  var dataOffset: Int

  package var elementCount: Int { shape.reduce(1, *) }

  static let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]

  /// Parses the header of `source` and checks that the numbers it promises are there.
  init(_ source: ByteSource) throws(CompilerError) {
    let file = source.name
    let start = try source.prefix(12)
    guard start.starts(with: NumPyHeader.magic), start.count >= 10 else {
      throw dataError("is not an .npy file: it does not begin with \\x93NUMPY", file: file)
    }
    let version = start[6]
    guard (1...3).contains(version), version == 1 || start.count == 12 else {
      throw dataError("is an .npy file of unknown version \(version).\(start[7])", file: file)
    }
    let lengthSize = version == 1 ? 2 : 4
    let length = (0..<lengthSize).reduce(0) { $0 | Int(start[8 + $1]) << (8 * $1) }
    guard length <= 65536 else {
      throw dataError("is a damaged .npy file: its header has \(length) bytes", file: file)
    }
    let text = try source.read(at: 8 + lengthSize, count: length)
    var parser = NumPyHeaderParser(text: text)
    guard let fields = parser.parse() else {
      throw dataError(
        "is a damaged .npy file: its header is not {'descr': …, 'fortran_order': …, 'shape': (…)}", file: file
      )
    }
    guard let element = NumPyElement(descriptor: fields.descriptor) else {
      throw dataError(
        "has elements of type '\(fields.descriptor)'", file: file,
        notes: [
          "save it with .astype('<f4'); also read: "
            + NumPyElement.allCases.map(\.rawValue).joined(separator: " ")
        ])
    }
    if fields.isFortranOrder && fields.shape.count > 1 {
      throw dataError(
        "is in Fortran order", file: file, notes: ["save it with numpy.ascontiguousarray(array)"])
    }
    self.element = element
    self.shape = fields.shape
    self.dataOffset = 8 + lengthSize + length
    var byteCount = element.size
    for extent in shape {
      let (product, overflow) = byteCount.multipliedReportingOverflow(by: extent)
      guard !overflow else { throw dataError("claims the impossible shape \(shape)", file: file) }
      byteCount = product
    }
    guard source.count - dataOffset == byteCount else {
      throw dataError(
        "promises \(byteCount) bytes of numbers (shape \(shape)) but holds \(source.count - dataOffset)",
        file: file,
        notes: ["copy or save it again"])
    }
  }
}

extension NumPyElement {
  /// One-byte types have no byte order, whatever the file says.
  fileprivate init?(descriptor: String) {
    if let element = NumPyElement(rawValue: descriptor) {
      self = element
    } else if descriptor.count == 3, let element = NumPyElement(rawValue: "|" + descriptor.dropFirst()) {
      self = element
    } else if descriptor.hasPrefix("="), let element = NumPyElement(rawValue: "<" + descriptor.dropFirst()) {
      self = element
    } else {
      return nil
    }
  }
}

/// Reads the Python dictionary of the header: exactly its three keys, in any order.
private struct NumPyHeaderParser {
  var text: [UInt8]
  var position = 0

  struct Fields {
    var descriptor: String
    var isFortranOrder: Bool
    var shape: [Int]
  }

  mutating func parse() -> Fields? {
    var descriptor: String?
    var isFortranOrder: Bool?
    var shape: [Int]?
    guard take("{") else { return nil }
    while !take("}") {
      guard let key = string(), take(":") else { return nil }
      switch key {
      case "descr": descriptor = string()
      case "fortran_order": isFortranOrder = take("True") ? true : take("False") ? false : nil
      case "shape": shape = tuple()
      default: return nil
      }
      guard take(",") || peek("}") else { return nil }
    }
    skipSpaces()
    guard position == text.count, let descriptor, let isFortranOrder, let shape else { return nil }
    return Fields(descriptor: descriptor, isFortranOrder: isFortranOrder, shape: shape)
  }

  mutating func skipSpaces() {
    while position < text.count, text[position] == 0x20 || text[position] == 0x0A { position += 1 }
  }

  mutating func peek(_ token: String) -> Bool {
    skipSpaces()
    return text[position...].starts(with: token.utf8)
  }

  mutating func take(_ token: String) -> Bool {
    guard peek(token) else { return false }
    position += token.utf8.count
    return true
  }

  mutating func string() -> String? {
    skipSpaces()
    guard position < text.count, text[position] == 0x27 || text[position] == 0x22 else { return nil }
    let quote = text[position]
    guard let end = text[(position + 1)...].firstIndex(of: quote) else { return nil }
    let bytes = text[position + 1..<end]
    // Type and key names; anything else is damage, and must not reach a terminal.
    guard bytes.count <= 32, bytes.allSatisfy({ (0x20..<0x7F).contains($0) }) else { return nil }
    position = end + 1
    return String(decoding: bytes, as: UTF8.self)
  }

  mutating func tuple() -> [Int]? {
    guard take("(") else { return nil }
    var values: [Int] = []
    while !take(")") {
      skipSpaces()
      let digits = text[position...].prefix { (0x30...0x39).contains($0) }
      guard !digits.isEmpty, values.count < 32, let value = Int(String(decoding: digits, as: UTF8.self))
      else {
        return nil
      }
      values.append(value)
      position += digits.count
      _ = take("L")  // Python 2
      guard take(",") || peek(")") else { return nil }
    }
    return values
  }
}
