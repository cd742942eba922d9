import CInstructions
import KernelInterface

// Channels are computed in blocks of 64, or of 32 or 16 where no more are left: in `units` of 16. A first pass over
// the input interleaves the four bytes of a plane's lanes. Of the four vectors that this makes of 64 bytes, quarter q of
// vector k holds channels 4 k ... 4 k + 3 of unit q: so bytes move within quarters only, and packing results restores
// the order. The units of all columns follow one another, so that a vector has units of one, two or four pixels and no lane
// is idle. The second pass is dot products of whole vectors, where a tap's column is an offset.

// MARK: - Blocks of channels

/// What the channels of a block are computed with, in vectors; those of single channels come in fours.
private struct Block {
  let firstChannel: Int
  let channels: Int
  /// 1, 2 or 4.
  let units: Int
  private let memory: UnsafeMutablePointer<Lanes>

  @inline(__always)
  init(_ layer: DepthwiseLayer, _ plan: DepthwisePlan, _ index: Int, _ prepared: UnsafeRawPointer) {
    firstChannel = 64 &* index
    channels = min(64, layer.storedChannels &- firstChannel)
    units = channels > 32 ? 4 : channels > 16 ? 2 : 1
    memory =
      UnsafeMutableRawPointer(mutating: prepared).assumingMemoryBound(to: Lanes.self)
      + index &* Block.vectors(plan)
  }

  static func count(_ layer: DepthwiseLayer) -> Int { (layer.storedChannels &+ 63) / 64 }
  static func vectors(_ plan: DepthwisePlan) -> Int { 25 &+ 4 &* plan.termCount &* plan.rows }

  var unitBytes: Int { 16 &* units }
  /// Pixels of a vector.
  var pixels: Int { 4 / units }
  var saturating: UnsafeMutablePointer<Bool> {
    UnsafeMutableRawPointer(memory).assumingMemoryBound(to: Bool.self)
  }
  var bias: UnsafeMutablePointer<Lanes> { memory + 1 }
  var scale: UnsafeMutablePointer<Lanes> { memory + 5 }
  var requantizations: UnsafeMutablePointer<Requantization> {
    UnsafeMutableRawPointer(memory + 9).assumingMemoryBound(to: Requantization.self)
  }
  /// `[term][row of the plan][k]`
  var weights: UnsafeMutablePointer<Lanes> { memory + 25 }

  /// The channel in lane i of vector k, if there is one.
  func channel(_ layer: DepthwiseLayer, _ k: Int, _ i: Int) -> Int? {
    let channel = firstChannel &+ 16 &* (i / 4 % units) &+ 4 &* k &+ i % 4
    return channel < layer.channels ? channel : nil
  }
}

package func depthwisePreparedBytesAVX512VNNI(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  64 &* Block.count(layer) &* Block.vectors(plan)
}

/// Rearranges weights and parameters.
package func depthwisePrepareAVX512VNNI(
  _ layer: DepthwiseLayer, _ plan: DepthwisePlan, _ parameters: DepthwiseParameters,
  _ memory: UnsafeMutableRawPointer
) {
  for index in 0..<Block.count(layer) {
    let block = Block(layer, plan, index, memory)
    block.saturating.pointee = needsSaturation(
      parameters.shift + block.firstChannel, channels: min(64, layer.channels &- block.firstChannel))
    for k in 0..<4 {
      var bias = Lanes.zero, scale = Lanes.zero, multiplier = Lanes.zero, shift = Lanes(repeating: 31)
      for i in 0..<16 {
        guard let channel = block.channel(layer, k, i) else { continue }
        bias[i] = parameters.bias[channel]
        multiplier[i] = parameters.multiplier[channel]
        shift[i] = parameters.shift[channel]
        if let scales = parameters.scale { scale[i] = Int32(bitPattern: scales[channel].bitPattern) }
      }
      block.bias[k] = bias
      block.scale[k] = scale
      block.requantizations[k] = requantization(multiplier: multiplier, shift: shift)
      for term in 0..<plan.termCount {
        for row in 0..<plan.rows {
          let taps = row == 0 ? plan.terms[term].upper : plan.terms[term].lower
          var weights = Lanes.zero
          for i in 0..<16 {
            guard let channel = block.channel(layer, k, i) else { continue }
            var lane: UInt32 = 0
            for l in 0..<4 where taps[l] >= 0 {
              let weight = parameters.weights[channel &* layer.taps &+ Int(taps[l])]
              lane |= UInt32(UInt8(bitPattern: weight)) &<< UInt32(truncatingIfNeeded: 8 &* l)
            }
            weights[i] = Int32(bitPattern: lane)
          }
          block.weights[(term &* plan.rows &+ row) &* 4 &+ k] = weights
        }
      }
    }
  }
}

// MARK: - Scratch

/// How scratch memory is used: 64 zero points, 16 vectors for `RowOutput`, the place of every term's first vector in
/// bytes, and the interleaved columns, plane after plane and vector k after vector k.
private struct ScratchLayout {
  /// Output columns whose planes fit the first-level cache beside weights and what passes through.
  let columns: Int
  /// Bytes from vector k to k + 1 of a column.
  let stride: Int
  let offsets = 64 + 16 * 64
  let planes: Int
  let byteCount: Int

  private static let cachedBytes = 28 * 1024

  @inline(__always)
  init(_ layer: DepthwiseLayer, _ plan: DepthwisePlan, units: Int) {
    let width = layer.outputWidth, unitBytes = 16 &* units
    let most = max(16, ScratchLayout.cachedBytes / (4 &* unitBytes &* plan.planeCount) &- plan.reach)
    let parts = (width &+ most &- 1) / most
    // Whole tiles, but for the last part.
    columns = parts == 1 ? width : ((width &+ parts &- 1) / parts &+ 15) & ~15
    // Tiles of four vectors may read behind the last column.
    stride = (columns &* unitBytes &+ 255) & ~255 &+ (plan.reach &* unitBytes &+ 63) & ~63
    planes = offsets &+ (8 &* plan.termCount &+ 63) & ~63
    byteCount = planes &+ 4 &* stride &* plan.planeCount
  }
}

package func depthwiseScratchBytesAVX512VNNI(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  max(
    ScratchLayout(layer, plan, units: 1).byteCount, ScratchLayout(layer, plan, units: 2).byteCount,
    ScratchLayout(layer, plan, units: 4).byteCount)
}

/// Depthwise convolution of some rows.
package func convolutionDepthwiseAVX512VNNI(_ arguments: DepthwiseArguments, _ first: Int, _ count: Int) {
  let layer = arguments.layer, plan = arguments.plan
  arguments.scratch.initializeMemory(as: UInt8.self, repeating: layer.inputZeroPoint, count: 64)
  for index in 0..<Block.count(layer) {
    let block = Block(layer, plan, index, arguments.prepared)
    let layout = ScratchLayout(layer, plan, units: block.units)
    let offsets = (arguments.scratch + layout.offsets).assumingMemoryBound(to: Int.self)
    for term in 0..<plan.termCount {
      offsets[term] =
        4 &* layout.stride &* Int(plan.terms[term].plane) &+ block.unitBytes &* Int(plan.terms[term].offset)
    }
    var column = 0
    while column < layer.outputWidth {
      let columns = min(layout.columns, layer.outputWidth &- column)
      var row = first
      while row < first &+ count {
        interleave(arguments, block, layout, row, column, columns)
        let rows = min(plan.rows, first &+ count &- row)
        computeRows(arguments, block, layout, row, rows: rows, column, columns)
        row &+= rows
      }
      column &+= columns
    }
  }
}

// MARK: - From the image to planes

/// Where the lanes of a plane come from.
private struct Sources {
  /// The pixel of column 0 in each of four input rows.
  private let p0, p1, p2, p3: UnsafeRawPointer
  /// From column to column; 0 where the row lies outside the image and the pointer leads to zero points.
  private let s0, s1, s2, s3: Int
  /// The columns that lie inside the image for all lanes, and those for each.
  private let inside: Range<Int>
  private let start: SIMD4<Int>
  private let end: SIMD4<Int>

  /// - Parameters:
  ///   - row: of the input, that of the plane's row 0.
  ///   - column: of the input, that of the plane's column 0.
  @inline(__always)
  init(_ arguments: DepthwiseArguments, _ plane: DepthwisePlan.Plane, channel: Int, row: Int, column: Int) {
    let layer = arguments.layer, step = layer.strideColumns
    @inline(__always)
    func lane(_ l: Int) -> (pointer: UnsafeRawPointer, stride: Int, start: Int, end: Int) {
      // What lanes without input hold meets no weight.
      let source = plane.rows[l] < 0 ? 0 : l
      let y = row &+ Int(plane.rows[source]), x = column &+ Int(plane.columns[source])
      guard y >= 0, y < layer.inputHeight else {
        return (UnsafeRawPointer(arguments.scratch), 0, 0, Int.max / 2)
      }
      let place = y &* layer.inputRowStride &+ x &* layer.inputPixelStride &+ channel
      return (
        UnsafeRawPointer(arguments.input) + place, step &* layer.inputPixelStride,
        max(0, (step &- 1 &- x) / step), max(0, (layer.inputWidth &- x &+ step &- 1) / step)
      )
    }
    let l0 = lane(0), l1 = lane(1), l2 = lane(2), l3 = lane(3)
    (p0, p1, p2, p3) = (l0.pointer, l1.pointer, l2.pointer, l3.pointer)
    (s0, s1, s2, s3) = (l0.stride, l1.stride, l2.stride, l3.stride)
    start = SIMD4(l0.start, l1.start, l2.start, l3.start)
    end = SIMD4(l0.end, l1.end, l2.end, l3.end)
    let first = max(max(l0.start, l1.start), max(l2.start, l3.start))
    inside = first..<max(first, min(min(l0.end, l1.end), min(l2.end, l3.end)))
  }

  /// The vectors, of `vectors` with `pixels` columns each, that lie inside the image.
  @inline(__always)
  func vectorsInside(_ vectors: Int, pixels: Int) -> Range<Int> {
    let first = min((inside.lowerBound &+ pixels &- 1) / pixels, vectors)
    return first..<max(first, min(inside.upperBound / pixels, vectors))
  }

  /// Interleaves vectors that lie inside the image, each from `pieces` places.
  @inline(__always)
  func interleave(
    _ vectors: Range<Int>, pieces: Int, pixels: Int, to planes: UnsafeMutableRawPointer, stride: Int
  ) {
    let first = vectors.lowerBound &* pixels
    var target = planes + 64 &* vectors.lowerBound
    if s0 == s1 && s1 == s2 && s2 == s3 {
      var offset = first &* s0
      for _ in vectors {
        storeInterleaved(
          gather(p0 + offset, s0, pieces), gather(p1 + offset, s0, pieces), gather(p2 + offset, s0, pieces),
          gather(p3 + offset, s0, pieces), to: target, stride: stride)
        offset &+= pixels &* s0
        target += 64
      }
      return
    }
    var p0 = p0 + first &* s0, p1 = p1 + first &* s1, p2 = p2 + first &* s2, p3 = p3 + first &* s3
    for _ in vectors {
      storeInterleaved(
        gather(p0, s0, pieces), gather(p1, s1, pieces), gather(p2, s2, pieces), gather(p3, s3, pieces),
        to: target, stride: stride)
      p0 += pixels &* s0
      p1 += pixels &* s1
      p2 += pixels &* s2
      p3 += pixels &* s3
      target += 64
    }
  }

  /// Interleaves any vectors, with zero points outside the image.
  @inline(never)
  func interleaveBorder(
    _ vectors: Range<Int>, pixels: Int, to planes: UnsafeMutableRawPointer, stride: Int, outside: Lanes
  ) {
    let lanes = 16 / pixels
    let mask: UInt16 = 0xFFFF &>> UInt16(truncatingIfNeeded: 16 &- lanes)
    @inline(__always)
    func gather(_ l: Int, _ p: UnsafeRawPointer, _ s: Int, _ vector: Int) -> Lanes {
      var result = outside
      for piece in 0..<pixels {
        let column = vector &* pixels &+ piece
        guard column >= start[l], column < end[l] else { continue }
        let shift = piece &* lanes
        result = replace_lanes_x16(
          result, mask &<< UInt16(truncatingIfNeeded: shift), p + (column &* s &- 4 &* shift))
      }
      return result
    }
    for vector in vectors {
      storeInterleaved(
        gather(0, p0, s0, vector), gather(1, p1, s1, vector), gather(2, p2, s2, vector),
        gather(3, p3, s3, vector),
        to: planes + 64 &* vector, stride: stride)
    }
  }
}

/// 64 bytes, from one, two or four places.
@inline(__always)
private func gather(_ pointer: UnsafeRawPointer, _ stride: Int, _ pieces: Int) -> Lanes {
  var result = load(pointer)
  if pieces == 2 { result = replace_lanes_x16(result, 0xFF00, pointer + (stride &- 32)) }
  if pieces == 4 {
    result = replace_lanes_x16(result, 0x00F0, pointer + (stride &- 16))
    result = replace_lanes_x16(result, 0x0F00, pointer + (2 &* stride &- 32))
    result = replace_lanes_x16(result, 0xF000, pointer + (3 &* stride &- 48))
  }
  return result
}

@inline(__always)
private func storeInterleaved(
  _ x0: Lanes, _ x1: Lanes, _ x2: Lanes, _ x3: Lanes, to target: UnsafeMutableRawPointer, stride: Int
) {
  let low01 = interleave_low_bytes_x16(x0, x1), low23 = interleave_low_bytes_x16(x2, x3)
  let high01 = interleave_high_bytes_x16(x0, x1), high23 = interleave_high_bytes_x16(x2, x3)
  target.storeBytes(of: interleave_low_words_x16(low01, low23), as: Lanes.self)
  (target + stride).storeBytes(of: interleave_high_words_x16(low01, low23), as: Lanes.self)
  (target + 2 &* stride).storeBytes(of: interleave_low_words_x16(high01, high23), as: Lanes.self)
  (target + 3 &* stride).storeBytes(of: interleave_high_words_x16(high01, high23), as: Lanes.self)
}

/// Fills the planes for the output row `row`, or two of them, and the columns `column ..< column + columns`.
private func interleave(
  _ arguments: DepthwiseArguments, _ block: Block, _ layout: ScratchLayout, _ row: Int, _ column: Int,
  _ columns: Int
) {
  let layer = arguments.layer, plan = arguments.plan, pixels = block.pixels, stride = layout.stride
  let vectors = (columns &+ plan.reach &+ pixels &- 1) / pixels
  let isContiguous = layer.strideColumns &* layer.inputPixelStride == block.unitBytes
  let outside = Lanes(repeating: Int32(layer.inputZeroPoint) &* 0x0101_0101)
  for index in 0..<plan.planeCount {
    let sources = Sources(
      arguments, plan.planes[index], channel: block.firstChannel,
      row: row &* layer.strideRows &- layer.padTop,
      column: column &* layer.strideColumns &- layer.padLeft)
    let planes = arguments.scratch + (layout.planes &+ 4 &* stride &* index)
    let inside = sources.vectorsInside(vectors, pixels: pixels)
    sources.interleaveBorder(
      0..<inside.lowerBound, pixels: pixels, to: planes, stride: stride, outside: outside)
    if pixels == 1 || isContiguous {
      sources.interleave(inside, pieces: 1, pixels: pixels, to: planes, stride: stride)
    } else if pixels == 2 {
      sources.interleave(inside, pieces: 2, pixels: 2, to: planes, stride: stride)
    } else {
      sources.interleave(inside, pieces: 4, pixels: 4, to: planes, stride: stride)
    }
    sources.interleaveBorder(
      inside.upperBound..<vectors, pixels: pixels, to: planes, stride: stride, outside: outside)
  }
}

// MARK: - From planes to the output

/// What one row of the plan's outputs is computed from.
private struct TileOperands {
  let columns: UnsafeRawPointer
  let stride: Int
  let offsets: UnsafePointer<Int>
  let terms: Int
  /// Vectors of weights from term to term.
  let weightStride: Int
  let weights: UnsafePointer<Lanes>
  let bias: UnsafePointer<Lanes>
}

/// Four sums of the same channels, one below the other for each k.
private struct Sums {
  var v0, v1, v2, v3: Lanes

  @inline(__always)
  init(_ bias: Lanes) { (v0, v1, v2, v3) = (bias, bias, bias, bias) }
}

/// Tiles of two vectors and two rows, so that columns serve both rows and weights both vectors.
@inline(__always)
private func sumTwoRows(_ t: TileOperands, _ vector: Int) -> (Sums, Sums, Sums, Sums) {
  var k0 = Sums(t.bias[0]), k1 = Sums(t.bias[1]), k2 = Sums(t.bias[2]), k3 = Sums(t.bias[3])
  let stride = t.stride
  var weights = t.weights
  @inline(__always)
  func accumulate(_ sums: inout Sums, _ x: UnsafeRawPointer, _ k: Int) {
    let x0 = load(x), x1 = load(x + 64), upper = weights[k], lower = weights[k &+ 4]
    sums.v0 = dot4_x16(sums.v0, x0, upper)
    sums.v1 = dot4_x16(sums.v1, x1, upper)
    sums.v2 = dot4_x16(sums.v2, x0, lower)
    sums.v3 = dot4_x16(sums.v3, x1, lower)
  }
  for term in 0..<t.terms {
    let x = t.columns + (t.offsets[term] &+ 64 &* vector)
    accumulate(&k0, x, 0)
    accumulate(&k1, x + stride, 1)
    accumulate(&k2, x + 2 &* stride, 2)
    accumulate(&k3, x + 3 &* stride, 3)
    weights += 8
  }
  return (k0, k1, k2, k3)
}

/// Tiles of four vectors, so that weights serve all of them.
@inline(__always)
private func sumOneRow(_ t: TileOperands, _ vector: Int) -> (Sums, Sums, Sums, Sums) {
  var k0 = Sums(t.bias[0]), k1 = Sums(t.bias[1]), k2 = Sums(t.bias[2]), k3 = Sums(t.bias[3])
  let stride = t.stride
  var weights = t.weights
  @inline(__always)
  func accumulate(_ sums: inout Sums, _ x: UnsafeRawPointer, _ k: Int) {
    let w = weights[k]
    sums.v0 = dot4_x16(sums.v0, load(x), w)
    sums.v1 = dot4_x16(sums.v1, load(x + 64), w)
    sums.v2 = dot4_x16(sums.v2, load(x + 128), w)
    sums.v3 = dot4_x16(sums.v3, load(x + 192), w)
  }
  for term in 0..<t.terms {
    let x = t.columns + (t.offsets[term] &+ 64 &* vector)
    accumulate(&k0, x, 0)
    accumulate(&k1, x + stride, 1)
    accumulate(&k2, x + 2 &* stride, 2)
    accumulate(&k3, x + 3 &* stride, 3)
    weights += t.weightStride
  }
  return (k0, k1, k2, k3)
}

/// Makes bytes of the sums of vectors, and stores them.
private struct RowOutput {
  let isFused: Bool
  /// The vectors that are stored as they are, in one piece.
  let directVectors: Int
  /// What is known of the others' sums, and their bytes, on their way to functions that are not inlined.
  let memory: UnsafeMutablePointer<Lanes>
  private let fused: FusedOutput
  private let scale: UnsafePointer<Lanes>
  private let mask: UInt64
  private let destination: UnsafeMutableRawPointer
  private let rowStride: Int
  private let vectorStride: Int
  private let block: Block
  private let columns: Int
  private let layer: DepthwiseLayer

  @inline(__always)
  init(_ arguments: DepthwiseArguments, _ block: Block, row: Int, column: Int, columns: Int) {
    layer = arguments.layer
    self.block = block
    self.columns = columns
    let isContiguous = block.channels == block.unitBytes && layer.outputPixelStride == block.unitBytes
    isFused = layer.isFused
    directVectors = block.pixels == 1 || isContiguous ? columns / block.pixels : 0
    memory = (arguments.scratch + 64).assumingMemoryBound(to: Lanes.self)
    fused = fusedOutput(
      zeroPoint: layer.outputZeroPoint, minimum: layer.clampMinimum, maximum: layer.clampMaximum)
    scale = UnsafePointer(block.scale)
    mask = byteMask(block.pixels == 1 ? block.channels : 64)
    destination = UnsafeMutableRawPointer(
      arguments.output
        + (row &* layer.outputRowStride &+ column &* layer.outputPixelStride &+ block.firstChannel))
    rowStride = layer.outputRowStride
    vectorStride = block.pixels &* layer.outputPixelStride
  }

  @inline(__always)
  func bytes(_ v0: Lanes, _ v1: Lanes, _ v2: Lanes, _ v3: Lanes) -> Lanes {
    bytesOfQuarters(
      fused, rounded(fused, v0, scale[0]), rounded(fused, v1, scale[1]), rounded(fused, v2, scale[2]),
      rounded(fused, v3, scale[3]))
  }

  @inline(__always)
  func store(_ bytes: Lanes, row: Int, vector: Int) {
    store_bytes_x16(destination + (row &* rowStride &+ vector &* vectorStride), mask, bytes)
  }

  /// Stores the bytes in `memory`, of `vectors` vectors for each of `rows` rows, pixel by pixel.
  @inline(never)
  func storeMemory(_ vector: Int, rows: Int, vectors: Int) {
    let mask = byteMask(block.channels)
    for row in 0..<rows {
      for v in 0..<vectors {
        let target = destination + (row &* rowStride &+ (vector &+ v) &* vectorStride)
        for piece in 0..<max(0, min(block.pixels, columns &- (vector &+ v) &* block.pixels)) {
          let shift = piece &* block.unitBytes
          store_bytes_x16(
            target + (piece &* layer.outputPixelStride &- shift), mask &<< UInt64(truncatingIfNeeded: shift),
            memory[row &* vectors &+ v])
        }
      }
    }
  }

  /// The same for the sums in `memory`, four vectors for each of theirs.
  @inline(never)
  func storeSums(_ vector: Int, rows: Int, vectors: Int) {
    let exact = byteOutput(
      zeroPoint: layer.outputZeroPoint, minimum: layer.clampMinimum, maximum: layer.clampMaximum,
      saturating: block.saturating.pointee)
    for v in 0..<rows &* vectors {
      let sums = memory + 4 &* v
      memory[v] =
        isFused
        ? bytes(sums[0], sums[1], sums[2], sums[3]) : bytesOfQuarters(exact, sums, block.requantizations)
    }
    storeMemory(vector, rows: rows, vectors: vectors)
  }
}

/// Computes one or two rows of the output from the planes.
private func computeRows(
  _ arguments: DepthwiseArguments, _ block: Block, _ layout: ScratchLayout, _ row: Int, rows: Int,
  _ column: Int,
  _ columns: Int
) {
  let plan = arguments.plan
  let output = RowOutput(arguments, block, row: row, column: column, columns: columns)
  let tile = TileOperands(
    columns: UnsafeRawPointer(arguments.scratch + layout.planes), stride: layout.stride,
    offsets: UnsafePointer((arguments.scratch + layout.offsets).assumingMemoryBound(to: Int.self)),
    terms: plan.termCount, weightStride: 4 &* plan.rows, weights: UnsafePointer(block.weights),
    bias: UnsafePointer(block.bias))
  let vectors = (columns &+ block.pixels &- 1) / block.pixels
  if rows == 2 { computeTwoRows(tile, output, vectors) } else { computeOneRow(tile, output, vectors) }
}

private func computeTwoRows(_ tile: TileOperands, _ output: RowOutput, _ vectors: Int) {
  var vector = 0
  if output.isFused {
    while vector &+ 2 <= output.directVectors {
      let (k0, k1, k2, k3) = sumTwoRows(tile, vector)
      output.store(output.bytes(k0.v0, k1.v0, k2.v0, k3.v0), row: 0, vector: vector)
      output.store(output.bytes(k0.v1, k1.v1, k2.v1, k3.v1), row: 0, vector: vector &+ 1)
      output.store(output.bytes(k0.v2, k1.v2, k2.v2, k3.v2), row: 1, vector: vector)
      output.store(output.bytes(k0.v3, k1.v3, k2.v3, k3.v3), row: 1, vector: vector &+ 1)
      vector &+= 2
    }
  }
  while vector < vectors {
    let (k0, k1, k2, k3) = sumTwoRows(tile, vector)
    if output.isFused {
      output.memory[0] = output.bytes(k0.v0, k1.v0, k2.v0, k3.v0)
      output.memory[1] = output.bytes(k0.v1, k1.v1, k2.v1, k3.v1)
      output.memory[2] = output.bytes(k0.v2, k1.v2, k2.v2, k3.v2)
      output.memory[3] = output.bytes(k0.v3, k1.v3, k2.v3, k3.v3)
      output.storeMemory(vector, rows: 2, vectors: 2)
    } else {
      transpose(k0, k1, k2, k3, to: output.memory)
      output.storeSums(vector, rows: 2, vectors: 2)
    }
    vector &+= 2
  }
}

private func computeOneRow(_ tile: TileOperands, _ output: RowOutput, _ vectors: Int) {
  var vector = 0
  if output.isFused {
    while vector &+ 4 <= output.directVectors {
      let (k0, k1, k2, k3) = sumOneRow(tile, vector)
      output.store(output.bytes(k0.v0, k1.v0, k2.v0, k3.v0), row: 0, vector: vector)
      output.store(output.bytes(k0.v1, k1.v1, k2.v1, k3.v1), row: 0, vector: vector &+ 1)
      output.store(output.bytes(k0.v2, k1.v2, k2.v2, k3.v2), row: 0, vector: vector &+ 2)
      output.store(output.bytes(k0.v3, k1.v3, k2.v3, k3.v3), row: 0, vector: vector &+ 3)
      vector &+= 4
    }
  }
  while vector < vectors {
    let (k0, k1, k2, k3) = sumOneRow(tile, vector)
    if output.isFused {
      output.memory[0] = output.bytes(k0.v0, k1.v0, k2.v0, k3.v0)
      output.memory[1] = output.bytes(k0.v1, k1.v1, k2.v1, k3.v1)
      output.memory[2] = output.bytes(k0.v2, k1.v2, k2.v2, k3.v2)
      output.memory[3] = output.bytes(k0.v3, k1.v3, k2.v3, k3.v3)
      output.storeMemory(vector, rows: 1, vectors: 4)
    } else {
      transpose(k0, k1, k2, k3, to: output.memory)
      output.storeSums(vector, rows: 1, vectors: 4)
    }
    vector &+= 4
  }
}

/// The sums of one vector after those of another.
@inline(__always)
private func transpose(_ k0: Sums, _ k1: Sums, _ k2: Sums, _ k3: Sums, to memory: UnsafeMutablePointer<Lanes>)
{
  (memory[0], memory[1], memory[2], memory[3]) = (k0.v0, k1.v0, k2.v0, k3.v0)
  (memory[4], memory[5], memory[6], memory[7]) = (k0.v1, k1.v1, k2.v1, k3.v1)
  (memory[8], memory[9], memory[10], memory[11]) = (k0.v2, k1.v2, k2.v2, k3.v2)
  (memory[12], memory[13], memory[14], memory[15]) = (k0.v3, k1.v3, k2.v3, k3.v3)
}
