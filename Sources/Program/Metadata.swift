#if !hasFeature(Embedded)
  /// What a program says about itself: ordered pairs of text, stored as one flat JSON object. Known keys:
  /// `producer`, `target-name`, `target` (the YAML), `preprocessing` (YAML), `source-hash`, `seed`,
  /// `options`; others are kept.
  package struct Metadata: Hashable, Sendable {
    package struct Entry: Hashable, Sendable {
      package var key: String
      package var value: String
    }
    package private(set) var entries: [Entry] = []

    package init() {}

    package subscript(key: String) -> String? {
      get { entries.first { $0.key == key }?.value }
      set {
        let index = entries.firstIndex { $0.key == key }
        switch (index, newValue) {
        case (let index?, let value?): entries[index].value = value
        case (let index?, nil): entries.remove(at: index)
        case (nil, let value?): entries.append(Entry(key: key, value: value))
        case (nil, nil): break
        }
      }
    }

    /// One line, keys in order.
    package var json: [UInt8] {
      let body = entries.map { "\(Self.quoted($0.key)):\(Self.quoted($0.value))" }.joined(separator: ",")
      return Array("{\(body)}".utf8)
    }

    /// nil when the bytes are no flat JSON object of strings.
    package init?(json: [UInt8]) {
      var scanner = JSONScanner(bytes: json)
      guard scanner.take("{") else { return nil }
      if scanner.take("}") {
        guard scanner.isAtEnd else { return nil }
        return
      }
      repeat {
        guard let key = scanner.string(), scanner.take(":"), let value = scanner.string(), self[key] == nil
        else {
          return nil
        }
        entries.append(Entry(key: key, value: value))
      } while scanner.take(",")
      guard scanner.take("}"), scanner.isAtEnd else { return nil }
    }

    private static func quoted(_ text: String) -> String {
      var result = "\""
      for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\n": result += "\\n"
        case "\t": result += "\\t"
        case "\r": result += "\\r"
        case _ where scalar.value < 32:
          let digits = String(scalar.value, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        case _: result.unicodeScalars.append(scalar)
        }
      }
      return result + "\""
    }
  }

  /// Reads the tokens of a flat JSON object.
  private struct JSONScanner {
    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    private mutating func skipSpace() {
      while position < bytes.count, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[position]) { position += 1 }
    }
    var isAtEnd: Bool {
      mutating get {
        skipSpace()
        return position == bytes.count
      }
    }
    mutating func take(_ character: Unicode.Scalar) -> Bool {
      skipSpace()
      guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
      position += 1
      return true
    }

    mutating func string() -> String? {
      guard take("\"") else { return nil }
      var utf8: [UInt8] = []
      while position < bytes.count {
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""): return String(validating: utf8, as: UTF8.self)
        case UInt8(ascii: "\\"):
          guard let scalar = escaped() else { return nil }
          utf8 += Array(String(Character(scalar)).utf8)
        case 0..<32: return nil
        case _: utf8.append(byte)
        }
      }
      return nil
    }

    private mutating func escaped() -> Unicode.Scalar? {
      guard position < bytes.count else { return nil }
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "n"): return "\n"
      case UInt8(ascii: "t"): return "\t"
      case UInt8(ascii: "r"): return "\r"
      case UInt8(ascii: "b"): return "\u{8}"
      case UInt8(ascii: "f"): return "\u{C}"
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
      case UInt8(ascii: "u"):
        guard let first = codeUnit() else { return nil }
        guard 0xD800..<0xDC00 ~= first else { return Unicode.Scalar(first) }
        // A surrogate pair.
        guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
          bytes[position + 1] == UInt8(ascii: "u")
        else { return nil }
        position += 2
        guard let second = codeUnit(), 0xDC00..<0xE000 ~= second else { return nil }
        return Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
      case _: return nil
      }
    }

    private mutating func codeUnit() -> UInt32? {
      guard position + 4 <= bytes.count else { return nil }
      var value: UInt32 = 0
      for byte in bytes[position..<position + 4] {
        guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { return nil }
        value = value << 4 | UInt32(digit)
      }
      position += 4
      return value
    }
  }
#endif
