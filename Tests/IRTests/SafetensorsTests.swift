import IR
import Support
import Testing

@Suite struct SafetensorsTests {
  private func file(
    _ header: String, data: Int, length: UInt64? = nil, _ name: String = #function
  ) throws -> String {
    let path = temporaryPath("\(name.prefix { $0 != "(" }).safetensors")
    var bytes: [UInt8] = []
    withUnsafeBytes(of: (length ?? UInt64(header.utf8.count)).littleEndian) { bytes += $0 }
    bytes += Array(header.utf8) + Array(repeating: 7, count: data)
    try bytes.withUnsafeBytes { try writeFile(path, $0) }
    return path
  }

  @Test(arguments: [
    (#"{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,9]}}"#, "outside the 4 bytes of data"),
    (#"{"w":{"dtype":"U8","shape":[2],"data_offsets":[3,2]}}"#, "outside the 4 bytes of data"),
    (#"{"w":{"dtype":"U8","shape":[2],"data_offsets":[0]}}"#, "lacks dtype, shape or two data_offsets"),
    (#"{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,-2]}}"#, "expected a whole number that fits"),
    (
      #"{"w":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,2]}}"#,
      "expected a whole number that fits"
    ),
    (
      #"{"w":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,2]}}"#,
      "expected a whole number that fits"
    ),
    (#"{"w":{"dtype":"U8","sparse":true}}"#, "unknown key 'sparse'"),
    (#"{"w":[[[[[[[[[[[[["#, "expected '{'"),
    (
      #"{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
      "occurs twice"
    ),
    (#"{"w"#, "a text does not end"),
    (#"{"\ud800x":{}}"#, "unknown escape"),
    (#"{} x"#, "text behind its object"),
    ("", "expected '{'"),
  ])
  func aMalformedHeaderIsReported(header: String, message: String) throws {
    let path = try file(header, data: 4, "malformed\(header.utf8.count)-\(message.utf8.count)")
    let error = #expect(throws: CompilerError.self) { try SafetensorsFile(path: path) }
    #expect(error?.status == .malformedInput)
    #expect(error?.description.contains(message) == true, "\(error?.description ?? "no error")")
  }

  @Test(arguments: [UInt64.max, 1 << 62, 100_000_001, 11])
  func aHeaderLengthBeyondTheFileIsReported(length: UInt64) throws {
    let path = try file("{}", data: 4, length: length, "length\(length)")
    #expect(throws: CompilerError.self) { try SafetensorsFile(path: path) }
  }

  @Test func aTensorOfAnotherTypeIsRefused() throws {
    let path = try file(
      #"{"w": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}, "__metadata__": {"a": "b"}}"#, data: 8)
    let file = try SafetensorsFile(path: path)
    #expect(throws: CompilerError.self) { try file.storage("w", TensorType([1], .f32)) }
    #expect(throws: CompilerError.self) { try file.storage("w", TensorType([2], .i32)) }
    #expect(try file.storage("v", TensorType([2], .i32)) == nil)
  }

  @Test func oddNamesAndEveryElementTypeReadBack() throws {
    let path = temporaryPath("odd.safetensors")
    let constants = [
      Constant("a \"b\"\\\n\u{1}é", [3], [UInt8](1...3)), Constant("f", [1, 2], [Float(1.5), -2]),
      Constant("i", [1], [Int64.min]),
      Constant("j", [2], [Int32.max, -1]), Constant("s4", [2], [Int8(-7), 7], bits: 4),
      Constant("empty", [0], [Float]()),
    ]
    try SafetensorsFile.write(constants, to: path)
    let file = try SafetensorsFile(path: path)
    for constant in constants {
      let storage = try #require(try file.storage(constant.name, constant.type))
      #expect(storage.bytes.elementsEqual(constant.storage.bytes))
    }
  }

  @Test func aMissingFileIsReportedOnce() throws {
    let path = temporaryPath("lonely.qir")
    var graph = Graph()
    for name in ["a", "b", "c"] {
      graph.addOutput(graph.addConstant(Constant(name, [20], [Float](repeating: 1, count: 20))))
    }
    try writeFile(path, graph.text())
    let error = #expect(throws: CompilerError.self) { try Graph.load(path) }
    #expect(error?.diagnostics.count == 1)
    #expect(error?.status == .missingInput)
  }

  @Test func weightsThatChangedBehindTheTextAreRefused() throws {
    let path = temporaryPath("changed.qir")
    var graph = Graph()
    graph.addOutput(graph.addConstant(Constant("w", [20], [Float](repeating: 1, count: 20))))
    try graph.save(path)
    try SafetensorsFile.write(
      [Constant("w", [20], [Float](repeating: 2, count: 20))], to: Graph.weightsPath(path))
    let error = #expect(throws: CompilerError.self) { try Graph.load(path) }
    #expect(error?.description.contains("are not those that the text was written with") == true)
  }

  @Test func damagedFilesNeverTrap() throws {
    let path = temporaryPath("damaged.safetensors")
    let constants = ["a", "b"].map { Constant($0, [3], [Float](repeating: 1, count: 3)) }
    try SafetensorsFile.write(constants, to: path)
    let whole = try MappedFile(path: path).contents
    var readable = 0
    for seed in UInt64(0)..<400 {
      var random = SeededGenerator(seed), bytes = whole
      for _ in 0..<random.int(1...3) {
        let at = random.int(0...(bytes.count - 1))
        switch random.int(0...2) {
        case 0: bytes[at] = UInt8(random.int(0...255))
        case 1: bytes.removeSubrange(at..<min(at + random.int(1...9), bytes.count))
        default:
          bytes.insert(
            contentsOf: Array(random.pick(["9", "-", "[", "}", "\"", "\\u00", "99999999999"]).utf8), at: at)
        }
        if bytes.isEmpty { bytes = [0] }
      }
      try writeFile(path, bytes)
      guard let file = try? SafetensorsFile(path: path) else { continue }
      readable += 1
      for constant in constants {
        let storage = try? file.storage(constant.name, constant.type)
        #expect(storage == nil || storage?.bytes.count == 12)
      }
    }
    #expect(readable > 0)
  }
}
