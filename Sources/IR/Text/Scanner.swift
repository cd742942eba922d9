/// What is wrong in a text, and at which byte.
struct ParseFailure: Error {
  let message: String
  let offset: Int
  /// Whether no constant can be read, whatever the text says.
  var isAboutWeights = false
}

/// Reads the text form from bytes that are valid UTF-8. Never recurses and never reads past the end.
struct Scanner {
  let bytes: [UInt8]
  var offset = 0
  /// Names, words and quoted texts may be this long.
  static let maximumNameLength = 4096
  /// Brackets in an attribute may nest this deep.
  static let maximumDepth = 32

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { offset >= bytes.count }
  var peek: UInt8? { offset < bytes.count ? bytes[offset] : nil }
  private func byte(_ ahead: Int) -> UInt8? { offset + ahead < bytes.count ? bytes[offset + ahead] : nil }

  func failure(_ message: String, at offset: Int? = nil) -> ParseFailure {
    ParseFailure(message: message, offset: offset ?? self.offset)
  }
  /// "expected …, found …" at the next token; the scanner itself stays behind the last one.
  func expected(_ what: String) -> ParseFailure {
    var ahead = self
    ahead.skipSpace()
    return ahead.failure("expected \(what), found \(ahead.found)")
  }
  private var found: String {
    guard !isAtEnd else { return "the end of the text" }
    let end = bytes[offset...].prefix(24).firstIndex { $0 <= 32 } ?? min(offset + 24, bytes.count)
    return "'\(String(decoding: bytes[offset..<max(end, offset + 1)], as: UTF8.self))'"
  }
  /// The line and column of a byte, both from 1; columns count bytes.
  func place(of offset: Int) -> (line: Int, column: Int) {
    let before = bytes[..<min(offset, bytes.count)]
    let lineStart = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    return (before.count { $0 == UInt8(ascii: "\n") } + 1, before.count - lineStart + 1)
  }

  // MARK: Tokens

  /// Skips white space and `//` comments.
  mutating func skipSpace() {
    while let next = peek {
      if next == UInt8(ascii: "/"), byte(1) == UInt8(ascii: "/") {
        skipLine()
      } else if next == 32 || (9...13).contains(next) {
        offset += 1
      } else {
        return
      }
    }
  }
  /// Goes behind the next line end.
  mutating func skipLine() {
    while let next = peek {
      offset += 1
      if next == UInt8(ascii: "\n") { return }
    }
  }
  /// Takes `text` if it comes next.
  mutating func take(_ text: StaticString) -> Bool {
    let start = offset
    skipSpace()
    let matches = text.withUTF8Buffer { wanted in
      offset + wanted.count <= bytes.count && wanted.indices.allSatisfy { bytes[offset + $0] == wanted[$0] }
    }
    offset = matches ? offset + text.utf8CodeUnitCount : start
    return matches
  }
  mutating func expect(_ text: StaticString) throws(ParseFailure) {
    guard take(text) else { throw expected("'\(text)'") }
  }
  /// Takes the word `keyword` if it comes next, whole.
  mutating func takeKeyword(_ keyword: String) -> Bool {
    let start = offset
    if word() == keyword { return true }
    offset = start
    return false
  }
  /// The next word, or nil. A `:` belongs to it only when more word bytes follow.
  mutating func word() -> String? {
    let before = offset
    skipSpace()
    let start = offset
    while let next = peek, isWordByte(next), offset - start < Scanner.maximumNameLength {
      if next == UInt8(ascii: ":"), byte(1).map(isWordByte) != true { break }
      offset += 1
    }
    if offset > start { return String(decoding: bytes[start..<offset], as: UTF8.self) }
    offset = before
    return nil
  }
  /// An element of a list: everything up to a comma, a bracket or white space.
  mutating func element() throws(ParseFailure) -> String {
    skipSpace()
    let start = offset
    while let next = peek, next > 32, next != UInt8(ascii: ","), next != UInt8(ascii: "]"),
      offset - start < 64
    { offset += 1 }
    guard offset > start else { throw expected("an element") }
    return String(decoding: bytes[start..<offset], as: UTF8.self)
  }
  mutating func expectWord(_ what: String) throws(ParseFailure) -> String {
    guard let word = word() else { throw expected(what) }
    return word
  }
  /// A word or a quoted text.
  mutating func text(_ what: String) throws(ParseFailure) -> String {
    skipSpace()
    return peek == UInt8(ascii: "\"") ? try quoted() : try expectWord(what)
  }
  /// A name behind its sigil, `%` or `@`: not empty.
  mutating func name(_ sigil: StaticString, _ what: String) throws(ParseFailure) -> String {
    skipSpace()
    let start = offset
    guard take(sigil), let next = peek, next == UInt8(ascii: "\"") || isWordByte(next) else {
      throw expected("\(what) such as \(sigil)name")
    }
    let name = try text(what)
    guard !name.isEmpty else { throw failure("a name must not be empty", at: start) }
    return name
  }
  /// A text in quotes with the escapes `\" \\ \n \t \r`.
  mutating func quoted() throws(ParseFailure) -> String {
    skipSpace()
    let start = offset
    guard take("\"") else { throw expected("a quoted text") }
    var result: [UInt8] = []
    while let next = peek, next != UInt8(ascii: "\n"), result.count <= Scanner.maximumNameLength {
      offset += 1
      switch next {
      case UInt8(ascii: "\""): return String(decoding: result, as: UTF8.self)
      case UInt8(ascii: "\\"):
        guard let escape = peek, let plain = Scanner.escapes[escape] else {
          throw failure("unknown escape; known are \\\" \\\\ \\n \\t \\r", at: offset - 1)
        }
        offset += 1
        result.append(plain)
      default: result.append(next)
      }
    }
    throw failure(
      "the quoted text does not end, or is longer than \(Scanner.maximumNameLength) bytes", at: start)
  }
  private static let escapes: [UInt8: UInt8] = [
    UInt8(ascii: "\""): UInt8(ascii: "\""), UInt8(ascii: "\\"): UInt8(ascii: "\\"),
    UInt8(ascii: "n"): UInt8(ascii: "\n"), UInt8(ascii: "t"): UInt8(ascii: "\t"),
    UInt8(ascii: "r"): UInt8(ascii: "\r"),
  ]
  /// A number that is not negative.
  mutating func count(_ what: String) throws(ParseFailure) -> Int {
    skipSpace()
    let start = offset
    while let next = peek, (48...57).contains(next) { offset += 1 }
    guard offset > start else { throw expected(what) }
    guard let value = Int(String(decoding: bytes[start..<offset], as: UTF8.self)) else {
      throw failure("\(what) is too large", at: start)
    }
    return value
  }
  /// The trimmed text up to a top-level comma or closing brace; brackets and quotes protect.
  mutating func rawValue() throws(ParseFailure) -> String {
    skipSpace()
    let start = offset
    var depth = 0, isQuoted = false, end = offset
    while let next = peek {
      if isQuoted {
        if next == UInt8(ascii: "\\") { offset += 1 } else if next == UInt8(ascii: "\"") { isQuoted = false }
      } else {
        switch next {
        case UInt8(ascii: "\""): isQuoted = true
        case UInt8(ascii: "["), UInt8(ascii: "("), UInt8(ascii: "<"), UInt8(ascii: "{"): depth += 1
        case UInt8(ascii: ","), UInt8(ascii: "}"):
          if depth <= 0 {
            guard end > start else { throw expected("a value") }
            return String(decoding: bytes[start..<end], as: UTF8.self)
          }
          if next == UInt8(ascii: "}") { depth -= 1 }
        case UInt8(ascii: "]"), UInt8(ascii: ")"), UInt8(ascii: ">"): depth -= 1
        default: break
        }
        if depth > Scanner.maximumDepth { throw failure("brackets nest deeper than \(Scanner.maximumDepth)") }
      }
      offset = min(offset + 1, bytes.count)
      if next > 32 { end = offset }
    }
    throw failure("the attribute list does not end", at: start)
  }

  // MARK: Types

  /// `tensor<Nx3x32x32xf32>`, `tensor<Nx16x32x32xu8<0.02:3>, nhwc4>`
  mutating func tensorType() throws(ParseFailure) -> TensorType {
    skipSpace()
    let start = offset
    guard take("tensor<") else { throw expected("a type such as tensor<Nx3x32x32xf32>") }
    var extents: [Extent] = []
    while let next = peek {
      if next == UInt8(ascii: "N"), byte(1) == UInt8(ascii: "x") {
        extents.append(.batch)
        offset += 2
      } else if (48...57).contains(next) {
        extents.append(.known(try count("an extent")))
        guard take("x") else { throw expected("'x' behind an extent") }
      } else {
        break
      }
    }
    let type = TensorType(Shape(extents), try elementType(), layout: take(",") ? try layout() : .rowMajor)
    try expect(">")
    guard type.isRepresentable else {
      throw failure(
        "the type is too large: at most \(TensorType.maximumRank) axes and 2^40 elements", at: start)
    }
    return type
  }
  private mutating func elementType() throws(ParseFailure) -> ElementType {
    let start = offset
    while let next = peek, isWordByte(next), next != UInt8(ascii: ":") { offset += 1 }
    if peek == UInt8(ascii: "<") {
      while let next = peek, next > 32, next != UInt8(ascii: ">") { offset += 1 }
      _ = take(">")
    }
    guard let element = ElementType(text: String(decoding: bytes[start..<offset], as: UTF8.self)) else {
      offset = start
      throw expected("an element type: f32, i64, i32, byte, i8, bool, s4 or u8<scale:zero-point>")
    }
    return element
  }
  private mutating func layout() throws(ParseFailure) -> Layout {
    guard takeKeyword("nhwc4") else { throw expected("the layout nhwc4") }
    guard takeKeyword("border") else { return .channelsLast4 }
    var sides: [Int] = []
    for bracket: StaticString in ["[", ",", ",", ","] {
      try expect(bracket)
      sides.append(try count("the rows or columns of a border"))
    }
    try expect("]")
    return .channelsLast4(border: Border(top: sides[0], left: sides[1], bottom: sides[2], right: sides[3]))
  }
}

extension ElementType {
  /// Inverts `description`.
  init?(text: String) {
    switch text {
    case "f32": self = .f32
    case "i64": self = .i64
    case "i32": self = .i32
    case "byte": self = .u8
    case "i8": self = .i8
    case "bool": self = .bool
    default:
      guard let quantized = QuantizedType(text: text) else { return nil }
      self = .quantized(quantized)
    }
  }
}

extension TensorType {
  package static let maximumRank = 16
  /// Whether sizes in elements and bytes stay far from overflow: at most 2^40 in any extent and in all fixed ones.
  package var isRepresentable: Bool {
    let limit = 1 << 40, fixed = shape.extents.compactMap(\.value)
    guard shape.rank <= TensorType.maximumRank, fixed.allSatisfy({ $0 <= limit }) else { return false }
    return checkedProduct(fixed).map { $0 <= limit } ?? false
  }
}
