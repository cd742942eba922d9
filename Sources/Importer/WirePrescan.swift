import COnnxProto
import CProtobufC
import Support

/// Checks the protobuf wire format of a hostile file before libprotobuf-c sees it.
///
/// libprotobuf-c reads safely within bounds but recurses without limit (about 2.5 kB of stack a level) and turns two
/// bytes into a 150-byte structure. The walk is driven by the generated descriptors, so that it knows every nested and
/// every recursive field, and keeps its own stack. It copies nothing.
struct WirePrescan {
  struct Limits {
    /// Nested messages, the model itself included; a subgraph takes three levels. 64 levels need 160 kB of stack.
    var depth = 64
    /// Messages in the whole file; the largest real models have some hundred thousand.
    var messages = 4_000_000
    /// Length of a string field; real names have some hundred bytes.
    var stringBytes = 1 << 24
  }
  var limits = Limits()
  let bytes: UnsafeRawBufferPointer
  /// The name of the file in messages.
  let location: String

  private struct Frame {
    let descriptor: UnsafePointer<ProtobufCMessageDescriptor>
    let end: Int
    /// A bit for every singular message field seen, by its index in the descriptor.
    var seen: UInt64 = 0
  }

  /// - Throws: `malformedInput` with the byte offset of the first fault.
  func check(_ root: UnsafePointer<ProtobufCMessageDescriptor>) throws(CompilerError) {
    var stack = [Frame(descriptor: root, end: bytes.count)]
    var position = 0, messages = 1
    while let frame = stack.last {
      if position == frame.end {
        stack.removeLast()
        continue
      }
      let start = position
      let tag = try varint(&position, end: frame.end)
      guard tag >> 3 >= 1, tag >> 3 < 1 << 29 else {
        throw fault("field number \(tag >> 3) is out of range", start)
      }
      let field = Self.field(UInt32(tag >> 3), of: frame.descriptor)
      let wireType = Int(tag & 7)
      if let field, !Self.accepts(wireType, field.pointee) {
        throw fault("field '\(Self.name(frame.descriptor, field))' has wire type \(wireType)", start)
      }
      switch wireType {
      case 0: _ = try varint(&position, end: frame.end)
      case 1: try skip(8, &position, end: frame.end)
      case 5: try skip(4, &position, end: frame.end)
      case 2:
        let length = try varint(&position, end: frame.end)
        guard length <= UInt64(frame.end - position) else {
          let left = frame.end - position
          throw fault(
            "a field of \(length) bytes overruns its message, which has \(left) left (truncated file?)", start
          )
        }
        let end = position + Int(length)
        guard let field else {
          position = end
          continue
        }
        guard field.pointee.type == PROTOBUF_C_TYPE_MESSAGE else {
          try checkContents(field, of: frame.descriptor, position..<end)
          position = end
          continue
        }
        if field.pointee.label != PROTOBUF_C_LABEL_REPEATED {
          // libprotobuf-c merges repeated occurrences in quadratic time, and no exporter writes them.
          let bit = UInt64(1) << UInt64(field - frame.descriptor.pointee.fields)
          guard frame.seen & bit == 0 else {
            throw fault("field '\(Self.name(frame.descriptor, field))' occurs twice", start)
          }
          stack[stack.count - 1].seen |= bit
        }
        messages += 1
        guard messages <= limits.messages else { throw fault("more than \(limits.messages) messages", start) }
        guard stack.count < limits.depth else {
          throw fault("messages nest deeper than \(limits.depth) levels", start)
        }
        let nested = field.pointee.descriptor.assumingMemoryBound(to: ProtobufCMessageDescriptor.self)
        stack.append(Frame(descriptor: nested, end: end))
      default: throw fault("wire type \(wireType) is not used by ONNX", start)
      }
    }
  }

  /// Strings: UTF-8 without NUL, since C cuts them there (documentation is exempt). Packed numbers: whole elements.
  private func checkContents(
    _ field: UnsafePointer<ProtobufCFieldDescriptor>, of message: UnsafePointer<ProtobufCMessageDescriptor>,
    _ range: Range<Int>
  ) throws(CompilerError) {
    let contents = UnsafeRawBufferPointer(rebasing: bytes[range])
    switch field.pointee.type {
    case PROTOBUF_C_TYPE_STRING:
      guard range.count <= limits.stringBytes else {
        throw fault("text '\(Self.name(message, field))' has \(range.count) bytes", range.lowerBound)
      }
      guard String(cString: field.pointee.name) != "doc_string" else { return }
      guard !contents.contains(0), String(validating: contents, as: UTF8.self) != nil else {
        throw fault("text '\(Self.name(message, field))' is not UTF-8", range.lowerBound)
      }
    case PROTOBUF_C_TYPE_BYTES: break
    default:
      guard let width = Self.fixedWidth(field.pointee.type) else {
        var position = range.lowerBound
        while position < range.upperBound { _ = try varint(&position, end: range.upperBound) }
        return
      }
      guard range.count % width == 0 else {
        throw fault(
          "list '\(Self.name(message, field))' has \(range.count) bytes, no multiple of \(width)",
          range.lowerBound)
      }
    }
  }

  private func varint(_ position: inout Int, end: Int) throws(CompilerError) -> UInt64 {
    let start = position
    var value: UInt64 = 0
    for index in 0..<10 {
      guard position < end else { throw fault("a number is cut off (truncated file?)", start) }
      let byte = bytes[position]
      position += 1
      // Ten groups of seven bits hold 70; the last may only carry bit 63.
      guard index < 9 || byte <= 1 else { break }
      value |= UInt64(byte & 0x7F) << UInt64(7 * index)
      if byte < 0x80 { return value }
    }
    throw fault("a number has more than 64 bits", start)
  }

  private func skip(_ count: Int, _ position: inout Int, end: Int) throws(CompilerError) {
    guard end - position >= count else { throw fault("a number is cut off (truncated file?)", position) }
    position += count
  }

  private func fault(_ message: String, _ offset: Int) -> CompilerError {
    .malformed("not a readable ONNX model: at byte \(offset): \(message)", at: location)
  }

  // MARK: - Descriptors

  /// Messages have at most 20 fields, so that a scan is as good as a search.
  private static func field(
    _ number: UInt32, of message: UnsafePointer<ProtobufCMessageDescriptor>
  ) -> UnsafePointer<ProtobufCFieldDescriptor>? {
    guard let fields = message.pointee.fields else { return nil }
    for index in 0..<Int(message.pointee.n_fields) where fields[index].id == number { return fields + index }
    return nil
  }

  private static func accepts(_ wireType: Int, _ field: ProtobufCFieldDescriptor) -> Bool {
    switch field.type {
    case PROTOBUF_C_TYPE_STRING, PROTOBUF_C_TYPE_BYTES, PROTOBUF_C_TYPE_MESSAGE: wireType == 2
    default:
      switch wireType {
      case 0: fixedWidth(field.type) == nil
      case 1: fixedWidth(field.type) == 8
      case 2: field.label == PROTOBUF_C_LABEL_REPEATED  // packed
      case 5: fixedWidth(field.type) == 4
      default: false
      }
    }
  }

  /// The bytes of a number of fixed width; nil for varints.
  private static func fixedWidth(_ type: ProtobufCType) -> Int? {
    switch type {
    case PROTOBUF_C_TYPE_FLOAT, PROTOBUF_C_TYPE_FIXED32, PROTOBUF_C_TYPE_SFIXED32: 4
    case PROTOBUF_C_TYPE_DOUBLE, PROTOBUF_C_TYPE_FIXED64, PROTOBUF_C_TYPE_SFIXED64: 8
    default: nil
    }
  }

  private static func name(
    _ message: UnsafePointer<ProtobufCMessageDescriptor>, _ field: UnsafePointer<ProtobufCFieldDescriptor>
  ) -> String {
    "\(String(cString: message.pointee.short_name)).\(String(cString: field.pointee.name))"
  }
}
