/// A value with one text form that reads back exactly; attributes and pass options consist of these.
package protocol TextCodable: Sendable {
  var text: String { get }
  init?(text: String)
  /// What the parser expected, for messages: "an integer".
  static var expectation: String { get }
}

/// One named, typed field of an operation or of a pass's options, declared once and used by the printer, the
/// parser and the help.
package struct Attribute<Owner>: Sendable {
  package let name: String
  package let expectation: String
  package let help: String
  package let print: @Sendable (Owner) -> String
  package let parse: @Sendable (inout Owner, String) throws(AttributeError) -> Void

  package init<T: TextCodable>(
    _ name: String, _ path: any WritableKeyPath<Owner, T> & Sendable, help: String = ""
  ) {
    self.name = name
    self.expectation = T.expectation
    self.help = help
    self.print = { $0[keyPath: path].text }
    self.parse = { owner, text throws(AttributeError) in
      guard let value = T(text: text) else {
        throw AttributeError("'\(name)' must be \(T.expectation), not '\(text)'")
      }
      owner[keyPath: path] = value
    }
  }
}

package struct AttributeError: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}

extension Int: TextCodable {
  package static var expectation: String { "an integer" }
  package var text: String { description }
  package init?(text: String) { self.init(text) }
}
extension Float: TextCodable {
  package static var expectation: String { "a number" }
  /// The shortest text that reads back exactly.
  package var text: String { description }
  package init?(text: String) { self.init(text) }
}
extension Bool: TextCodable {
  package static var expectation: String { "true or false" }
  package var text: String { description }
  package init?(text: String) { self.init(text) }
}
extension String: TextCodable {
  package static var expectation: String { "a word or a quoted text" }
  package var text: String { isPlainWord ? self : quotedText }
  /// In quotes, with escapes. Quotes are scalars here: a combining mark behind one would join it in a Character.
  package var quotedText: String { "\"" + escaped + "\"" }
  package init?(text: String) {
    let scalars = text.unicodeScalars
    guard scalars.first == "\"" else {
      self = text
      return
    }
    guard scalars.count >= 2, scalars.last == "\"",
      let plain = String(escaped: scalars.dropFirst().dropLast())
    else { return nil }
    self = plain
  }
  /// Whether the text form needs no quotes.
  package var isPlainWord: Bool {
    // Two slashes at the front would read as a comment.
    !isEmpty && utf8.allSatisfy { isWordByte($0) } && !utf8.starts(with: "//".utf8)
  }
  private var escaped: String {
    var result = ""
    for scalar in unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\t": result += "\\t"
      case "\r": result += "\\r"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
  private init?(escaped text: Substring.UnicodeScalarView) {
    var result = "", iterator = text.makeIterator()
    while let scalar = iterator.next() {
      if scalar == "\"" { return nil }
      if scalar != "\\" {
        result.unicodeScalars.append(scalar)
        continue
      }
      switch iterator.next() {
      case "\"": result += "\""
      case "\\": result += "\\"
      case "n": result += "\n"
      case "t": result += "\t"
      case "r": result += "\r"
      default: return nil
      }
    }
    self = result
  }
}

/// Bytes of a plain word: letters, digits, `_`, `.`, `-`, `/`, `:`.
package func isWordByte(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"),
    UInt8(ascii: "/"), UInt8(ascii: ":"):
    true
  default: false
  }
}

extension Array: TextCodable where Element: TextCodable {
  package static var expectation: String { "a list such as [a, b], each \(Element.expectation)" }
  package var text: String { "[" + map(\.text).joined(separator: ", ") + "]" }
  package init?(text: String) {
    guard text.hasPrefix("["), text.hasSuffix("]") else { return nil }
    self = []
    for part in splitOutsideBrackets(String(text.dropFirst().dropLast())) {
      guard let element = Element(text: part) else { return nil }
      append(element)
    }
  }
}

/// The parts between top-level commas, trimmed; brackets, parentheses and quotes protect.
package func splitOutsideBrackets(_ text: String) -> [String] {
  var parts: [String] = [], current: [UInt8] = [], depth = 0, isQuoted = false, isEscaped = false
  for byte in text.utf8 {
    if isQuoted {
      if isEscaped {
        isEscaped = false
      } else if byte == UInt8(ascii: "\\") {
        isEscaped = true
      } else if byte == UInt8(ascii: "\"") {
        isQuoted = false
      }
    } else {
      switch byte {
      case UInt8(ascii: "\""): isQuoted = true
      case UInt8(ascii: "["), UInt8(ascii: "("), UInt8(ascii: "{"), UInt8(ascii: "<"): depth += 1
      case UInt8(ascii: "]"), UInt8(ascii: ")"), UInt8(ascii: "}"), UInt8(ascii: ">"): depth -= 1
      case UInt8(ascii: ",") where depth == 0:
        parts.append(trimmed(current))
        current = []
        continue
      default: break
      }
    }
    current.append(byte)
  }
  let last = trimmed(current)
  if !last.isEmpty || !parts.isEmpty { parts.append(last) }
  return parts
}

private func trimmed(_ text: [UInt8]) -> String {
  var view = text[...]
  while let first = view.first, first <= 32 { view.removeFirst() }
  while let last = view.last, last <= 32 { view.removeLast() }
  return String(decoding: view, as: UTF8.self)
}

/// An enumeration whose text is its raw value.
package protocol TextEnumeration: TextCodable, CaseIterable, RawRepresentable where RawValue == String {}
extension TextEnumeration {
  package static var expectation: String { "one of " + allCases.map(\.rawValue).joined(separator: ", ") }
  package var text: String { rawValue }
  package init?(text: String) { self.init(rawValue: text) }
}

extension Shape: TextCodable {
  package static var expectation: String { "a shape such as [N, 3, 32, 32]" }
  package var text: String { description }
  package init?(text: String) {
    guard text.hasPrefix("["), text.hasSuffix("]") else { return nil }
    extents = []
    for part in splitOutsideBrackets(String(text.dropFirst().dropLast())) {
      if part == "N" {
        extents.append(.batch)
      } else if let n = Int(part) {
        extents.append(.known(n))
      } else {
        return nil
      }
    }
  }
}
