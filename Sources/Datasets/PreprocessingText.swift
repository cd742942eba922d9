import Support
import Yams

extension Preprocessing {
  /// The keys, in the order of the canonical text.
  package static let keys = ["color", "resize", "crop", "scale", "mean", "std", "layout"]

  /// Parses the YAML (or JSON) of a preprocessing file; `file` is for diagnostics.
  package init(yaml text: String, file: String) throws(CompilerError) {
    try Preprocessing.checkSize(text, file)
    let node: Node?
    do {
      node = try Yams.compose(yaml: text)
    } catch {
      throw dataError("is not readable YAML: \(firstLine("\(error)"))", file: file)
    }
    self.init()
    guard let node else { return }
    let reader = PreprocessingReader(file: file)
    guard let mapping = node.mapping else {
      throw reader.error(node, "preprocessing is a mapping of keys to values", [reader.knownKeys])
    }
    var seen: Set<String> = []
    for (key, value) in mapping {
      let name = key.scalar?.string ?? ""
      guard seen.insert(name).inserted else { throw reader.error(key, "'\(printable(name))' is given twice") }
      try set(name, value, reader, key)
    }
  }

  package init(path: String) throws(CompilerError) {
    let bytes = try RandomAccessFile(path: path).readAll(limit: Preprocessing.maximumTextSize)
    try self.init(yaml: String(decoding: bytes, as: UTF8.self), file: path)
  }

  /// Sets one key from a command-line value: YAML, or plain numbers with commas where a list is expected.
  package mutating func set(_ key: String, to value: String) throws(CompilerError) {
    let reader = PreprocessingReader(file: "--\(printable(key))")
    try Preprocessing.checkSize(value, reader.file)
    let isList = value.contains(",") && !value.contains("[") && !value.contains("{")
    do {
      let node = try Yams.compose(yaml: isList ? "[\(value)]" : value) ?? Node("")
      try set(key, node, reader, node)
    } catch let error as CompilerError {
      throw error
    } catch {
      throw dataError("is not readable: \(firstLine("\(error)"))", file: reader.file)
    }
  }

  private mutating func set(
    _ key: String, _ value: Node, _ reader: PreprocessingReader, _ place: Node
  ) throws(CompilerError) {
    switch key {
    case "color": color = try reader.choice(value, key)
    case "resize": resize = try reader.resize(value)
    case "crop": crop = try reader.crop(value)
    case "scale":
      let number = try reader.number(value, key)
      guard number != 0 else { throw reader.error(value, "scale is 0, which would erase the image") }
      scale = number
    case "mean": mean = try reader.numbers(value, key)
    case "std":
      let numbers = try reader.numbers(value, key)
      guard numbers.allSatisfy({ $0 > 0 }) else {
        throw reader.error(value, "std has a value that is not above 0")
      }
      std = numbers
    case "layout": layout = try reader.choice(value, key)
    default: throw reader.error(place, "unknown key '\(printable(key))'", [reader.knownKeys])
    }
  }

  private static let maximumTextSize = 16384

  /// The YAML library recurses once per level of nesting, so that deep text must not reach it.
  private static func checkSize(_ text: String, _ file: String) throws(CompilerError) {
    let brackets = text.utf8.count { $0 == 0x5B || $0 == 0x7B }
    let longestLine = text.utf8.split(separator: 0x0A).map(\.count).max() ?? 0
    guard text.utf8.count <= maximumTextSize, brackets <= 64, longestLine <= 1024 else {
      throw dataError("is too long or too deeply nested for a preprocessing description", file: file)
    }
  }
}

extension Preprocessing {
  /// JSON on one line, keys in a fixed order, only those that are set. It is also YAML: reading it gives the same again.
  package var canonicalText: String {
    func number(_ value: Double) -> String {
      value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : "\(value)"
    }
    func list(_ values: [Double]) -> String { "[" + values.map(number).joined(separator: ", ") + "]" }
    var fields: [String] = []
    if let color { fields.append("\"color\": \"\(color.rawValue)\"") }
    switch resize {
    case .shortSide(let length, let filter)?:
      fields.append("\"resize\": {\"short_side\": \(length), \"filter\": \"\(filter.rawValue)\"}")
    case .size(let height, let width, let filter)?:
      fields.append("\"resize\": {\"size\": [\(height), \(width)], \"filter\": \"\(filter.rawValue)\"}")
    case nil: break
    }
    if let crop { fields.append("\"crop\": {\"center\": [\(crop.height), \(crop.width)]}") }
    if let scale { fields.append("\"scale\": \(number(scale))") }
    if let mean { fields.append("\"mean\": \(list(mean))") }
    if let std { fields.append("\"std\": \(list(std))") }
    if let layout { fields.append("\"layout\": \"\(layout.rawValue)\"") }
    return "{" + fields.joined(separator: ", ") + "}"
  }
}

/// Values of YAML nodes, with diagnostics at their line.
private struct PreprocessingReader {
  let file: String

  var knownKeys: String { "known keys: " + Preprocessing.keys.joined(separator: ", ") }

  func error(_ node: Node, _ message: String, _ notes: [String] = []) -> CompilerError {
    dataError(message, file: file, line: file.hasPrefix("--") ? nil : node.mark?.line, notes: notes)
  }

  func choice<Choice: RawRepresentable & CaseIterable>(
    _ node: Node, _ key: String
  ) throws(CompilerError) -> Choice where Choice.RawValue == String {
    guard let text = node.scalar?.string, let value = Choice(rawValue: text) else {
      let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
      throw error(node, "\(key) is one of \(known), not '\(printable(node.scalar?.string ?? "a list"))'")
    }
    return value
  }

  /// A finite number; also a fraction such as 1/255.
  func number(_ node: Node, _ key: String) throws(CompilerError) -> Double {
    let parts = (node.scalar?.string ?? "").split(separator: "/", omittingEmptySubsequences: false)
    let values = parts.compactMap { Double($0) }
    guard values.count == parts.count, values.count == 1 || values.count == 2 && values[1] != 0 else {
      throw error(node, "\(key): '\(printable(node.scalar?.string ?? "a list"))' is not a number")
    }
    let value = values.count == 1 ? values[0] : values[0] / values[1]
    guard value.isFinite, Float(value).isFinite else {
      throw error(node, "\(key): '\(printable(node.scalar?.string ?? ""))' is not a finite float32")
    }
    return value
  }

  /// One number, or a list of one per channel.
  func numbers(_ node: Node, _ key: String) throws(CompilerError) -> [Double] {
    guard let sequence = node.sequence else { return [try number(node, key)] }
    guard sequence.count == 1 || sequence.count == 3 else {
      throw error(node, "\(key) is one number or one per channel (1 or 3), not \(sequence.count)")
    }
    var result: [Double] = []
    for element in sequence { result.append(try number(element, key)) }
    return result
  }

  func side(_ node: Node, _ key: String) throws(CompilerError) -> Int {
    guard let value = Int(node.scalar?.string ?? ""), Preprocessing.sides.contains(value) else {
      throw error(
        node,
        "\(key): '\(printable(node.scalar?.string ?? "a list"))' is not a number of pixels "
          + "(\(Preprocessing.sides.lowerBound) to \(Preprocessing.sides.upperBound))")
    }
    return value
  }

  func heightAndWidth(_ node: Node, _ key: String) throws(CompilerError) -> (Int, Int) {
    guard let sequence = node.sequence, sequence.count == 2 else {
      throw error(node, "\(key) is [height, width]")
    }
    return (try side(sequence[0], key), try side(sequence[1], key))
  }

  func resize(_ node: Node) throws(CompilerError) -> Preprocessing.Resize {
    let form = "resize is {short_side: n} or {size: [height, width]}, with an optional filter"
    guard let mapping = node.mapping else { throw error(node, form) }
    var filter = ResizeFilter.bilinear
    var shortSide: Int?
    var size: (height: Int, width: Int)?
    for (key, value) in mapping {
      switch key.scalar?.string ?? "" {
      case "filter": filter = try choice(value, "filter")
      case "short_side": shortSide = try side(value, "short_side")
      case "size": size = try heightAndWidth(value, "size")
      case let other:
        throw error(
          key, "unknown key '\(printable(other))' in resize", ["known keys: short_side, size, filter"])
      }
    }
    switch (shortSide, size) {
    case (let length?, nil): return .shortSide(length, filter)
    case (nil, let size?): return .size(height: size.height, width: size.width, filter)
    case (nil, nil), (_?, _?): throw error(node, form)
    }
  }

  func crop(_ node: Node) throws(CompilerError) -> Preprocessing.Crop {
    guard let mapping = node.mapping, mapping.count == 1, let value = mapping["center"] else {
      throw error(node, "crop is {center: [height, width]}")
    }
    let (height, width) = try heightAndWidth(value, "center")
    return Preprocessing.Crop(height: height, width: width)
  }
}

private func firstLine(_ text: String) -> String {
  printable(String(text.split(separator: "\n").first ?? ""))
}
