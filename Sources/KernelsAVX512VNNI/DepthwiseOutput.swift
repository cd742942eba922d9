import CInstructions
import KernelInterface

// From sums to bytes of the output.

/// Of the sums or bytes on their way to functions that are not inlined.
let depthwiseOutputScratchBytes = 16 * 64

/// What makes bytes of the sums of tiles, and stores them. `pixelStep`: from one pixel of a vector to the next.
typealias DepthwiseOutput = (
  isFused: Bool, fitsWords: Bool, fused: FusedOutput, scale: UnsafePointer<Lanes>,
  memory: UnsafeMutablePointer<Lanes>, mask: UInt64, columnStep: Int, pixelStep: Int, layer: DepthwiseLayer,
  block: DepthwiseBlock
)

@inline(__always)
func depthwiseOutput(_ arguments: DepthwiseArguments, _ block: DepthwiseBlock) -> DepthwiseOutput {
  let layer = arguments.layer
  return (
    layer.isFused, fitsWords(block).pointee,
    fusedOutput(zeroPoint: layer.outputZeroPoint, minimum: layer.clampMinimum, maximum: layer.clampMaximum),
    UnsafePointer(scale(block)), arguments.scratch.assumingMemoryBound(to: Lanes.self),
    byteMask(block.channels), layer.outputPixelStride, 4 &* layer.outputPixelStride, layer, block
  )
}

/// - Parameters:
///   - target: where the first output's bytes belong.
///   - isWhole: whether the image has all outputs of the tile.
@inline(__always)
func store(
  _ output: DepthwiseOutput, _ sums: DepthwiseSums, _ target: UnsafeMutableRawPointer, pixels: Int,
  isWhole: Bool
) {
  let memory = output.memory
  guard output.isFused else {
    store(sums.p0, memory)
    store(sums.p1, memory + 4)
    store(sums.p2, memory + 8)
    store(sums.p3, memory + 12)
    return storeSums(output.layer, output.block, memory, target)
  }
  let scale = vectors(output.scale), fused = output.fused, columnStep = output.columnStep
  var b0: Lanes, b1: Lanes, b2: Lanes, b3: Lanes
  if output.fitsWords {
    let lowWords = lowWordsOrder()
    b0 = bytesOfWords(sums.p0, fused, scale, lowWords)
    b1 = bytesOfWords(sums.p1, fused, scale, lowWords)
    b2 = bytesOfWords(sums.p2, fused, scale, lowWords)
    b3 = bytesOfWords(sums.p3, fused, scale, lowWords)
  } else {
    b0 = bytes(sums.p0, fused, scale)
    b1 = bytes(sums.p1, fused, scale)
    b2 = bytes(sums.p2, fused, scale)
    b3 = bytes(sums.p3, fused, scale)
  }
  if isWhole {
    store(output, b0, target, pixels)
    store(output, b1, target + columnStep, pixels)
    store(output, b2, target + 2 &* columnStep, pixels)
    store(output, b3, target + 3 &* columnStep, pixels)
  } else {
    memory[0] = b0
    memory[1] = b1
    memory[2] = b2
    memory[3] = b3
    storeMemory(output.layer, output.block, memory, target)
  }
}

@inline(__always)
private func store(
  _ output: DepthwiseOutput, _ bytes: Lanes, _ target: UnsafeMutableRawPointer, _ pixels: Int
) {
  let mask = output.mask, pixelStep = output.pixelStep
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
private func storeMemory(
  _ layer: DepthwiseLayer, _ block: DepthwiseBlock, _ memory: UnsafePointer<Lanes>,
  _ target: UnsafeMutableRawPointer
) {
  let mask = byteMask(block.channels)
  for output in 0..<min(4 &* block.pixels, layer.outputWidth) {
    let shift = 64 / block.pixels &* (output / 4)
    store_bytes_x16(
      target + (output &* layer.outputPixelStride &- shift), mask &<< UInt64(truncatingIfNeeded: shift),
      memory[output % 4])
  }
}

/// The same for the sums in `memory`, four vectors for each of its bytes.
@inline(never)
private func storeSums(
  _ layer: DepthwiseLayer, _ block: DepthwiseBlock, _ memory: UnsafeMutablePointer<Lanes>,
  _ target: UnsafeMutableRawPointer
) {
  let exact = byteOutput(
    zeroPoint: layer.outputZeroPoint, minimum: layer.clampMinimum, maximum: layer.clampMaximum,
    saturating: isSaturating(block).pointee)
  for output in 0..<4 {
    memory[output] = bytesOfQuarters(exact, memory + 4 &* output, requantizations(block))
  }
  storeMemory(layer, block, memory, target)
}

@inline(__always)
private func store(_ vectors: DepthwiseVectors, _ memory: UnsafeMutablePointer<Lanes>) {
  memory[0] = vectors.k0
  memory[1] = vectors.k1
  memory[2] = vectors.k2
  memory[3] = vectors.k3
}

/// The bytes of any sums.
@inline(__always)
private func bytes(_ sums: DepthwiseVectors, _ output: FusedOutput, _ scale: DepthwiseVectors) -> Lanes {
  bytesOfQuarters(
    output, rounded(output, sums.k0, scale.k0), rounded(output, sums.k1, scale.k1),
    rounded(output, sums.k2, scale.k2), rounded(output, sums.k3, scale.k3))
}

/// The bytes of sums whose results 16 bits hold: they are the lower halves of the floats, see `fusedOutput`.
@inline(__always)
private func bytesOfWords(
  _ sums: DepthwiseVectors, _ output: FusedOutput, _ scale: DepthwiseVectors, _ lowWords: Lanes
) -> Lanes {
  let w0 = multiply_add_floats_x16(sums.k0, scale.k0, output.magic)
  let w1 = multiply_add_floats_x16(sums.k1, scale.k1, output.magic)
  let w2 = multiply_add_floats_x16(sums.k2, scale.k2, output.magic)
  let w3 = multiply_add_floats_x16(sums.k3, scale.k3, output.magic)
  let bytes = pack_bytes_x16(select_words_x16(w0, lowWords, w1), select_words_x16(w2, lowWords, w3))
  return minimum_bytes_x16(maximum_bytes_x16(bytes, output.minimum), output.maximum)
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
