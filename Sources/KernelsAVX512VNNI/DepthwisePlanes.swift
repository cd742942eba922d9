import CInstructions
import KernelInterface

// For wide windows: inputs of four rows share dot products of two output rows, in fewer of them than rows of windows.
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
  /// `[k][term][row of the plan]`
  var weights: UnsafeMutablePointer<Lanes> { memory + 25 }

  /// The channel in lane i of vector k, if there is one.
  func channel(_ layer: DepthwiseLayer, _ k: Int, _ i: Int) -> Int? {
    let channel = firstChannel &+ 16 &* (i / 4 % units) &+ 4 &* k &+ i % 4
    return channel < layer.channels ? channel : nil
  }
}

/// Of rearranged weights and parameters.
package func depthwisePlanesPreparedBytesAVX512VNNI(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  64 &* Block.count(layer) &* Block.vectors(plan)
}

/// Rearranges weights and parameters.
package func depthwisePlanesPrepareAVX512VNNI(
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
          block.weights[(k &* plan.termCount &+ term) &* plan.rows &+ row] = weights
        }
      }
    }
  }
}

// MARK: - Scratch

/// How scratch memory is used: 64 zero points, 32 vectors for `RowOutput`, the place of every term's first vector in
/// bytes, the vectors of planes inside the image, and the interleaved columns, plane after plane and vector k after vector k.
private struct ScratchLayout {
  /// Output columns whose planes fit the first-level cache beside weights and what passes through.
  let columns: Int
  /// Bytes from vector k to k + 1 of a column.
  let stride: Int
  let offsets = 64 + 32 * 64
  let inside: Int
  let planes: Int
  let byteCount: Int

  private static let cachedBytes = 32 * 1024

  @inline(__always)
  init(_ layer: DepthwiseLayer, _ plan: DepthwisePlan, units: Int) {
    let width = layer.outputWidth, unitBytes = 16 &* units
    let most = max(16, ScratchLayout.cachedBytes / (4 &* unitBytes &* plan.planeCount) &- plan.reach)
    let parts = (width &+ most &- 1) / most
    // Whole tiles, but for the last part.
    columns = parts == 1 ? width : ((width &+ parts &- 1) / parts &+ 15) & ~15
    // Tiles of eight vectors may read behind the last column.
    stride = (columns &* unitBytes &+ 511) & ~511 &+ (plan.reach &* unitBytes &+ 63) & ~63
    inside = offsets &+ 8 &* plan.termCount
    planes = (inside &+ 16 &* plan.planeCount &+ 63) & ~63
    byteCount = planes &+ 4 &* stride &* plan.planeCount
  }
}

/// Of planes and what is computed from them.
package func depthwisePlanesScratchBytesAVX512VNNI(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  max(
    ScratchLayout(layer, plan, units: 1).byteCount, ScratchLayout(layer, plan, units: 2).byteCount,
    ScratchLayout(layer, plan, units: 4).byteCount)
}

/// Depthwise convolution of some rows.
package func convolutionDepthwisePlanesAVX512VNNI(_ arguments: DepthwiseArguments, _ first: Int, _ count: Int)
{
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
      switch block.pixels {
      case 1: convolveColumns(arguments, block, layout, first, count, column, columns, pixels: 1)
      case 2: convolveColumns(arguments, block, layout, first, count, column, columns, pixels: 2)
      default: convolveColumns(arguments, block, layout, first, count, column, columns, pixels: 4)
      }
      column &+= columns
    }
  }
}

/// Some columns of all rows, for one block of channels.
@inline(__always)
private func convolveColumns(
  _ arguments: DepthwiseArguments, _ block: Block, _ layout: ScratchLayout, _ first: Int, _ count: Int,
  _ column: Int, _ columns: Int, pixels: Int
) {
  let layer = arguments.layer, plan = arguments.plan
  let inputColumn = column &* layer.strideColumns &- layer.padLeft
  let vectors = (columns &+ plan.reach &+ pixels &- 1) / pixels
  let isContiguous = layer.strideColumns &* layer.inputPixelStride == block.unitBytes
  // What lies inside the image for every plane is found once for all rows.
  let inside = (arguments.scratch + layout.inside).assumingMemoryBound(to: Range<Int>.self)
  for index in 0..<plan.planeCount {
    inside[index] = vectorsInside(layer, plan.planes[index], inputColumn, vectors, pixels: pixels)
  }
  let tile = TileOperands(
    columns: UnsafeRawPointer(arguments.scratch + layout.planes), stride: layout.stride,
    offsets: UnsafePointer((arguments.scratch + layout.offsets).assumingMemoryBound(to: Int.self)),
    terms: plan.termCount, rows: plan.rows, weights: UnsafePointer(block.weights),
    bias: UnsafePointer(block.bias))
  var output = RowOutput(arguments, block, row: first, column: column, columns: columns)
  let outputVectors = (columns &+ pixels &- 1) / pixels
  var row = first
  while row < first &+ count {
    for index in 0..<plan.planeCount {
      let sources = Sources(
        arguments, plan.planes + index, channel: block.firstChannel,
        row: row &* layer.strideRows &- layer.padTop,
        column: inputColumn)
      let target = arguments.scratch + (layout.planes &+ 4 &* layout.stride &* index), stride = layout.stride
      let range = inside[index]
      sources.interleaveBorder(0..<range.lowerBound, pixels: pixels, to: target, stride: stride)
      if isContiguous {
        sources.interleave(range, pieces: 1, pixels: pixels, to: target, stride: stride)
      } else {
        sources.interleave(range, pieces: pixels, pixels: pixels, to: target, stride: stride)
      }
      sources.interleaveBorder(range.upperBound..<vectors, pixels: pixels, to: target, stride: stride)
    }
    let rows = min(plan.rows, first &+ count &- row)
    let pieces = output.isContiguous ? 1 : pixels
    computeRows(tile, output, outputVectors, rows: rows, pieces: pieces)
    output.destination += rows &* layer.outputRowStride
    row &+= rows
  }
}

/// The vectors of a plane, of `vectors` with `pixels` columns each, that lie inside the image for all lanes.
private func vectorsInside(
  _ layer: DepthwiseLayer, _ plane: DepthwisePlan.Plane, _ column: Int, _ vectors: Int, pixels: Int
) -> Range<Int> {
  let step = layer.strideColumns
  // Lanes are in the order of their columns.
  let least = column &+ Int(plane.columns[0]), most = column &+ Int(plane.columns[3])
  let first = (max(0, step &- 1 &- least) / step &+ pixels &- 1) / pixels
  let end = max(0, layer.inputWidth &- most &+ step &- 1) / step / pixels
  return min(first, vectors)..<max(min(first, vectors), min(end, vectors))
}

// MARK: - From the image to planes

/// Where the lanes of a plane come from.
private struct Sources {
  /// The pixel of column 0 in each of four input rows; zero points for rows outside the image.
  private let p0, p1, p2, p3: UnsafeRawPointer
  /// From column to column; 0 for rows outside the image.
  private let s0, s1, s2, s3: Int
  private let plane: UnsafePointer<DepthwisePlan.Plane>
  private let column: Int
  private let step: Int
  private let width: Int
  private let outside: UnsafeRawPointer

  /// - Parameters:
  ///   - row: of the input, that of the plane's row 0.
  ///   - column: of the input, that of the plane's column 0.
  @inline(__always)
  init(
    _ arguments: DepthwiseArguments, _ plane: UnsafePointer<DepthwisePlan.Plane>, channel: Int, row: Int,
    column: Int
  ) {
    let layer = arguments.layer, outside = UnsafeRawPointer(arguments.scratch)
    let rows = plane.pointee.rows, columns = plane.pointee.columns
    let stride = layer.strideColumns &* layer.inputPixelStride
    let input = UnsafeRawPointer(arguments.input) + channel
    @inline(__always)
    func lane(_ row32: Int32, _ column32: Int32) -> (pointer: UnsafeRawPointer, stride: Int) {
      let y = row &+ Int(row32), x = column &+ Int(column32)
      let isInside = UInt(bitPattern: y) < UInt(bitPattern: layer.inputHeight)
      let place = input + (y &* layer.inputRowStride &+ x &* layer.inputPixelStride)
      return (isInside ? place : outside, isInside ? stride : 0)
    }
    (p0, s0) = lane(rows[0], columns[0])
    // What lanes without input hold meets no weight.
    (p1, s1) = rows[1] < 0 ? (p0, s0) : lane(rows[1], columns[1])
    (p2, s2) = rows[2] < 0 ? (p0, s0) : lane(rows[2], columns[2])
    (p3, s3) = rows[3] < 0 ? (p0, s0) : lane(rows[3], columns[3])
    self.plane = plane
    self.column = column
    step = layer.strideColumns
    width = layer.inputWidth
    self.outside = outside
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
  @inline(__always)
  func interleaveBorder(
    _ vectors: Range<Int>, pixels: Int, to planes: UnsafeMutableRawPointer, stride: Int
  ) {
    let columns = plane.pointee.columns
    @inline(__always)
    func piece(_ p: UnsafeRawPointer, _ s: Int, _ lane: Int, _ index: Int) -> UnsafeRawPointer {
      let x = column &+ index &* step &+ Int(columns[lane])
      return UInt(bitPattern: x) < UInt(bitPattern: width) ? p + index &* s : outside
    }
    @inline(__always)
    func gather(_ p: UnsafeRawPointer, _ s: Int, _ lane: Int, _ vector: Int) -> Lanes {
      let index = vector &* pixels
      var result = load(piece(p, s, lane, index))
      if pixels == 2 { result = replace_lanes_x16(result, 0xFF00, piece(p, s, lane, index &+ 1) - 32) }
      if pixels == 4 {
        result = replace_lanes_x16(result, 0x00F0, piece(p, s, lane, index &+ 1) - 16)
        result = replace_lanes_x16(result, 0x0F00, piece(p, s, lane, index &+ 2) - 32)
        result = replace_lanes_x16(result, 0xF000, piece(p, s, lane, index &+ 3) - 48)
      }
      return result
    }
    for vector in vectors {
      storeInterleaved(
        gather(p0, s0, 0, vector), gather(p1, s1, 1, vector), gather(p2, s2, 2, vector),
        gather(p3, s3, 3, vector), to: planes + 64 &* vector, stride: stride)
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

// MARK: - From planes to the output

/// What one or two rows of the output are computed from.
private struct TileOperands {
  let columns: UnsafeRawPointer
  let stride: Int
  let offsets: UnsafePointer<Int>
  let terms: Int
  /// Of the plan, not of the output.
  let rows: Int
  let weights: UnsafePointer<Lanes>
  let bias: UnsafePointer<Lanes>
}

/// Vector k of eight outputs: of four neighbours in two rows, or of eight in one.
private struct Eight {
  var v0, v1, v2, v3, v4, v5, v6, v7: Lanes
}

extension Eight {
  @inline(__always)
  init(repeating v: Lanes) { self.init(v0: v, v1: v, v2: v, v3: v, v4: v, v5: v, v6: v, v7: v) }

  /// Sums of two rows, so that columns serve both of them and weights four vectors.
  @inline(__always)
  init(twoRows t: TileOperands, _ vector: Int, k: Int) {
    self.init(repeating: t.bias[k])
    let columns = t.columns + (64 &* vector &+ k &* t.stride)
    var weights = t.weights + 2 &* t.terms &* k
    for term in 0..<t.terms {
      let x = columns + t.offsets[term]
      let upper = weights[0], lower = weights[1]
      let x0 = load(x), x1 = load(x + 64), x2 = load(x + 128), x3 = load(x + 192)
      v0 = dot4_x16(v0, x0, upper)
      v4 = dot4_x16(v4, x0, lower)
      v1 = dot4_x16(v1, x1, upper)
      v5 = dot4_x16(v5, x1, lower)
      v2 = dot4_x16(v2, x2, upper)
      v6 = dot4_x16(v6, x2, lower)
      v3 = dot4_x16(v3, x3, upper)
      v7 = dot4_x16(v7, x3, lower)
      weights += 2
    }
  }

  /// Sums of one row, so that weights serve eight vectors.
  @inline(__always)
  init(oneRow t: TileOperands, _ vector: Int, k: Int) {
    self.init(repeating: t.bias[k])
    let columns = t.columns + (64 &* vector &+ k &* t.stride)
    var weights = t.weights + t.rows &* t.terms &* k
    for term in 0..<t.terms {
      let x = columns + t.offsets[term], w = weights[0]
      v0 = dot4_x16(v0, load(x), w)
      v1 = dot4_x16(v1, load(x + 64), w)
      v2 = dot4_x16(v2, load(x + 128), w)
      v3 = dot4_x16(v3, load(x + 192), w)
      v4 = dot4_x16(v4, load(x + 256), w)
      v5 = dot4_x16(v5, load(x + 320), w)
      v6 = dot4_x16(v6, load(x + 384), w)
      v7 = dot4_x16(v7, load(x + 448), w)
      weights += t.rows
    }
  }

  @inline(__always)
  func map(_ body: (Lanes) -> Lanes) -> Eight {
    Eight(
      v0: body(v0), v1: body(v1), v2: body(v2), v3: body(v3), v4: body(v4), v5: body(v5), v6: body(v6),
      v7: body(v7))
  }

  @inline(__always)
  func map(_ other: Eight, _ body: (Lanes, Lanes) -> Lanes) -> Eight {
    Eight(
      v0: body(v0, other.v0), v1: body(v1, other.v1), v2: body(v2, other.v2), v3: body(v3, other.v3),
      v4: body(v4, other.v4), v5: body(v5, other.v5), v6: body(v6, other.v6), v7: body(v7, other.v7))
  }

  @inline(__always)
  func store(_ memory: UnsafeMutablePointer<Lanes>, stride: Int) {
    memory[0] = v0
    memory[stride] = v1
    memory[2 &* stride] = v2
    memory[3 &* stride] = v3
    memory[4 &* stride] = v4
    memory[5 &* stride] = v5
    memory[6 &* stride] = v6
    memory[7 &* stride] = v7
  }
}

/// Makes bytes of the sums of vectors, and stores them.
private struct RowOutput {
  let isFused: Bool
  /// Vectors of pixels that all exist.
  let wholeVectors: Int
  /// Whether the bytes of a vector are one piece.
  let isContiguous: Bool
  /// Sums or bytes on their way to functions that are not inlined.
  let memory: UnsafeMutablePointer<Lanes>
  let fused: FusedOutput
  let scale: UnsafePointer<Lanes>
  private let mask: UInt64
  var destination: UnsafeMutableRawPointer
  private let rowStride: Int
  private let pixelStride: Int
  private let vectorStride: Int
  private let block: Block
  private let columns: Int
  private let layer: DepthwiseLayer

  @inline(__always)
  init(_ arguments: DepthwiseArguments, _ block: Block, row: Int, column: Int, columns: Int) {
    layer = arguments.layer
    self.block = block
    self.columns = columns
    isContiguous =
      block.pixels == 1 || block.channels == block.unitBytes && layer.outputPixelStride == block.unitBytes
    isFused = layer.isFused
    wholeVectors = columns / block.pixels
    memory = (arguments.scratch + 64).assumingMemoryBound(to: Lanes.self)
    fused = fusedOutput(
      zeroPoint: layer.outputZeroPoint, minimum: layer.clampMinimum, maximum: layer.clampMaximum)
    scale = UnsafePointer(block.scale)
    mask = byteMask(isContiguous && block.pixels > 1 ? 64 : block.channels)
    pixelStride = layer.outputPixelStride
    destination = UnsafeMutableRawPointer(
      arguments.output
        + (row &* layer.outputRowStride &+ column &* layer.outputPixelStride &+ block.firstChannel))
    rowStride = layer.outputRowStride
    vectorStride = block.pixels &* layer.outputPixelStride
  }

  /// - Parameter pieces: the pixels of a vector that do not follow one another, or 1.
  @inline(__always)
  func store(_ bytes: Eight, rows: Int, _ vector: Int, pieces: Int) {
    var target = destination + vector &* vectorStride
    store(bytes.v0, target, pieces)
    store(bytes.v1, target + vectorStride, pieces)
    store(bytes.v2, target + 2 &* vectorStride, pieces)
    store(bytes.v3, target + 3 &* vectorStride, pieces)
    target += rows == 2 ? rowStride : 4 &* vectorStride
    store(bytes.v4, target, pieces)
    store(bytes.v5, target + vectorStride, pieces)
    store(bytes.v6, target + 2 &* vectorStride, pieces)
    store(bytes.v7, target + 3 &* vectorStride, pieces)
  }

  @inline(__always)
  private func store(_ bytes: Lanes, _ target: UnsafeMutableRawPointer, _ pieces: Int) {
    store_bytes_x16(target, mask, bytes)
    if pieces == 2 { store_bytes_x16(target + (pixelStride &- 32), mask &<< 32, bytes) }
    if pieces == 4 {
      store_bytes_x16(target + (pixelStride &- 16), mask &<< 16, bytes)
      store_bytes_x16(target + (2 &* pixelStride &- 32), mask &<< 32, bytes)
      store_bytes_x16(target + (3 &* pixelStride &- 48), mask &<< 48, bytes)
    }
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
      memory[v] = bytesOfQuarters(exact, memory + 4 &* v, block.requantizations)
    }
    storeMemory(vector, rows: rows, vectors: vectors)
  }
}

/// Computes one or two rows of the output from the planes.
private func computeRows(
  _ tile: TileOperands, _ output: RowOutput, _ vectors: Int, rows: Int, pieces: Int
) {
  let twoRows = { (vector: Int, k: Int) in Eight(twoRows: tile, vector, k: k) }
  let oneRow = { (vector: Int, k: Int) in Eight(oneRow: tile, vector, k: k) }
  switch (rows, pieces) {
  case (2, 1): compute(output, vectors, rows: 2, pieces: 1, twoRows)
  case (_, 1): compute(output, vectors, rows: 1, pieces: 1, oneRow)
  case (2, 2): compute(output, vectors, rows: 2, pieces: 2, twoRows)
  case (_, 2): compute(output, vectors, rows: 1, pieces: 2, oneRow)
  case (2, _): compute(output, vectors, rows: 2, pieces: 4, twoRows)
  default: compute(output, vectors, rows: 1, pieces: 4, oneRow)
  }
}

@inline(__always)
private func compute(
  _ output: RowOutput, _ vectors: Int, rows: Int, pieces: Int,
  _ sums: (_ vector: Int, _ k: Int) -> Eight
) {
  let width = 8 / rows
  var vector = 0
  while vector < vectors {
    if output.isFused {
      // One k after the other, so that its last step and the sums of the next share the processor.
      @inline(__always)
      func words(_ k: Int) -> Eight {
        let scale = output.scale[k]
        return sums(vector, k).map { rounded(output.fused, $0, scale) }
      }
      let words01 = words(0).map(words(1)) { pack_words_x16($0, $1) }
      let words23 = words(2).map(words(3)) { pack_words_x16($0, $1) }
      let bytes = words01.map(words23) {
        minimum_bytes_x16(
          maximum_bytes_x16(pack_bytes_x16($0, $1), output.fused.minimum), output.fused.maximum)
      }
      if vector &+ width <= output.wholeVectors {
        output.store(bytes, rows: rows, vector, pieces: pieces)
      } else {
        bytes.store(output.memory, stride: 1)
        output.storeMemory(vector, rows: rows, vectors: width)
      }
    } else {
      for k in 0..<4 { sums(vector, k).store(output.memory + k, stride: 4) }
      output.storeSums(vector, rows: rows, vectors: width)
    }
    vector &+= width
  }
}
