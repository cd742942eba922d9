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
  /// Of the image's first pixel, behind the border.
  var offset: Int
  var height: Int
  var width: Int
  var channels: Int
  /// Channels with those that round them up; every byte of them may be written.
  var storedChannels: Int
  var pixelStride: Int
  var rowStride: Int
  var border: Program.Tensor.Border
  /// What the border holds.
  var zeroPoint: UInt8

  /// - Requires: a validated u8 tensor, which always lies in the arena.
  init(_ tensor: Program.Tensor) {
    if case .arena(let offset) = tensor.storage { self.offset = offset } else { offset = 0 }
    border = tensor.border
    zeroPoint = tensor.zeroPoint
    height = tensor.height
    width = tensor.width
    channels = tensor.channels
    switch tensor.layout {
    case .rowMajor:
      storedChannels = channels
      pixelStride = channels
      rowStride = channels
    case .channelsLast4:
      storedChannels = roundedUp(channels, to: 4)
      pixelStride = tensor.pixelStride
      rowStride = tensor.rowStride
      offset += tensor.imageOffset
    }
  }

  var pixels: Int { height * width }
  var hasBorder: Bool { border != .none }
  /// The pixels of a row follow one another, whatever lies between rows.
  var hasContiguousRows: Bool { pixelStride == storedChannels || width == 1 }
  /// Rows follow one another too: pixel n of the image lies n pixel strides behind the first.
  var isOneRow: Bool { rowStride == width * pixelStride || height == 1 }

  /// Writes the border beside some rows; that above and below too, where they are the first and last.
  @inline(__always)
  func fillBorder(_ arena: UnsafeMutablePointer<UInt8>, rows: Range<Int>) {
    if hasBorder { fillSides(arena, rows) }
  }

  private func fillSides(_ arena: UnsafeMutablePointer<UInt8>, _ rows: Range<Int>) {
    let image = arena + offset, left = border.left &* pixelStride, right = border.right &* pixelStride
    let isFirst = rows.lowerBound == 0, isLast = rows.upperBound == height
    // Row by row, what lies behind one row and before the next is one run.
    let before = left &+ (isFirst ? border.top &* rowStride : 0)
    fill(image + (rows.lowerBound &* rowStride &- before), before)
    var end = image + (rows.lowerBound &* rowStride &+ width &* pixelStride)
    for _ in rows.dropLast() {
      fill(end, right &+ left)
      end += rowStride
    }
    fill(end, right &+ (isLast ? border.bottom &* rowStride : 0))
  }

  /// Multiples of 4 bytes, mostly few: calls of library functions would cost more than the work.
  @inline(__always)
  private func fill(_ target: UnsafeMutablePointer<UInt8>, _ count: Int) {
    let bytes = UnsafeMutableRawPointer(target)
    guard count >= 16 else {
      let word = UInt32(zeroPoint) &* 0x0101_0101
      for place in stride(from: 0, to: count, by: 4) {
        bytes.storeBytes(of: word, toByteOffset: place, as: UInt32.self)
      }
      return
    }
    let vector = SIMD16<UInt8>(repeating: zeroPoint)
    for place in stride(from: 0, to: count &- 16, by: 16) {
      bytes.storeBytes(of: vector, toByteOffset: place, as: SIMD16<UInt8>.self)
    }
    bytes.storeBytes(of: vector, toByteOffset: count &- 16, as: SIMD16<UInt8>.self)
  }
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
