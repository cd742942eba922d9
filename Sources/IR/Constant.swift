import Support

/// Bytes owned elsewhere: a mapped file or a heap block. Immutable once made, hence Sendable.
package final class TensorStorage: @unchecked Sendable {
  package let bytes: UnsafeRawBufferPointer
  private let release: () -> Void

  /// Bytes that stay valid until `release` runs; `release` may also just keep their owner alive.
  package init(bytes: UnsafeRawBufferPointer, release: @escaping () -> Void) {
    self.bytes = bytes
    self.release = release
  }

  /// A 64-byte-aligned copy of `values`.
  package convenience init<T: BitwiseCopyable>(copying values: [T]) {
    let count = values.count * MemoryLayout<T>.stride
    let block = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1), alignment: 64)
    values.withUnsafeBytes { block.copyMemory(from: $0) }
    self.init(
      bytes: UnsafeRawBufferPointer(rebasing: block[..<count]), release: { block.deallocate() })
  }

  /// A slice of a mapped file.
  package convenience init(file: MappedFile, range: Range<Int>) {
    self.init(bytes: UnsafeRawBufferPointer(rebasing: file.bytes[range]), release: { _ = file })
  }

  deinit { release() }
}

/// A named tensor whose contents are known: row-major, little-endian, one byte for sub-byte elements.
/// Editing a weight means making a new constant.
package struct Constant: Sendable {
  package var name: String
  package var type: TensorType
  package var storage: TensorStorage

  /// - Requires: `storage` holds exactly the bytes of the static `type`.
  package init(name: String, type: TensorType, storage: TensorStorage) {
    self.name = name
    self.type = type
    self.storage = storage
  }
  package init(_ name: String, _ shape: [Int], _ values: [Float]) {
    self.init(name: name, type: TensorType(shape, .f32), storage: TensorStorage(copying: values))
  }
  package init(_ name: String, _ shape: [Int], _ values: [Int64]) {
    self.init(name: name, type: TensorType(shape, .i64), storage: TensorStorage(copying: values))
  }
  package init(_ name: String, _ shape: [Int], _ values: [Int32]) {
    self.init(name: name, type: TensorType(shape, .i32), storage: TensorStorage(copying: values))
  }
  package init(_ name: String, _ shape: [Int], _ values: [UInt8]) {
    self.init(name: name, type: TensorType(shape, .u8), storage: TensorStorage(copying: values))
  }
  /// Quantized weights, one byte each.
  package init(_ name: String, _ shape: [Int], _ values: [Int8], bits: Int) {
    self.init(
      name: name, type: TensorType(shape, .quantized(.weight(bits: bits))),
      storage: TensorStorage(copying: values))
  }

  package var elementCount: Int { storage.bytes.count / type.element.sizeInBytes }

  /// A copy of the elements; the storage may be unaligned.
  package func elements<T: BitwiseCopyable>(as _: T.Type = T.self) -> [T] {
    let count = storage.bytes.count / MemoryLayout<T>.stride
    return [T](unsafeUninitializedCapacity: count) { buffer, initialized in
      let target = UnsafeMutableRawBufferPointer(buffer)
      target.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage.bytes[..<target.count]))
      initialized = count
    }
  }
  /// The elements of an f32 constant.
  package var floats: [Float] { elements() }
  /// The elements of an integer or boolean constant, widened; nil for other types.
  package var integers: [Int]? {
    switch type.element {
    case .i64: elements(as: Int64.self).map { Int($0) }
    case .i32: elements(as: Int32.self).map { Int($0) }
    case .u8, .bool: elements(as: UInt8.self).map { Int($0) }
    case .i8: elements(as: Int8.self).map { Int($0) }
    case .quantized(let q):
      q.isSigned ? elements(as: Int8.self).map { Int($0) } : elements(as: UInt8.self).map { Int($0) }
    case .f32: nil
    }
  }
}
