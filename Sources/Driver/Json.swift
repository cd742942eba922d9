/// A JSON value with ordered keys: the same input gives the same bytes.
indirect enum Json {
  case null
  case bool(Bool)
  case int(Int)
  case double(Double)
  case string(String)
  case array([Json])
  case object([(String, Json)])

  /// One line, without spaces between tokens but after `:` and `,`.
  var text: String {
    switch self {
    case .null: return "null"
    case .bool(let b): return b ? "true" : "false"
    case .int(let i): return "\(i)"
    case .double(let d):
      return d.isFinite ? (d == d.rounded() && abs(d) < 1e15 ? "\(Int(d)).0" : "\(d)") : "null"
    case .string(let s): return Json.quoted(s)
    case .array(let items): return "[" + items.map(\.text).joined(separator: ", ") + "]"
    case .object(let members):
      return "{" + members.map { "\(Json.quoted($0.0)): \($0.1.text)" }.joined(separator: ", ") + "}"
    }
  }

  private static func quoted(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case _ where scalar.value < 32:
        let hex = String(scalar.value, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }
}
