/// The JSON header of a `.safetensors` file: one object whose members are tensors.
///
///     {"w": {"dtype": "F32", "shape": [16, 3], "data_offsets": [0, 192]}, "__metadata__": {"made-by": "…"}}
///
/// Reads exactly this shape; the file is hostile, so names, counts and numbers have limits and nothing recurses.
struct SafetensorsHeader {
  struct Entry {
    var name: String
    var dtype = ""
    var shape: [Int] = []
    var offsets: [Int] = []
  }
  static let maximumEntries = 1 << 20

  private var bytes: UnsafeRawBufferPointer
  private var offset = 0

  /// The tensors in file order.
  static func parse(_ bytes: UnsafeRawBufferPointer) throws(ParseFailure) -> [Entry] {
    var reader = SafetensorsHeader(bytes: bytes)
    var entries: [Entry] = []
    try reader.members { reader, key throws(ParseFailure) in
      if key == "__metadata__" {
        try reader.members { reader, _ throws(ParseFailure) in _ = try reader.string() }
        return
      }
      guard entries.count < maximumEntries else { throw reader.failure("the header lists too many tensors") }
      entries.append(try reader.entry(key))
    }
    reader.skipSpace()
    guard reader.offset == bytes.count else { throw reader.failure("the header has text behind its object") }
    return entries
  }

  private mutating func entry(_ name: String) throws(ParseFailure) -> Entry {
    var entry = Entry(name: name)
    try members { reader, key throws(ParseFailure) in
      switch key {
      case "dtype": entry.dtype = try reader.string()
      case "shape": entry.shape = try reader.numbers()
      case "data_offsets": entry.offsets = try reader.numbers()
      default: throw reader.failure("unknown key '\(key)' of tensor '\(name)'")
      }
    }
    guard !entry.dtype.isEmpty, entry.offsets.count == 2 else {
      throw failure("tensor '\(name)' lacks dtype, shape or two data_offsets")
    }
    return entry
  }

  // MARK: JSON

  private func failure(_ message: String) -> ParseFailure { ParseFailure(message: message, offset: offset) }
  private var peek: UInt8? { offset < bytes.count ? bytes[offset] : nil }
  private mutating func skipSpace() {
    while let next = peek, next == 32 || next == 9 || next == 10 || next == 13 { offset += 1 }
  }
  private mutating func take(_ byte: Unicode.Scalar) -> Bool {
    skipSpace()
    guard peek == UInt8(ascii: byte) else { return false }
    offset += 1
    return true
  }
  private mutating func expect(_ byte: Unicode.Scalar) throws(ParseFailure) {
    guard take(byte) else { throw failure("expected '\(byte)'") }
  }
  private mutating func members(
    _ body: (inout SafetensorsHeader, String) throws(ParseFailure) -> Void
  ) throws(ParseFailure) {
    try expect("{")
    if take("}") { return }
    repeat {
      let key = try string()
      try expect(":")
      try body(&self, key)
    } while take(",")
    try expect("}")
  }
  private mutating func numbers() throws(ParseFailure) -> [Int] {
    var result: [Int] = []
    try expect("[")
    if take("]") { return result }
    repeat {
      skipSpace()
      let start = offset
      while let next = peek, (48...57).contains(next) { offset += 1 }
      guard result.count < TensorType.maximumRank, offset > start,
        let number = Int(String(decoding: bytes[start..<offset], as: UTF8.self))
      else { throw failure("expected a whole number that fits") }
      result.append(number)
    } while take(",")
    try expect("]")
    return result
  }
  private mutating func string() throws(ParseFailure) -> String {
    try expect("\"")
    var result: [UInt8] = []
    while let next = peek, next >= 32, result.count <= Scanner.maximumNameLength {
      offset += 1
      if next == UInt8(ascii: "\"") {
        guard let text = String(validating: result, as: UTF8.self) else {
          throw failure("a text is not UTF-8")
        }
        return text
      }
      guard next == UInt8(ascii: "\\") else {
        result.append(next)
        continue
      }
      guard let scalar = try escape() else { throw failure("unknown escape in a text") }
      result += Array(String(scalar).utf8)
    }
    throw failure("a text does not end, or is too long")
  }
  private mutating func escape() throws(ParseFailure) -> Unicode.Scalar? {
    let kind = peek
    offset = min(offset + 1, bytes.count)
    switch kind {
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return kind.map { Unicode.Scalar($0) }
    case UInt8(ascii: "u"):
      guard let unit = hexadecimal() else { return nil }
      guard (0xD800..<0xDC00).contains(unit) else { return Unicode.Scalar(unit) }
      guard take("\\"), take("u"), let low = hexadecimal(), (0xDC00..<0xE000).contains(low) else {
        return nil
      }
      return Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
    default: return nil
    }
  }
  private mutating func hexadecimal() -> UInt32? {
    guard offset + 4 <= bytes.count,
      bytes[offset..<offset + 4].allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") })
    else { return nil }
    defer { offset += 4 }
    return UInt32(String(decoding: bytes[offset..<offset + 4], as: UTF8.self), radix: 16)
  }
  private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  /// `text` in quotes.
  static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
