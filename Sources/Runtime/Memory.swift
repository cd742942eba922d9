import KernelInterface
import Program

/// The bytes that one sample in flight needs: arena and scratch, aligned to 64 and followed by the slack that
/// kernels may read. Used by one thread, or by several on disjoint shares of a step.
package final class WorkingMemory: @unchecked Sendable {
  let arena: UnsafeMutablePointer<UInt8>
  /// A padded image, at the end of the scratch memory.
  let image: UnsafeMutablePointer<UInt8>
  private let scratch: UnsafeMutableRawPointer
  /// Of every thread, a multiple of 64.
  private let kernelBytes: Int
  /// The caller's tensors, set before every run.
  package let inputs: UnsafeMutablePointer<UnsafePointer<Float>?>
  package let outputs: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>
  private let owned: UnsafeMutableRawPointer?

  /// - Parameters:
  ///   - arena: together with `scratch`, or nil to allocate both.
  ///   - kernelBytes: what the kernels of one thread need, a multiple of 64.
  ///   - imageOffset: behind the scratch memory of all threads.
  init(
    arena: UnsafeMutableRawPointer?, scratch: UnsafeMutableRawPointer?, arenaBytes: Int, scratchBytes: Int,
    kernelBytes: Int, imageOffset: Int, inputs inputCount: Int, outputs outputCount: Int
  ) {
    if let arena, let scratch {
      (self.arena, self.scratch) = (arena.assumingMemoryBound(to: UInt8.self), scratch)
      owned = nil
    } else {
      let arenaSize = roundedUp(arenaBytes + Limits.slackBytes, to: 64)
      let size = arenaSize + scratchBytes + Limits.slackBytes
      let block = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
      // Bytes that no instruction writes are the same in every run.
      block.initializeMemory(as: UInt8.self, repeating: 0, count: size)
      (self.arena, self.scratch) = (block.assumingMemoryBound(to: UInt8.self), block + arenaSize)
      owned = block
    }
    self.kernelBytes = kernelBytes
    image = (self.scratch + imageOffset).assumingMemoryBound(to: UInt8.self)
    inputs = .allocate(capacity: max(inputCount, 1))
    inputs.initialize(repeating: nil, count: max(inputCount, 1))
    outputs = .allocate(capacity: max(outputCount, 1))
    outputs.initialize(repeating: nil, count: max(outputCount, 1))
  }

  deinit {
    owned?.deallocate()
    inputs.deallocate()
    outputs.deallocate()
  }

  /// What the kernels of one of several threads may use.
  func kernelScratch(_ part: Int) -> UnsafeMutableRawPointer {
    scratch + part &* kernelBytes
  }

  /// The numbers of an f32 tensor.
  @inline(__always)
  func reals(_ place: RealPlace) -> UnsafeMutablePointer<Float>? {
    switch place {
    case .arena(let offset): UnsafeMutableRawPointer(arena + offset).assumingMemoryBound(to: Float.self)
    case .input(let number): UnsafeMutablePointer(mutating: inputs[number])
    case .output(let number): outputs[number]
    }
  }
}

/// Where an f32 tensor lies.
enum RealPlace {
  case arena(Int)
  case input(Int)
  case output(Int)

  init(_ tensor: Program.Tensor) {
    switch tensor.storage {
    case .arena(let offset): self = .arena(offset)
    case .input(let number): self = .input(number)
    case .output(let number): self = .output(number)
    }
  }
}

/// Where a tensor of bytes lies, as pixels of channels.
struct Plane {
  var offset: Int
  var height: Int
  var width: Int
  var channels: Int
  /// Channels with those that round them up; every byte of them may be written.
  var storedChannels: Int
  var pixelStride: Int

  /// - Requires: a validated u8 tensor, which always lies in the arena.
  init(_ tensor: Program.Tensor) {
    if case .arena(let offset) = tensor.storage { self.offset = offset } else { offset = 0 }
    height = tensor.height
    width = tensor.width
    channels = tensor.channels
    switch tensor.layout {
    case .rowMajor:
      storedChannels = channels
      pixelStride = channels
    case .channelsLast4:
      storedChannels = roundedUp(channels, to: 4)
      pixelStride = tensor.pixelStride
    }
  }

  var pixels: Int { height * width }
  var rowStride: Int { width * pixelStride }
  /// All bytes follow one another.
  var isContiguous: Bool { pixelStride == storedChannels || pixels == 1 }
}

/// Constants that are computed when a program is loaded, freed with it.
final class ConstantPool: @unchecked Sendable {  // immutable once the program is prepared
  private var blocks: [UnsafeMutableRawPointer] = []

  func allocate<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafePointer<Element> {
    let bytes = max(elements.count, 1) * MemoryLayout<Element>.stride
    let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
    blocks.append(block)
    let typed = block.bindMemory(to: Element.self, capacity: max(elements.count, 1))
    for (index, element) in elements.enumerated() { (typed + index).initialize(to: element) }
    return UnsafePointer(typed)
  }

  /// Uninitialized bytes, aligned to 64.
  func allocate(bytes: Int) -> UnsafeMutableRawPointer {
    let block = UnsafeMutableRawPointer.allocate(byteCount: max(bytes, 1), alignment: 64)
    blocks.append(block)
    return block
  }

  deinit { for block in blocks { block.deallocate() } }
}
