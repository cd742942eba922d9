import IR

/// TensorProto.DataType, up to ONNX 1.23.
enum OnnxDataType: Int32, Hashable, Sendable {
  case undefined, float, uint8, int8, uint16, int16, int32, int64, string, bool, float16, double, uint32,
    uint64
  case complex64, complex128, bfloat16
  case float8E4M3FN, float8E4M3FNUZ, float8E5M2, float8E5M2FNUZ
  case uint4, int4, float4E2M1, float8E8M0, uint2, int2, float6E2M3, float6E3M2

  /// Bits of one element in `raw_data`; sub-byte elements are packed from the lowest bit up. Nil: no fixed width.
  var bits: Int? {
    switch self {
    case .undefined, .string: nil
    case .uint2, .int2: 2
    case .uint4, .int4, .float4E2M1: 4
    case .float6E2M3, .float6E3M2: 6
    case .uint8, .int8, .bool, .float8E4M3FN, .float8E4M3FNUZ, .float8E5M2, .float8E5M2FNUZ, .float8E8M0: 8
    case .uint16, .int16, .float16, .bfloat16: 16
    case .float, .int32, .uint32: 32
    case .double, .int64, .uint64, .complex64: 64
    case .complex128: 128
    }
  }

  /// The bytes of `count` elements, or nil without a fixed width or when they overflow.
  func byteCount(_ count: Int) -> Int? {
    guard let bits else { return nil }
    let (product, overflow) = count.multipliedReportingOverflow(by: bits)
    return overflow || product > Int.max - 7 ? nil : (product + 7) / 8
  }

  /// The element type that stands for it in a graph; nil where qcc computes with no such numbers.
  /// Wide floats are narrowed and narrow integers widened.
  var element: ElementType? {
    switch self {
    case .float, .float16, .bfloat16, .double: .f32
    case .int64, .uint32, .uint64: .i64
    case .int32, .int16, .uint16: .i32
    case .uint8, .uint4, .uint2: .u8
    case .int8, .int4, .int2: .i8
    case .bool: .bool
    case .undefined, .string, .complex64, .complex128, .float8E4M3FN, .float8E4M3FNUZ, .float8E5M2,
      .float8E5M2FNUZ,
      .float4E2M1, .float8E8M0, .float6E2M3, .float6E3M2:
      nil
    }
  }

  /// As in ONNX's documentation: `FLOAT16`.
  var name: String { "\(self)".uppercased() }
}
