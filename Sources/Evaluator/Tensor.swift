import IR
import Support

/// A tensor of known shape and contents: a value over shared memory.
///
/// Its elements lie row-major or, for rank 4 in the course of an evaluation, channels last (N, H, W, C). All accessors
/// but `withUnorderedFloats` give them row-major, whatever the memory order.
package struct Tensor: Sendable {
  package enum Order: Sendable { case rowMajor, channelsLast }

  package internal(set) var shape: [Int]
  package internal(set) var element: ElementType
  package internal(set) var order: Order
  var buffer: TensorBuffer
  var byteOffset: Int

  package var count: Int { shape.reduce(1, *) }
  package var byteCount: Int { count * element.sizeInBytes }

  // MARK: Making

  /// Uninitialized.
  package init(_ shape: [Int], _ element: ElementType, order: Order = .rowMajor, pool: BufferPool? = nil) {
    self.shape = shape
    self.element = element
    self.order = shape.count == 4 ? order : .rowMajor
    byteOffset = 0
    buffer = TensorBuffer(byteCount: shape.reduce(1, *) * element.sizeInBytes, pool: pool)
  }
  private init(_ shape: [Int], _ element: ElementType, _ buffer: TensorBuffer) {
    self.shape = shape
    self.element = element
    self.buffer = buffer
    order = .rowMajor
    byteOffset = 0
  }
  /// A row-major tensor whose bytes `fill` writes, all of them.
  package init(
    _ shape: [Int], _ element: ElementType, fill: (UnsafeMutableRawBufferPointer) throws -> Void
  ) rethrows {
    self.init(shape, element)
    try fill(UnsafeMutableRawBufferPointer(start: buffer.base, count: buffer.byteCount))
  }
  private init<T: BitwiseCopyable>(_ shape: [Int], _ element: ElementType, copying values: [T]) {
    precondition(shape.reduce(1, *) == values.count, "\(values.count) values do not fill shape \(shape)")
    self.init(shape, element)
    values.withUnsafeBytes {
      buffer.base.copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(buffer.base), byteCount: $0.count)
    }
  }
  package init(_ shape: [Int], _ values: [Float]) { self.init(shape, .f32, copying: values) }
  package init(_ shape: [Int], _ values: [Int64]) { self.init(shape, .i64, copying: values) }
  package init(_ shape: [Int], _ values: [Int32]) { self.init(shape, .i32, copying: values) }
  package init(_ shape: [Int], _ values: [UInt8]) { self.init(shape, .u8, copying: values) }
  package init(_ shape: [Int], _ values: [Int8]) { self.init(shape, .i8, copying: values) }
  package init(_ shape: [Int], _ values: [Bool]) { self.init(shape, .bool, copying: values) }
  /// Bytes of a quantized type.
  package init(_ shape: [Int], _ values: [UInt8], _ type: QuantizedType) {
    self.init(shape, .quantized(type), copying: values)
  }
  /// The contents of a constant, in place where they are aligned.
  package init(_ constant: Constant) {
    let shape = constant.type.shape.sizes ?? [constant.elementCount]
    let bytes = constant.storage.bytes, size = constant.type.element.sizeInBytes
    if Int(bitPattern: bytes.baseAddress) % size == 0 {
      self.init(shape, constant.type.element, TensorBuffer(constant.storage))
    } else {
      self.init(shape, constant.type.element)
      if let base = bytes.baseAddress {
        buffer.base.copyMemory(from: base, byteCount: min(bytes.count, buffer.byteCount))
      }
    }
  }

  // MARK: Reading

  /// The memory as elements of `T`; valid while the tensor lives.
  package func pointer<T>(_: T.Type = T.self) -> UnsafeMutablePointer<T> {
    (buffer.base + byteOffset).assumingMemoryBound(to: T.self)
  }
  package var rawPointer: UnsafeMutableRawPointer { buffer.base + byteOffset }

  /// A copy of the elements, row-major.
  package func elements<T: BitwiseCopyable>(as _: T.Type = T.self) -> [T] {
    let ordered = rowMajor()
    return withExtendedLifetime(ordered) {
      [T](unsafeUninitializedCapacity: ordered.byteCount / MemoryLayout<T>.stride) { target, initialized in
        initialized = target.count
        UnsafeMutableRawBufferPointer(target).copyMemory(
          from: UnsafeRawBufferPointer(start: ordered.rawPointer, count: ordered.byteCount))
      }
    }
  }
  /// The elements as floats, row-major, whatever integer type they have (quantized ones as stored).
  package var floats: [Float] { element == .f32 ? elements() : integers.map { Float($0) } }
  /// The elements of an integer or boolean tensor, widened; floats are truncated.
  package var integers: [Int] {
    switch element {
    case .i64: elements(as: Int64.self).map { Int($0) }
    case .i32: elements(as: Int32.self).map { Int($0) }
    case .u8, .bool: elements(as: UInt8.self).map { Int($0) }
    case .i8: elements(as: Int8.self).map { Int($0) }
    case .quantized(let type):
      type.isSigned ? elements(as: Int8.self).map { Int($0) } : elements(as: UInt8.self).map { Int($0) }
    case .f32: elements(as: Float.self).map { Int(exactly: $0.rounded(.towardZero)) ?? 0 }
    }
  }
  /// The bytes, row-major.
  package var bytes: [UInt8] { elements() }

  /// The bytes in place (or a row-major copy of them).
  package func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    let ordered = rowMajor()
    return try withExtendedLifetime(ordered) {
      try body(UnsafeRawBufferPointer(start: ordered.rawPointer, count: ordered.byteCount))
    }
  }
  /// The floats in place (or a row-major copy of them).
  /// - Requires: element == .f32.
  package func withFloats<R>(_ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
    try rowMajor().withUnorderedFloats(body)
  }
  /// The floats in place, in memory order: for statistics that do not care about positions.
  /// - Requires: element == .f32.
  package func withUnorderedFloats<R>(_ body: (UnsafeBufferPointer<Float>) throws -> R) rethrows -> R {
    precondition(element == .f32, "the tensor holds \(element), not f32")
    return try withExtendedLifetime(self) {
      try body(UnsafeBufferPointer(start: UnsafePointer(pointer(Float.self)), count: count))
    }
  }
  /// Calls `body` with every channel (axis 1) and pieces of its floats that follow one another `stride` elements
  /// apart, for statistics per channel without reordering memory.
  /// - Requires: element == .f32 and rank >= 2.
  package func forEachChannelPiece(
    _ body: (_ channel: Int, _ base: UnsafePointer<Float>, _ count: Int, _ stride: Int) -> Void
  ) {
    precondition(element == .f32 && shape.count >= 2)
    let channels = shape[1], area = shape.dropFirst(2).reduce(1, *)
    withExtendedLifetime(self) {
      let base = UnsafePointer(pointer(Float.self))
      for sample in 0..<shape[0] {
        for channel in 0..<channels {
          switch order {
          case .rowMajor: body(channel, base + (sample * channels + channel) * area, area, 1)
          case .channelsLast: body(channel, base + sample * channels * area + channel, area, channels)
          }
        }
      }
    }
  }

  // MARK: Writing

  /// Makes sure that nothing else refers to the memory, so that it may be written: copies it where something does.
  package mutating func makeUnique(pool: BufferPool) {
    if isKnownUniquelyReferenced(&buffer), buffer.isWritable { return }
    let copy = Tensor(shape, element, order: order, pool: pool)
    // Another thread may give the memory up while it is copied.
    withExtendedLifetime(buffer) { copy.rawPointer.copyMemory(from: rawPointer, byteCount: byteCount) }
    self = copy
  }

  /// This memory if nothing else refers to it, else new memory, in the same order: for operations that read every element
  /// before they write it.
  package mutating func overwritable(pool: BufferPool) -> Tensor {
    isKnownUniquelyReferenced(&buffer) && buffer.isWritable
      ? self : Tensor(shape, element, order: order, pool: pool)
  }

  // MARK: Samples

  /// The samples `range` along axis 0, without copying.
  /// - Requires: rank >= 1 and the range lies within the tensor.
  package func samples(_ range: Range<Int>) -> Tensor {
    precondition(!shape.isEmpty && range.lowerBound >= 0 && range.upperBound <= shape[0])
    var result = self
    result.shape[0] = range.count
    if shape[0] > 0 { result.byteOffset += range.lowerBound * (byteCount / shape[0]) }
    return result
  }
  /// The same elements under another shape of the same size; row-major.
  package func reshaped(_ shape: [Int]) -> Tensor {
    precondition(shape.reduce(1, *) == count, "\(self.shape) cannot take the shape \(shape)")
    var result = rowMajor()
    result.shape = shape
    return result
  }
}
