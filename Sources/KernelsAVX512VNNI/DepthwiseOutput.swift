import CInstructions
import KernelInterface

// From sums to bytes of the output.

/// Makes bytes of the sums of tiles, and stores them.
struct DepthwiseOutput {
  /// Of the sums or bytes on their way to functions that are not inlined.
  static let scratchBytes = 16 * 64

  private let isFused: Bool
  private let fitsWords: Bool
  private let fused: FusedOutput
  private let scale: UnsafePointer<Lanes>
  private let memory: UnsafeMutablePointer<Lanes>
  private let mask: UInt64
  private let columnStep: Int
  /// From one pixel of a vector to the next.
  private let pixelStep: Int
  private let layer: DepthwiseLayer
  private let block: DepthwiseBlock

  @inline(__always)
  init(_ arguments: DepthwiseArguments, _ block: DepthwiseBlock) {
    layer = arguments.layer
    self.block = block
    isFused = layer.isFused
    fitsWords = block.fitsWords.pointee
    fused = fusedOutput(
      zeroPoint: layer.outputZeroPoint, minimum: layer.clampMinimum, maximum: layer.clampMaximum)
    scale = UnsafePointer(block.scale)
    memory = arguments.scratch.assumingMemoryBound(to: Lanes.self)
    mask = byteMask(block.channels)
    columnStep = layer.outputPixelStride
    pixelStep = 4 &* layer.outputPixelStride
  }

  /// - Parameters:
  ///   - target: where the first output's bytes belong.
  ///   - isWhole: whether the image has all outputs of the tile.
  @inline(__always)
  func store(_ sums: DepthwiseSums, _ target: UnsafeMutableRawPointer, pixels: Int, isWhole: Bool) {
    guard isFused else {
      sums.p0.store(memory)
      sums.p1.store(memory + 4)
      sums.p2.store(memory + 8)
      sums.p3.store(memory + 12)
      return storeSums(target)
    }
    let scale = DepthwiseVectors(scale)
    var b0: Lanes, b1: Lanes, b2: Lanes, b3: Lanes
    if fitsWords {
      let lowWords = lowWordsOrder()
      b0 = sums.p0.bytesOfWords(fused, scale, lowWords)
      b1 = sums.p1.bytesOfWords(fused, scale, lowWords)
      b2 = sums.p2.bytesOfWords(fused, scale, lowWords)
      b3 = sums.p3.bytesOfWords(fused, scale, lowWords)
    } else {
      b0 = sums.p0.bytes(fused, scale)
      b1 = sums.p1.bytes(fused, scale)
      b2 = sums.p2.bytes(fused, scale)
      b3 = sums.p3.bytes(fused, scale)
    }
    if isWhole {
      store(b0, target, pixels)
      store(b1, target + columnStep, pixels)
      store(b2, target + 2 &* columnStep, pixels)
      store(b3, target + 3 &* columnStep, pixels)
    } else {
      memory[0] = b0
      memory[1] = b1
      memory[2] = b2
      memory[3] = b3
      storeMemory(target)
    }
  }

  @inline(__always)
  private func store(_ bytes: Lanes, _ target: UnsafeMutableRawPointer, _ pixels: Int) {
    store_bytes_x16(target, mask, bytes)
    if pixels == 2 { store_bytes_x16(target + (pixelStep &- 32), mask &<< 32, bytes) }
    if pixels == 4 {
      store_bytes_x16(target + (pixelStep &- 16), mask &<< 16, bytes)
      store_bytes_x16(target + (2 &* pixelStep &- 32), mask &<< 32, bytes)
      store_bytes_x16(target + (3 &* pixelStep &- 48), mask &<< 48, bytes)
    }
  }

  /// Stores the bytes in `memory`, as far as the image goes.
  @inline(never)
  private func storeMemory(_ target: UnsafeMutableRawPointer) {
    for output in 0..<min(block.width, layer.outputWidth) {
      let shift = 64 / block.pixels &* (output / 4)
      store_bytes_x16(
        target + (output &* columnStep &- shift), mask &<< UInt64(truncatingIfNeeded: shift),
        memory[output % 4])
    }
  }

  /// The same for the sums in `memory`, four vectors for each of its bytes.
  @inline(never)
  private func storeSums(_ target: UnsafeMutableRawPointer) {
    let exact = byteOutput(
      zeroPoint: layer.outputZeroPoint, minimum: layer.clampMinimum, maximum: layer.clampMaximum,
      saturating: block.isSaturating.pointee)
    for output in 0..<4 {
      memory[output] = bytesOfQuarters(exact, memory + 4 &* output, block.requantizations)
    }
    storeMemory(target)
  }
}

extension DepthwiseVectors {
  @inline(__always)
  fileprivate func store(_ memory: UnsafeMutablePointer<Lanes>) {
    memory[0] = k0
    memory[1] = k1
    memory[2] = k2
    memory[3] = k3
  }

  /// The bytes of any sums.
  @inline(__always)
  fileprivate func bytes(_ output: FusedOutput, _ scale: DepthwiseVectors) -> Lanes {
    bytesOfQuarters(
      output, rounded(output, k0, scale.k0), rounded(output, k1, scale.k1), rounded(output, k2, scale.k2),
      rounded(output, k3, scale.k3))
  }

  /// The bytes of sums whose results 16 bits hold: they are the lower halves of the floats, see `fusedOutput`.
  @inline(__always)
  fileprivate func bytesOfWords(_ output: FusedOutput, _ scale: DepthwiseVectors, _ lowWords: Lanes) -> Lanes
  {
    let w0 = multiply_add_floats_x16(k0, scale.k0, output.magic)
    let w1 = multiply_add_floats_x16(k1, scale.k1, output.magic)
    let w2 = multiply_add_floats_x16(k2, scale.k2, output.magic)
    let w3 = multiply_add_floats_x16(k3, scale.k3, output.magic)
    let bytes = pack_bytes_x16(select_words_x16(w0, lowWords, w1), select_words_x16(w2, lowWords, w3))
    return minimum_bytes_x16(maximum_bytes_x16(bytes, output.minimum), output.maximum)
  }
}

/// For `select_words_x16`: the lower halves of 32-bit lanes in the order of `pack_words_x16`.
@inline(__always)
private func lowWordsOrder() -> Lanes {
  // Two words of a vector, of which the second begins with word 32.
  let first = Lanes(
    0x0002_0000, 0x0006_0004, 0x0022_0020, 0x0026_0024, 0x000A_0008, 0x000E_000C, 0x002A_0028, 0x002E_002C,
    0x0012_0010, 0x0016_0014, 0x0032_0030, 0x0036_0034, 0x001A_0018, 0x001E_001C, 0x003A_0038, 0x003E_003C)
  return first
}
