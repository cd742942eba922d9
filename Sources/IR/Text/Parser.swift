import Support

/// Where the contents of out-of-line constants come from.
package enum WeightSource: Sendable {
  /// The `.safetensors` file at this path; opened when the first constant needs it.
  case file(String)
  /// `seededContents`, for constants without a hash.
  case seeded
  /// Nowhere; the text says why.
  case unavailable(String)
}

extension Graph {
  /// Reads the text form.
  /// - Parameter file: what diagnostics call the text.
  /// - Throws: `malformedInput` with every mistake found (up to a limit), each with line and column.
  package init(
    text: [UInt8], file: String = "<text>", weights: WeightSource = .unavailable("no file was given")
  ) throws(CompilerError) {
    guard String(validating: text, as: UTF8.self) != nil else {
      throw .malformed("the file is not UTF-8 text", at: file)
    }
    var parser = Parser(Scanner(text), file: file, weights: weights)
    try parser.parse()
    self = parser.graph
  }
  package init(
    text: String, file: String = "<text>", weights: WeightSource = .unavailable("no file was given")
  ) throws(CompilerError) {
    try self.init(text: Array(text.utf8), file: file, weights: weights)
  }
}

/// Recovers at line ends: a statement that fails is reported once, and what depends on it is skipped silently.
private struct Parser {
  var graph = Graph()
  private var scanner: Scanner
  private let file: String
  private let weights: WeightSource
  private var weightFile: SafetensorsFile?
  /// Set once contents are missing altogether, which is reported for the first constant alone.
  private var lacksWeights = false
  private var status = ExitStatus.malformedInput
  /// Every name defined so far; nil where the definition failed.
  private var values: [String: ValueID?] = [:]
  private var diagnostics: [Diagnostic] = []
  private static let maximumDiagnostics = 20
  private static let maximumListLength = 65_536
  private static let maximumMetadata = 1024

  init(_ scanner: Scanner, file: String, weights: WeightSource) {
    self.scanner = scanner
    self.file = file
    self.weights = weights
  }

  mutating func parse() throws(CompilerError) {
    do throws(ParseFailure) {
      try header()
      try body()
    } catch {
      report(error)
    }
    if !diagnostics.isEmpty {
      throw CompilerError(diagnostics, status: diagnostics.count == 1 ? status : .malformedInput)
    }
  }

  private mutating func report(_ failure: ParseFailure) {
    let (line, column) = scanner.place(of: failure.offset)
    diagnostics.append(.error(failure.message, at: "\(file):\(line):\(column)"))
  }

  // MARK: Structure

  private mutating func header() throws(ParseFailure) {
    guard scanner.takeKeyword("qir") else {
      throw scanner.expected("'qir \(Graph.textVersion)', which must be the first line")
    }
    let version = try scanner.count("the version of the format")
    guard version == Graph.textVersion else {
      throw scanner.failure(
        "the text has version \(version) of the format; this qcc reads version \(Graph.textVersion)")
    }
    guard scanner.takeKeyword("graph") else { throw scanner.expected("'graph'") }
    graph.name = try scanner.name("@", "the graph's name")
    guard scanner.takeKeyword("stage") else { throw scanner.expected("'stage'") }
    let stageName = try scanner.expectWord("a stage")
    guard let stage = Stage(text: stageName) else {
      throw scanner.failure("'\(stageName)' is no stage; expected \(Stage.expectation)")
    }
    graph.stage = stage
    for (key, value) in try pairs("a metadata key", limit: Parser.maximumMetadata) {
      guard let plain = String(text: value) else {
        throw scanner.failure("metadata '\(key)' has a malformed text")
      }
      graph.setMetadata(key, plain)
    }
    try scanner.expect("(")
    if !scanner.take(")") {
      repeat { try input() } while scanner.take(",")
      try scanner.expect(")")
    }
    try scanner.expect("{")
  }
  private mutating func input() throws(ParseFailure) {
    let place = scanner.offset, name = try scanner.name("%", "an input")
    try scanner.expect(":")
    let annotated = try annotatedType()
    try define(name, at: place)
    let value = graph.addInput(name, annotated.type)
    annotate(value, annotated)
    values[name] = value
  }

  private mutating func body() throws(ParseFailure) {
    while true {
      scanner.skipSpace()
      guard !scanner.isAtEnd else {
        throw scanner.failure("the graph does not end: expected 'return' and '}'")
      }
      if scanner.takeKeyword("return") { break }
      let couldReadWeights = !lacksWeights
      do throws(ParseFailure) { try statement() } catch {
        if couldReadWeights || !error.isAboutWeights { report(error) }
        guard diagnostics.count < Parser.maximumDiagnostics else { return }
        scanner.skipLine()
      }
    }
    scanner.skipSpace()
    if scanner.peek == UInt8(ascii: "%") {
      repeat {
        if let value = try operand() { graph.addOutput(value) }
        guard graph.outputs.count <= Parser.maximumListLength else {
          throw scanner.failure("too many outputs")
        }
      } while scanner.take(",")
    }
    try scanner.expect("}")
    scanner.skipSpace()
    guard scanner.isAtEnd else { throw scanner.expected("the end of the text") }
  }

  // MARK: Statements

  private mutating func statement() throws(ParseFailure) {
    let start = scanner.offset
    var names: [String] = []
    repeat {
      let place = scanner.offset, name = try scanner.name("%", "a result")
      try define(name, at: place)
      names.append(name)
      guard names.count <= Parser.maximumListLength else { throw scanner.failure("too many results") }
    } while scanner.take(",")
    try scanner.expect("=")
    scanner.skipSpace()
    let place = scanner.offset, mnemonic = try scanner.expectWord("an operation")
    if mnemonic == "constant" {
      guard names.count == 1 else { throw scanner.failure("a constant has one result", at: start) }
      values[names[0]] = try constant(names[0])
    } else {
      try operation(mnemonic, names, at: place)
    }
  }
  /// Notes that `name` exists, for now without a value.
  private mutating func define(_ name: String, at offset: Int) throws(ParseFailure) {
    guard values.updateValue(nil, forKey: name) == nil else {
      throw scanner.failure("'%\(name)' is defined twice", at: offset)
    }
  }
  /// The value of a name; nil when its definition failed.
  private mutating func operand() throws(ParseFailure) -> ValueID? {
    let place = scanner.offset, name = try scanner.name("%", "an operand")
    guard let value = values[name] else {
      throw scanner.failure("'%\(name)' is not defined before this line", at: place)
    }
    return value
  }
  private mutating func operation(_ mnemonic: String, _ names: [String], at place: Int) throws(ParseFailure) {
    var operands: [ValueID] = [], isKnown = true
    try scanner.expect("(")
    if !scanner.take(")") {
      repeat {
        if let value = try operand() { operands.append(value) } else { isKnown = false }
        guard operands.count <= Parser.maximumListLength else { throw scanner.failure("too many operands") }
      } while scanner.take(",")
      try scanner.expect(")")
    }
    let pairs = try pairs("an attribute", limit: Parser.maximumListLength)
    let op: Op
    do { op = try Op.parsed(mnemonic, pairs) } catch { throw scanner.failure(error.description, at: place) }
    try scanner.expect(":")
    scanner.skipSpace()
    let typePlace = scanner.offset
    var types: [AnnotatedType] = []
    repeat { types.append(try annotatedType()) } while scanner.take(",")
    let location = scanner.takeKeyword("loc") ? try scanner.quoted() : names[0]
    guard isKnown else { return }

    let id: OpID
    do { id = try graph.append(op, operands, name: location, resultNames: names) } catch {
      throw scanner.failure(error.description, at: place)
    }
    let results = graph[id].results
    guard results.count == names.count, types.count == names.count else {
      throw scanner.failure(
        "\(mnemonic) has \(results.count) results here; the line names \(names.count) and gives \(types.count) types",
        at: place)
    }
    for (result, written) in zip(results, types) {
      let inferred = graph[result].type
      guard inferred.shape == written.type.shape, inferred.element == written.type.element else {
        throw scanner.failure("the result is \(inferred), not \(written.type)", at: typePlace)
      }
      graph.setLayout(result, written.type.layout)
      annotate(result, written)
    }
    for (name, result) in zip(names, results) { values[name] = result }
  }

  // MARK: Types with what is known about their value

  private struct AnnotatedType {
    var type: TensorType
    var placement: Graph.Placement?
    var statistics: ChannelStatistics?
  }

  /// `tensor<…>`, perhaps with `at 64` or `at 64 stride 48`, and `stats(mean = […], deviation = […])`.
  private mutating func annotatedType() throws(ParseFailure) -> AnnotatedType {
    let type = try scanner.tensorType()
    return AnnotatedType(type: type, placement: try placement(), statistics: try statistics(of: type))
  }
  private mutating func placement() throws(ParseFailure) -> Graph.Placement? {
    guard scanner.takeKeyword("at") else { return nil }
    let offset = try scanner.count("a byte offset")
    let stride = scanner.takeKeyword("stride") ? try scanner.count("the bytes of a pixel") : nil
    return Graph.Placement(offset, pixelStride: stride)
  }
  private mutating func annotate(_ value: ValueID, _ annotated: AnnotatedType) {
    graph.setPlacement(value, annotated.placement)
    graph.setStatistics(value, annotated.statistics)
  }
  private mutating func statistics(of type: TensorType) throws(ParseFailure) -> ChannelStatistics? {
    guard scanner.takeKeyword("stats") else { return nil }
    let place = scanner.offset
    try scanner.expect("(")
    let means = try numbers("mean")
    try scanner.expect(",")
    let deviations = try numbers("deviation")
    try scanner.expect(")")
    guard means.count == type.shape.size(1), deviations.count == means.count else {
      throw scanner.failure("stats need a mean and a deviation for every channel of \(type)", at: place)
    }
    return ChannelStatistics(means: means, deviations: deviations)
  }
  /// `name = [1.5, -2.0]`, all finite.
  private mutating func numbers(_ name: String) throws(ParseFailure) -> [Float] {
    guard scanner.takeKeyword(name) else { throw scanner.expected("'\(name)'") }
    try scanner.expect("=")
    try scanner.expect("[")
    var result: [Float] = []
    if scanner.take("]") { return result }
    repeat {
      let place = scanner.offset, element = try scanner.element()
      guard let number = Float(element), number.isFinite else {
        throw scanner.failure("'\(element)' is no finite number", at: place)
      }
      guard result.count < Parser.maximumListLength else { throw scanner.failure("the list is too long") }
      result.append(number)
    } while scanner.take(",")
    try scanner.expect("]")
    return result
  }
  /// `{name = value, …}`, or nothing.
  private mutating func pairs(
    _ what: String, limit: Int
  ) throws(ParseFailure) -> [(name: String, text: String)] {
    guard scanner.take("{") else { return [] }
    var result: [(name: String, text: String)] = [], seen: Set<String> = []
    if scanner.take("}") { return result }
    repeat {
      let name = try scanner.text(what)
      guard seen.insert(name).inserted else { throw scanner.failure("'\(name)' is given twice") }
      guard result.count < limit else { throw scanner.failure("the list is too long") }
      try scanner.expect("=")
      result.append((name, try scanner.rawValue()))
    } while scanner.take(",")
    try scanner.expect("}")
    return result
  }

  // MARK: Constants

  private enum Contents {
    case dense([String]), base64([UInt8]), named(String, hash: UInt64?)
  }

  private mutating func constant(_ name: String) throws(ParseFailure) -> ValueID {
    scanner.skipSpace()
    let place = scanner.offset, contents = try contents()
    try scanner.expect(":")
    let annotated = try annotatedType(), type = annotated.type
    guard let size = type.sizeInBytes else {
      throw scanner.failure("a constant needs a static shape", at: place)
    }
    let storage: TensorStorage
    switch contents {
    case .dense(let elements): storage = try dense(elements, type, at: place)
    case .base64(let bytes):
      guard bytes.count == size else {
        throw scanner.failure("the base64 text holds \(bytes.count) bytes, \(type) needs \(size)", at: place)
      }
      storage = TensorStorage(copying: bytes)
    case .named(let key, let hash): storage = try named(key, hash, type, at: place)
    }
    let value = graph.addConstant(Constant(name: name, type: type, storage: storage))
    annotate(value, annotated)
    return value
  }

  private mutating func contents() throws(ParseFailure) -> Contents {
    if scanner.peek == UInt8(ascii: "@") {
      let key = try scanner.name("@", "a tensor of the weights file")
      guard scanner.takeKeyword("xxh3") else { return .named(key, hash: nil) }
      let digits = try scanner.quoted()
      guard digits.utf8.count == 16, let hash = UInt64(digits, radix: 16) else {
        throw scanner.failure("a hash has 16 hexadecimal digits")
      }
      return .named(key, hash: hash)
    }
    if scanner.takeKeyword("base64") {
      try scanner.expect("\"")
      let start = scanner.offset
      guard let end = scanner.bytes[start...].firstIndex(of: UInt8(ascii: "\"")),
        let bytes = Base64.decode(scanner.bytes[start..<end])
      else { throw scanner.failure("malformed base64 text", at: start) }
      scanner.offset = end + 1
      return .base64(bytes)
    }
    guard scanner.takeKeyword("dense") else {
      throw scanner.expected("'dense [...]', 'base64 \"...\"' or '@name'")
    }
    try scanner.expect("[")
    var elements: [String] = []
    if scanner.take("]") { return .dense(elements) }
    repeat {
      guard elements.count < Parser.maximumListLength else { throw scanner.failure("the list is too long") }
      elements.append(try scanner.element())
    } while scanner.take(",")
    try scanner.expect("]")
    return .dense(elements)
  }

  private func dense(
    _ elements: [String], _ type: TensorType, at place: Int
  ) throws(ParseFailure) -> TensorStorage {
    guard elements.count == type.shape.elementCount else {
      throw scanner.failure("\(elements.count) elements do not fill \(type)", at: place)
    }
    switch type.element {
    case .f32: return try stored(elements, type, at: place) { Float($0) }
    case .i64: return try stored(elements, type, at: place) { Int64($0) }
    case .i32: return try stored(elements, type, at: place) { Int32($0) }
    case .u8, .bool: return try stored(elements, type, at: place) { UInt8($0) }
    case .i8: return try stored(elements, type, at: place) { Int8($0) }
    case .quantized(let q) where q.isSigned: return try stored(elements, type, at: place) { Int8($0) }
    case .quantized: return try stored(elements, type, at: place) { UInt8($0) }
    }
  }
  private func stored<T: BitwiseCopyable>(
    _ elements: [String], _ type: TensorType, at place: Int, _ read: (String) -> T?
  ) throws(ParseFailure) -> TensorStorage {
    var values: [T] = []
    for element in elements {
      guard let value = read(element) else {
        throw scanner.failure("'\(element)' is no \(type.element)", at: place)
      }
      values.append(value)
    }
    return TensorStorage(copying: values)
  }

  private mutating func named(
    _ key: String, _ hash: UInt64?, _ type: TensorType, at place: Int
  ) throws(ParseFailure) -> TensorStorage {
    let found: TensorStorage?, source: String
    switch weights {
    case .unavailable(let reason):
      lacksWeights = true
      throw ParseFailure(
        message: "the contents of '@\(key)' are missing: \(reason)", offset: place, isAboutWeights: true)
    case .seeded:
      source = "the seeded contents"
      found = seededContents(key, type)
    case .file(let path):
      source = path
      do throws(CompilerError) {
        if weightFile == nil { weightFile = try SafetensorsFile(path: path) }
        found = try weightFile?.storage(key, type) ?? nil
      } catch {
        if weightFile == nil {
          lacksWeights = true
          if diagnostics.isEmpty { status = error.status }
          throw ParseFailure(
            message: "the weights beside the text cannot be read: \(error.diagnostics[0])", offset: place,
            isAboutWeights: true)
        }
        throw scanner.failure("the contents of '@\(key)' cannot be read: \(error.diagnostics[0])", at: place)
      }
    }
    guard let found else { throw scanner.failure("'@\(key)' is not in \(source)", at: place) }
    guard hash == nil || found.hash == hash else {
      throw scanner.failure(
        "the contents of '@\(key)' in \(source) are not those that the text was written with", at: place)
    }
    return found
  }
}
