import IR

extension OnnxTensor {
  /// The tensor as a constant of a graph: floats as f32, packed integers one byte each. The bytes are shared where
  /// ONNX stores them as the graph does. Nil for types without a counterpart and for unsigned values beyond i64.
  func constant(named name: String) -> Constant? {
    guard let element = type.element, let storage = decoded() else { return nil }
    return Constant(name: name, type: TensorType(Shape(dimensions), element), storage: storage)
  }

  private func decoded() -> TensorStorage? {
    switch type {
    case .float, .int64, .int32, .uint8, .int8: return storage
    case .bool:
      // Any byte but 0 is true; graphs hold 1.
      return storage.bytes.allSatisfy { $0 <= 1 }
        ? storage : TensorStorage(copying: storage.bytes.map { UInt8($0 == 0 ? 0 : 1) })
    case .float16: return mapped(UInt16.self) { Float(Float16(bitPattern: $0)) }
    case .bfloat16: return mapped(UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
    case .double: return mapped(Double.self) { Float($0) }
    case .uint16: return mapped(UInt16.self) { Int32($0) }
    case .int16: return mapped(Int16.self) { Int32($0) }
    case .uint32: return mapped(UInt32.self) { Int64($0) }
    case .uint64:
      for index in 0..<elementCount
      where storage.bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self) > UInt64(Int64.max) {
        return nil
      }
      return mapped(UInt64.self) { Int64(bitPattern: $0) }
    case .uint4: return unpacked(bits: 4, isSigned: false)
    case .int4: return unpacked(bits: 4, isSigned: true)
    case .uint2: return unpacked(bits: 2, isSigned: false)
    case .int2: return unpacked(bits: 2, isSigned: true)
    case .undefined, .string, .complex64, .complex128, .float8E4M3FN, .float8E4M3FNUZ, .float8E5M2,
      .float8E5M2FNUZ,
      .float4E2M1, .float8E8M0, .float6E2M3, .float6E3M2:
      return nil
    }
  }

  private func mapped<From: BitwiseCopyable, To: BitwiseCopyable>(
    _: From.Type, _ convert: (From) -> To
  ) -> TensorStorage {
    let stride = MemoryLayout<From>.stride
    return TensorStorage(
      copying: (0..<elementCount).map {
        convert(storage.bytes.loadUnaligned(fromByteOffset: $0 * stride, as: From.self))
      })
  }

  /// Sub-byte integers, the first element in the lowest bits, as one byte each (two's complement when signed).
  private func unpacked(bits: Int, isSigned: Bool) -> TensorStorage {
    let perByte = 8 / bits, unused = 8 - bits
    return TensorStorage(
      copying: (0..<elementCount).map { index -> UInt8 in
        let shifted = (storage.bytes[index / perByte] >> UInt8(bits * (index % perByte))) << UInt8(unused)
        return isSigned
          ? UInt8(bitPattern: Int8(bitPattern: shifted) >> Int8(unused)) : shifted >> UInt8(unused)
      })
  }
}
