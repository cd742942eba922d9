/// Writes protobuf messages field by field, also wrong ones.
struct Proto {
  var bytes: [UInt8] = []

  init(_ build: (inout Proto) -> Void = { _ in }) { build(&self) }

  mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
  mutating func tag(_ field: Int, _ wireType: Int) { varint(UInt64(field << 3 | wireType)) }
  mutating func int(_ field: Int, _ value: Int) {
    tag(field, 0)
    varint(UInt64(bitPattern: Int64(value)))
  }
  mutating func float(_ field: Int, _ value: Float) {
    tag(field, 5)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
  }
  mutating func data(_ field: Int, _ contents: [UInt8]) {
    tag(field, 2)
    varint(UInt64(contents.count))
    bytes += contents
  }
  mutating func text(_ field: Int, _ value: String) { data(field, Array(value.utf8)) }
  mutating func message(_ field: Int, _ contents: Proto) { data(field, contents.bytes) }
  mutating func message(_ field: Int, _ build: (inout Proto) -> Void) { message(field, Proto(build)) }

  // MARK: - ONNX

  static func model(opset: Int = 13, irVersion: Int = 7, _ graph: Proto) -> [UInt8] {
    Proto {
      $0.int(1, irVersion)
      $0.message(8) { $0.int(2, opset) }
      $0.message(7, graph)
    }.bytes
  }
  mutating func node(
    _ operatorName: String, _ inputs: [String], _ outputs: [String], domain: String = "",
    _ attributes: (inout Proto) -> Void = { _ in }
  ) {
    message(1) { node in
      for input in inputs { node.text(1, input) }
      for output in outputs { node.text(2, output) }
      node.text(3, outputs.first.map { "make-\($0)" } ?? "")
      node.text(4, operatorName)
      attributes(&node)
      if !domain.isEmpty { node.text(7, domain) }
    }
  }
  mutating func attribute(_ name: String, int value: Int) {
    message(5) {
      $0.text(1, name)
      $0.int(20, 2)
      $0.int(3, value)
    }
  }
  mutating func attribute(_ name: String, ints values: [Int]) {
    message(5) {
      $0.text(1, name)
      $0.int(20, 7)
      for value in values { $0.int(8, value) }
    }
  }
  mutating func attribute(_ name: String, text value: String) {
    message(5) {
      $0.text(1, name)
      $0.int(20, 3)
      $0.text(4, value)
    }
  }
  /// A graph input (field 11) or output (12); nil is a symbolic size.
  mutating func value(_ field: Int, _ name: String, type: Int = 1, _ sizes: [Int?]) {
    message(field) {
      $0.text(1, name)
      $0.message(2) {
        $0.message(1) {
          $0.int(1, type)
          $0.message(2) { shape in
            for size in sizes {
              shape.message(1) { dimension in
                if let size { dimension.int(1, size) } else { dimension.text(2, "batch") }
              }
            }
          }
        }
      }
    }
  }
  static func tensor(
    _ name: String, type: Int = 1, _ sizes: [Int], _ contents: (inout Proto) -> Void
  ) -> Proto {
    Proto {
      for size in sizes { $0.int(1, size) }
      $0.int(2, type)
      contents(&$0)
      $0.text(8, name)
    }
  }
}
