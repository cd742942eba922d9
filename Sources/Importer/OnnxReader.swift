import COnnxProto
import CProtobufC
import Support

/// Reads `.onnx` bytes: pre-scan, libprotobuf-c under a memory limit, conversion.
enum OnnxReader {
  /// What unpacking may need beyond the contents: real graphs stay below 8 bytes of memory per byte of file.
  static func memoryLimit(byteCount: Int) -> Int { (64 << 20) + 8 * min(byteCount, 1 << 40) }

  static func model(
    _ bytes: UnsafeRawBufferPointer, location: String, directory: String?
  ) throws(CompilerError) -> OnnxModel {
    guard !bytes.isEmpty else { throw .malformed("not an ONNX model: the file is empty", at: location) }
    try WirePrescan(bytes: bytes, location: location).check(onnx_model_descriptor())
    let unpacked = try UnpackedMessage(
      bytes, as: onnx_model_descriptor(), of: Onnx__ModelProto.self,
      memoryLimit: memoryLimit(byteCount: bytes.count),
      location: location)
    var conversion = OnnxConversion(external: ExternalData(directory: directory, location: location))
    return try withExtendedLifetime(unpacked) { () throws(CompilerError) in
      try conversion.model(unpacked.message)
    }
  }

  /// A serialized TensorProto, as conformance tests store their inputs and outputs.
  static func tensor(_ bytes: UnsafeRawBufferPointer, location: String) throws(CompilerError) -> OnnxTensor {
    try WirePrescan(bytes: bytes, location: location).check(onnx_tensor_descriptor())
    let unpacked = try UnpackedMessage(
      bytes, as: onnx_tensor_descriptor(), of: Onnx__TensorProto.self,
      memoryLimit: memoryLimit(byteCount: bytes.count), location: location)
    var conversion = OnnxConversion(external: ExternalData(directory: nil, location: location))
    return try withExtendedLifetime(unpacked) { () throws(CompilerError) in
      try conversion.tensor(unpacked.message)
    }
  }
}
