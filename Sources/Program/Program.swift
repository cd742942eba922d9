/// A packed integer program: what the compiler emits, a `.qpk` file holds and the interpreter runs.
package struct Program: Sendable {
  package var tensors: [Tensor]
  /// In the order of execution.
  package var instructions: [Instruction]
  /// Bytes that the tensors with arena storage need for one sample.
  package var arenaBytes: Int
  /// Weights, biases and tables.
  package var data: DataStorage
  /// A flat JSON object: producer, target, preprocessing, source hash, seed, options (`Metadata`).
  package var metadata: [UInt8]
  package var goldenVectors: [GoldenVector]
  /// What the compiler measured, as text; may be empty.
  package var report: [UInt8]
  /// Which kernels were found fastest, on which processors, as text; may be empty.
  package var tuning: [UInt8]
  /// Whether its file holds weights in as many bits as they have (`CompactData`); else in the lanes of the kernels.
  package var isCompact = false
  /// Of all that decides what the program computes, as its file names it; 0 for a program that was not read.
  package internal(set) var contentHash: UInt64 = 0

  package init(
    tensors: [Tensor] = [], instructions: [Instruction] = [], arenaBytes: Int = 0, data: DataStorage = .empty,
    metadata: [UInt8] = [], goldenVectors: [GoldenVector] = [], report: [UInt8] = [], tuning: [UInt8] = []
  ) {
    self.tensors = tensors
    self.instructions = instructions
    self.arenaBytes = arenaBytes
    self.data = data
    self.metadata = metadata
    self.goldenVectors = goldenVectors
    self.report = report
    self.tuning = tuning
  }

  /// Self-test: inputs as the integers that they are quantized to, and the outputs that they must give, bit
  /// by bit.
  package struct GoldenVector: Hashable, Sendable {
    /// For each input, its elements with the scale and zero point of the first tensor quantized from it.
    package var inputs: [[UInt8]]
    package var outputs: [[Float]]

    package init(inputs: [[UInt8]], outputs: [[Float]]) {
      self.inputs = inputs
      self.outputs = outputs
    }
  }

  /// The tensors that the caller provides and receives, in order of their numbers.
  /// - Requires: a validated program.
  package var inputs: [Int] {
    numbered { if case .input(let number) = $0 { number } else { nil } }
  }
  package var outputs: [Int] {
    numbered { if case .output(let number) = $0 { number } else { nil } }
  }

  private func numbered(_ number: (Tensor.Storage) -> Int?) -> [Int] {
    var count = 0
    for tensor in tensors where number(tensor.storage) != nil { count += 1 }
    var result = [Int](repeating: 0, count: count)
    for (index, tensor) in tensors.enumerated() {
      if let place = number(tensor.storage), result.indices.contains(place) { result[place] = index }
    }
    return result
  }
}

/// A range of bytes of `Program.data`; offsets are multiples of 4.
package struct DataSlice: Hashable, Sendable {
  package var offset: Int
  package var count: Int

  package init(offset: Int, count: Int) {
    self.offset = offset
    self.count = count
  }
}

/// Immutable bytes aligned to 64: owned, or borrowed from a mapped file.
package final class DataStorage: @unchecked Sendable {  // immutable after init
  package let bytes: UnsafeRawBufferPointer
  private let owned: UnsafeMutableRawPointer?
  /// Holds on to the owner of borrowed bytes.
  private let keepAlive: (@Sendable () -> Void)?

  package static let empty = DataStorage(copying: UnsafeRawBufferPointer(start: nil, count: 0))

  package init(copying source: UnsafeRawBufferPointer) {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(source.count, 64), alignment: 64)
    if let base = source.baseAddress { memory.copyMemory(from: base, byteCount: source.count) }
    owned = memory
    keepAlive = nil
    bytes = UnsafeRawBufferPointer(start: memory, count: source.count)
  }

  /// - Parameter fill: writes all of `count` bytes.
  init(count: Int, fill: (UnsafeMutableRawBufferPointer) -> Void) {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: max(count, 64), alignment: 64)
    fill(UnsafeMutableRawBufferPointer(start: memory, count: count))
    owned = memory
    keepAlive = nil
    bytes = UnsafeRawBufferPointer(start: memory, count: count)
  }

  /// - Requires: `source` is aligned to 64 bytes and stays unchanged as long as `keepAlive` lives.
  package init(borrowing source: UnsafeRawBufferPointer, keepAlive: @escaping @Sendable () -> Void) {
    owned = nil
    self.keepAlive = keepAlive
    bytes = source
  }

  deinit { owned?.deallocate() }

  package var count: Int { bytes.count }

  /// - Requires: the slice lies within the bytes.
  package subscript(slice: DataSlice) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: bytes[slice.offset..<slice.offset + slice.count])
  }
  /// - Requires: the slice lies within the bytes and holds more than `index` numbers.
  package func int32(_ slice: DataSlice, _ index: Int) -> Int32 {
    Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: slice.offset + 4 * index, as: Int32.self))
  }
  /// - Requires: as above.
  package func float(_ slice: DataSlice, _ index: Int) -> Float {
    Float(bitPattern: UInt32(bitPattern: int32(slice, index)))
  }
}
