import IR
import Synchronization

/// Memory of one or more tensors. Its bytes change only while a single tensor refers to it, hence Sendable.
final class TensorBuffer: @unchecked Sendable {
  private enum Owner {
    case heap
    case pool(BufferPool)
    /// Read-only memory, possibly a mapped file.
    case constant(TensorStorage)
  }
  let base: UnsafeMutableRawPointer
  let byteCount: Int
  private let owner: Owner

  /// Uninitialized memory, 64-byte aligned, which returns to `pool` in the end.
  init(byteCount: Int, pool: BufferPool? = nil) {
    self.byteCount = byteCount
    if let pool {
      base = pool.take(byteCount)
      owner = .pool(pool)
    } else {
      base = .allocate(byteCount: max(byteCount, 64), alignment: 64)
      owner = .heap
    }
  }

  /// The bytes of a constant, which stay where they are.
  init(_ storage: TensorStorage) {
    // Never written: `isWritable` is false.
    base = UnsafeMutableRawPointer(mutating: storage.bytes.baseAddress ?? TensorBuffer.nowhere)
    byteCount = storage.bytes.count
    owner = .constant(storage)
  }
  private static var nowhere: UnsafeRawPointer { UnsafeRawPointer(bitPattern: 64).unsafelyUnwrapped }

  var isWritable: Bool {
    switch owner {
    case .heap, .pool: true
    case .constant: false
    }
  }

  deinit {
    switch owner {
    case .heap: base.deallocate()
    case .pool(let pool): pool.put(base, byteCount)
    case .constant: break
    }
  }
}

/// Memory blocks for reuse, so that activations of the same sizes do not fault in new pages for every chunk.
package final class BufferPool: Sendable {
  package init() {}
  private struct Block: @unchecked Sendable { let base: UnsafeMutableRawPointer }
  private let free = Mutex<[Int: [Block]]>([:])

  /// Blocks come in sizes of 4, 5, 6 or 7 times a power of two, so that similar tensors share them.
  private static func capacity(_ byteCount: Int) -> Int {
    guard byteCount > 256 else { return 256 }
    let unit = 1 << (Int.bitWidth - 1 - byteCount.leadingZeroBitCount - 2)
    return (byteCount + unit - 1) / unit * unit
  }
  func take(_ byteCount: Int) -> UnsafeMutableRawPointer {
    let capacity = BufferPool.capacity(byteCount)
    if let block = free.withLock({ $0[capacity]?.popLast() }) { return block.base }
    return .allocate(byteCount: capacity, alignment: 64)
  }
  func put(_ base: UnsafeMutableRawPointer, _ byteCount: Int) {
    let block = Block(base: base)
    free.withLock { $0[BufferPool.capacity(byteCount), default: []].append(block) }
  }
  /// Gives all blocks that are not in use back to the system.
  func drain() {
    let blocks = free.withLock { free in
      defer { free = [:] }
      return free.values.flatMap { $0 }
    }
    for block in blocks { block.base.deallocate() }
  }
  deinit { drain() }
}
