import COnnxProto
import CProtobufC
import Glibc
import Support

/// A message that libprotobuf-c unpacked, freed with the last reference. Allocation is limited: a few bytes of a
/// hostile file can stand for a hundred times as much memory.
final class UnpackedMessage<Message> {
  let message: UnsafeMutablePointer<Message>
  private let budget: AllocationBudget

  /// - Throws: `malformedInput` when the bytes are not a message of this kind or need too much memory.
  init(
    _ bytes: UnsafeRawBufferPointer, as descriptor: UnsafePointer<ProtobufCMessageDescriptor>,
    of _: Message.Type,
    memoryLimit: Int, location: String
  ) throws(CompilerError) {
    let budget = AllocationBudget(limit: memoryLimit)
    var allocator = budget.allocator
    let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
    guard let unpacked = protobuf_c_message_unpack(descriptor, &allocator, bytes.count, start) else {
      let reason =
        budget.isExhausted
        ? "it needs more than \(memoryLimit >> 20) MiB of memory" : "its fields contradict the format"
      throw CompilerError.malformed("not a readable ONNX model: \(reason)", at: location)
    }
    message = UnsafeMutableRawPointer(unpacked).assumingMemoryBound(to: Message.self)
    self.budget = budget
  }

  deinit {
    var allocator = budget.allocator
    message.withMemoryRebound(to: ProtobufCMessage.self, capacity: 1) {
      protobuf_c_message_free_unpacked($0, &allocator)
    }
  }
}

/// What libprotobuf-c may allocate: a byte count that `free` gives back. Blocks come from malloc, so that a block can
/// be taken over and given to `free` on its own.
final class AllocationBudget {
  private var remaining: Int
  private(set) var isExhausted = false

  init(limit: Int) { remaining = limit }

  /// Valid while `self` lives.
  var allocator: ProtobufCAllocator {
    ProtobufCAllocator(
      alloc: { context, size in
        // The context is the budget below.
        Unmanaged<AllocationBudget>.fromOpaque(context!).takeUnretainedValue().allocate(size)
      },
      free: { context, block in
        Unmanaged<AllocationBudget>.fromOpaque(context!).takeUnretainedValue().release(block)
      },
      allocator_data: Unmanaged.passUnretained(self).toOpaque())
  }

  private func allocate(_ size: Int) -> UnsafeMutableRawPointer? {
    guard size >= 0, size <= remaining, let block = malloc(size) else {
      isExhausted = true
      return nil
    }
    remaining -= onnx_block_size(block)
    return block
  }

  private func release(_ block: UnsafeMutableRawPointer?) {
    guard let block else { return }
    remaining += onnx_block_size(block)
    free(block)
  }
}
