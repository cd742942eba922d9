import CInstructions
import KernelInterface

// Channels are computed in panels of 16. A first pass over the input interleaves the two lanes of a plane, widened to words:
// two vectors of 8 channels for a column. The second pass is dot products of those with pairs of weights, where a tap's
// column is an offset.

// MARK: - Panels of channels

/// What 16 channels are computed with.
private struct Panel {
  let firstChannel: Int
  let channels: Int
  let bias: UnsafeMutablePointer<Int32>
  let scale: UnsafeMutablePointer<Int32>
  let multiplier: UnsafeMutablePointer<Int32>
  let shift: UnsafeMutablePointer<Int32>
  /// `[term][row of the plan][channel][lane]`
  let weights: UnsafeMutablePointer<Int16>

  @inline(__always)
  init(_ layer: DepthwiseLayer, _ plan: DepthwisePlan, _ index: Int, _ prepared: UnsafeRawPointer) {
    firstChannel = 16 &* index
    channels = min(16, layer.storedChannels &- firstChannel)
    bias = UnsafeMutableRawPointer(mutating: prepared + index &* Panel.byteCount(plan)).assumingMemoryBound(
      to: Int32.self)
    scale = bias + 16
    multiplier = bias + 32
    shift = bias + 48
    weights = UnsafeMutableRawPointer(bias + 64).assumingMemoryBound(to: Int16.self)
  }

  @inline(__always)
  static func count(_ layer: DepthwiseLayer) -> Int { (layer.storedChannels &+ 15) / 16 }
  @inline(__always)
  static func byteCount(_ plan: DepthwisePlan) -> Int { 256 &+ 64 &* plan.termCount &* plan.rows }
}

/// Of rearranged weights and parameters.
package func depthwisePreparedBytesAVX2(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  Panel.count(layer) &* Panel.byteCount(plan)
}

/// Rearranges weights and parameters.
package func depthwisePrepareAVX2(
  _ layer: DepthwiseLayer, _ plan: DepthwisePlan, _ parameters: DepthwiseParameters,
  _ memory: UnsafeMutableRawPointer
) {
  for index in 0..<Panel.count(layer) {
    let panel = Panel(layer, plan, index, memory)
    for i in 0..<16 {
      let channel = 16 &* index &+ i, exists = channel < layer.channels
      panel.bias[i] = exists ? parameters.bias[channel] : 0
      panel.multiplier[i] = exists ? parameters.multiplier[channel] : 0
      panel.shift[i] = exists ? parameters.shift[channel] : 32
      panel.scale[i] = 0
      if exists, let scales = parameters.scale {
        panel.scale[i] = Int32(bitPattern: scales[channel].bitPattern)
      }
      for term in 0..<plan.termCount {
        for row in 0..<plan.rows {
          let taps = row == 0 ? plan.terms[term].upper : plan.terms[term].lower
          for lane in 0..<2 {
            let tap = Int(taps[lane]), isWeight = exists && tap >= 0
            panel.weights[32 &* (term &* plan.rows &+ row) &+ 2 &* i &+ lane] =
              isWeight ? Int16(parameters.weights[channel &* layer.taps &+ tap]) : 0
          }
        }
      }
    }
  }
}

// MARK: - Scratch

/// How scratch memory is used: 64 zero points, 8 vectors of sums, the place of every term's first column in bytes, the columns
/// of planes inside the image, and the interleaved columns, plane after plane.
private struct ScratchLayout {
  /// Output columns whose planes fit the first-level cache beside weights and what passes through.
  let columns: Int
  /// Bytes from plane to plane.
  let stride: Int
  let inside: Int
  let planes: Int
  let byteCount: Int

  static var sums: Int { 64 }
  static var offsets: Int { 64 + 8 * 32 }
  private static var cachedBytes: Int { 20 * 1024 }

  @inline(__always)
  init(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) {
    let width = layer.outputWidth
    let most = max(16, ScratchLayout.cachedBytes / (64 &* plan.planeCount) &- plan.reach)
    let parts = (width &+ most &- 1) / most
    // Whole tiles, but for the last part.
    columns = parts == 1 ? width : ((width &+ parts &- 1) / parts &+ 3) & ~3
    // Tiles of four pixels may read behind the last column.
    stride = 64 &* (columns &+ 3 &+ plan.reach)
    inside = ScratchLayout.offsets &+ 8 &* plan.termCount
    planes = (inside &+ 16 &* plan.planeCount &+ 63) & ~63
    byteCount = planes &+ stride &* plan.planeCount
  }
}

/// Of planes and what is computed from them.
package func depthwiseScratchBytesAVX2(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  ScratchLayout(layer, plan).byteCount
}

/// Depthwise convolution of some rows.
package func convolutionDepthwiseAVX2(_ arguments: DepthwiseArguments, _ first: Int, _ count: Int) {
  let layer = arguments.layer, plan = arguments.plan, layout = ScratchLayout(layer, plan)
  arguments.scratch.initializeMemory(as: UInt8.self, repeating: layer.inputZeroPoint, count: 64)
  let offsets = (arguments.scratch + ScratchLayout.offsets).assumingMemoryBound(to: Int.self)
  for term in 0..<plan.termCount {
    offsets[term] = layout.stride &* Int(plan.terms[term].plane) &+ 64 &* Int(plan.terms[term].offset)
  }
  // Panels take turns over the rows that stay in the first-level cache; over all where the second level has them.
  let rowBytes = layer.strideRows &* layer.inputRowStride
  let rowsAtOnce = count &* rowBytes <= 256 << 10 ? count : max(plan.rows, (24 << 10) / rowBytes & ~1)
  var column = 0
  while column < layer.outputWidth {
    let columns = min(layout.columns, layer.outputWidth &- column)
    findInside(arguments, layout, column, columns)
    var row = first
    while row < first &+ count {
      let rows = min(rowsAtOnce, first &+ count &- row)
      for index in 0..<Panel.count(layer) {
        let panel = Panel(layer, plan, index, arguments.prepared)
        convolveColumns(arguments, panel, layout, row, rows, column, columns)
      }
      row &+= rows
    }
    column &+= columns
  }
}

/// Which columns of every plane lie inside the image with both lanes.
private func findInside(
  _ arguments: DepthwiseArguments, _ layout: ScratchLayout, _ column: Int, _ columns: Int
) {
  let layer = arguments.layer, plan = arguments.plan, step = layer.strideColumns
  let inside = (arguments.scratch + layout.inside).assumingMemoryBound(to: Range<Int>.self)
  for index in 0..<plan.planeCount {
    // Lane 1 is never left of lane 0.
    let least = column &* step &- layer.padLeft &+ Int(plan.planes[index].columns[0])
    let most = column &* step &- layer.padLeft &+ Int(plan.planes[index].columns[1])
    let first = min(columns &+ plan.reach, max(0, step &- 1 &- least) / step)
    let end = min(columns &+ plan.reach, max(0, layer.inputWidth &- most &+ step &- 1) / step)
    inside[index] = first..<max(first, end)
  }
}

/// Some columns of some rows, for one panel of channels.
private func convolveColumns(
  _ arguments: DepthwiseArguments, _ panel: Panel, _ layout: ScratchLayout, _ first: Int, _ count: Int,
  _ column: Int, _ columns: Int
) {
  let layer = arguments.layer, plan = arguments.plan
  let inputColumn = column &* layer.strideColumns &- layer.padLeft
  let planes = arguments.scratch + layout.planes
  let inside = (arguments.scratch + layout.inside).assumingMemoryBound(to: Range<Int>.self)
  let tile = Tile(arguments, panel, layout)
  var row = first
  while row < first &+ count {
    for index in 0..<plan.planeCount {
      let sources = Sources(
        arguments, plan.planes + index, channel: panel.firstChannel,
        row: row &* layer.strideRows &- layer.padTop, column: inputColumn)
      sources.interleave(columns &+ plan.reach, inside: inside[index], to: planes + layout.stride &* index)
    }
    let rows = min(plan.rows, first &+ count &- row)
    let output = UnsafeMutableRawPointer(
      arguments.output
        + (row &* layer.outputRowStride &+ column &* layer.outputPixelStride &+ panel.firstChannel))
    if rows == 2 {
      tile.computeTwoRows(columns, output)
    } else {
      tile.computeOneRow(columns, output)
    }
    row &+= rows
  }
}

// MARK: - From the image to planes

/// Where the two lanes of a plane come from.
private struct Sources {
  /// The pixel of column 0 in both input rows; zero points for rows outside the image.
  private let p0, p1: UnsafeRawPointer
  /// From column to column; 0 for rows outside the image.
  private let s0, s1: Int
  /// The input column of column 0 in both lanes.
  private let column0, column1: Int
  private let step: Int
  private let width: Int
  private let outside: UnsafeRawPointer

  /// - Parameters:
  ///   - row: of the input, that of the plane's row 0.
  ///   - column: of the input, that of the plane's column 0.
  @inline(__always)
  init(
    _ arguments: DepthwiseArguments, _ pointer: UnsafePointer<DepthwisePlan.Plane>, channel: Int, row: Int,
    column: Int
  ) {
    let plane = pointer.pointee
    let layer = arguments.layer, outside = UnsafeRawPointer(arguments.scratch)
    let stride = layer.strideColumns &* layer.inputPixelStride
    let input = UnsafeRawPointer(arguments.input) + channel
    @inline(__always)
    func lane(_ row32: Int32, _ x: Int) -> (pointer: UnsafeRawPointer, stride: Int) {
      let y = row &+ Int(row32)
      let isInside = UInt(bitPattern: y) < UInt(bitPattern: layer.inputHeight)
      let place = input + (y &* layer.inputRowStride &+ x &* layer.inputPixelStride)
      return (isInside ? place : outside, isInside ? stride : 0)
    }
    column0 = column &+ Int(plane.columns[0])
    // What a lane without input holds meets no weight.
    column1 = plane.rows[1] < 0 ? column0 : column &+ Int(plane.columns[1])
    (p0, s0) = lane(plane.rows[0], column0)
    (p1, s1) = lane(plane.rows[1] < 0 ? plane.rows[0] : plane.rows[1], column1)
    step = layer.strideColumns
    width = layer.inputWidth
    self.outside = outside
  }

  /// Interleaves columns, with zero points outside the image.
  @inline(__always)
  func interleave(_ columns: Int, inside: Range<Int>, to plane: UnsafeMutableRawPointer) {
    interleaveBorder(0..<inside.lowerBound, to: plane)
    var p0 = p0 + inside.lowerBound &* s0, p1 = p1 + inside.lowerBound &* s1
    var target = plane + 64 &* inside.lowerBound
    for _ in inside {
      storeInterleaved(p0, p1, to: target)
      p0 += s0
      p1 += s1
      target += 64
    }
    interleaveBorder(inside.upperBound..<columns, to: plane)
  }

  @inline(__always)
  private func interleaveBorder(_ columns: Range<Int>, to plane: UnsafeMutableRawPointer) {
    for index in columns {
      let x0 = column0 &+ index &* step, x1 = column1 &+ index &* step
      storeInterleaved(
        UInt(bitPattern: x0) < UInt(bitPattern: width) ? p0 + index &* s0 : outside,
        UInt(bitPattern: x1) < UInt(bitPattern: width) ? p1 + index &* s1 : outside, to: plane + 64 &* index)
    }
  }

  @inline(__always)
  private func storeInterleaved(
    _ p0: UnsafeRawPointer, _ p1: UnsafeRawPointer, to target: UnsafeMutableRawPointer
  ) {
    let x0 = p0.loadUnaligned(as: SIMD4<Int32>.self), x1 = p1.loadUnaligned(as: SIMD4<Int32>.self)
    target.storeBytes(of: widen_bytes_x8(interleave_low_bytes_x4(x0, x1)), as: Lanes.self)
    (target + 32).storeBytes(of: widen_bytes_x8(interleave_high_bytes_x4(x0, x1)), as: Lanes.self)
  }
}

// MARK: - From planes to the output

/// Sums of 16 channels of four outputs: of two neighbours in two rows, or of four in one.
private struct Sums {
  var lower0, upper0, lower1, upper1, lower2, upper2, lower3, upper3: Lanes

  @inline(__always)
  init(bias: UnsafePointer<Int32>) {
    let lower = load(bias), upper = load(bias + 8)
    (lower0, lower1, lower2, lower3) = (lower, lower, lower, lower)
    (upper0, upper1, upper2, upper3) = (upper, upper, upper, upper)
  }

  /// Adds terms for two rows, so that inputs and weights serve two sums each.
  @inline(__always)
  mutating func addToTwoRows(
    _ planes: UnsafeRawPointer, _ offsets: UnsafePointer<Int>, _ terms: Int, _ weights: UnsafeRawPointer
  ) {
    var w = weights
    for term in 0..<terms {
      let x = planes + offsets[term]
      let xLower0 = load(x), xUpper0 = load(x + 32), xLower1 = load(x + 64), xUpper1 = load(x + 96)
      let wLower = load(w), wUpper = load(w + 32)
      lower0 = lower0 &+ dot2_words_x8(xLower0, wLower)
      lower1 = lower1 &+ dot2_words_x8(xLower1, wLower)
      upper0 = upper0 &+ dot2_words_x8(xUpper0, wUpper)
      upper1 = upper1 &+ dot2_words_x8(xUpper1, wUpper)
      let wLowerNext = load(w + 64), wUpperNext = load(w + 96)
      lower2 = lower2 &+ dot2_words_x8(xLower0, wLowerNext)
      lower3 = lower3 &+ dot2_words_x8(xLower1, wLowerNext)
      upper2 = upper2 &+ dot2_words_x8(xUpper0, wUpperNext)
      upper3 = upper3 &+ dot2_words_x8(xUpper1, wUpperNext)
      w += 128
    }
  }

  /// Adds terms for one row, so that weights serve four sums.
  /// - Parameter weightBytes: from term to term.
  @inline(__always)
  mutating func addToOneRow(
    _ planes: UnsafeRawPointer, _ offsets: UnsafePointer<Int>, _ terms: Int, _ weights: UnsafeRawPointer,
    weightBytes: Int
  ) {
    var w = weights
    for term in 0..<terms {
      let x = planes + offsets[term]
      let wLower = load(w), wUpper = load(w + 32)
      lower0 = lower0 &+ dot2_words_x8(load(x), wLower)
      upper0 = upper0 &+ dot2_words_x8(load(x + 32), wUpper)
      lower1 = lower1 &+ dot2_words_x8(load(x + 64), wLower)
      upper1 = upper1 &+ dot2_words_x8(load(x + 96), wUpper)
      lower2 = lower2 &+ dot2_words_x8(load(x + 128), wLower)
      upper2 = upper2 &+ dot2_words_x8(load(x + 160), wUpper)
      lower3 = lower3 &+ dot2_words_x8(load(x + 192), wLower)
      upper3 = upper3 &+ dot2_words_x8(load(x + 224), wUpper)
      w += weightBytes
    }
  }
}

/// What the outputs of a panel share.
private struct Tile {
  private let panel: Panel
  private let planes: UnsafeRawPointer
  private let offsets: UnsafePointer<Int>
  private let terms: Int
  private let weightBytes: Int
  private let pixelStride: Int
  private let rowStride: Int
  private let memory: UnsafeMutablePointer<Lanes>
  private let isFused: Bool
  private let zeroPoint: Int32
  private let minimum: Lanes
  private let maximum: Lanes

  @inline(__always)
  init(_ arguments: DepthwiseArguments, _ panel: Panel, _ layout: ScratchLayout) {
    let layer = arguments.layer
    self.panel = panel
    planes = UnsafeRawPointer(arguments.scratch + layout.planes)
    offsets = UnsafePointer((arguments.scratch + ScratchLayout.offsets).assumingMemoryBound(to: Int.self))
    terms = arguments.plan.termCount
    weightBytes = 64 &* arguments.plan.rows
    pixelStride = layer.outputPixelStride
    rowStride = layer.outputRowStride
    memory = (arguments.scratch + ScratchLayout.sums).assumingMemoryBound(to: Lanes.self)
    isFused = layer.isFused
    zeroPoint = layer.outputZeroPoint
    minimum = Lanes(repeating: layer.clampMinimum &* 0x0101_0101)
    maximum = Lanes(repeating: layer.clampMaximum &* 0x0101_0101)
  }

  @inline(never)
  func computeTwoRows(_ columns: Int, _ output: UnsafeMutableRawPointer) { compute(columns, output, rows: 2) }
  @inline(never)
  func computeOneRow(_ columns: Int, _ output: UnsafeMutableRawPointer) { compute(columns, output, rows: 1) }

  @inline(__always)
  private func compute(_ columns: Int, _ output: UnsafeMutableRawPointer, rows: Int) {
    let width = rows == 2 ? 2 : 4, next = rows == 2 ? rowStride : 2 &* pixelStride
    var target = output
    var column = 0
    while column < columns {
      var s = Sums(bias: panel.bias)
      if rows == 2 {
        s.addToTwoRows(planes + 64 &* column, offsets, terms, UnsafeRawPointer(panel.weights))
      } else {
        s.addToOneRow(
          planes + 64 &* column, offsets, terms, UnsafeRawPointer(panel.weights), weightBytes: weightBytes)
      }
      let pixels = min(width, columns &- column)
      if isFused {
        let scale = (lower: load(panel.scale), upper: load(panel.scale + 8))
        // 1.5 * 2^23 + zeroPoint: its unit in the last place is 1.
        let magic = Lanes(repeating: 0x4B40_0000 &+ zeroPoint)
        let first = bytes(
          roundedWords(s.lower0, s.upper0, scale, magic), roundedWords(s.lower1, s.upper1, scale, magic))
        let second = bytes(
          roundedWords(s.lower2, s.upper2, scale, magic), roundedWords(s.lower3, s.upper3, scale, magic))
        if panel.channels == 16 && pixels == width {
          target.storeBytes(of: first.lowHalf, as: SIMD4<Int32>.self)
          (target + pixelStride).storeBytes(of: first.highHalf, as: SIMD4<Int32>.self)
          (target + next).storeBytes(of: second.lowHalf, as: SIMD4<Int32>.self)
          (target + (next &+ pixelStride)).storeBytes(of: second.highHalf, as: SIMD4<Int32>.self)
        } else {
          storePart(first, target, pixels)
          storePart(second, target + next, rows == 2 ? pixels : pixels &- 2)
        }
      } else {
        (memory[0], memory[1], memory[2], memory[3]) = (s.lower0, s.upper0, s.lower1, s.upper1)
        (memory[4], memory[5], memory[6], memory[7]) = (s.lower2, s.upper2, s.lower3, s.upper3)
        storeExactly(memory, target, pixels)
        storeExactly(memory + 4, target + next, rows == 2 ? pixels : pixels &- 2)
      }
      target += width &* pixelStride
      column &+= width
    }
  }

  /// Bytes of two neighbours.
  @inline(__always)
  private func bytes(_ words0: Lanes, _ words1: Lanes) -> Lanes {
    let bytes = minimum_bytes_x8(maximum_bytes_x8(pack_bytes_x8(words0, words1), minimum), maximum)
    return permute_x8(bytes, Lanes(0, 4, 1, 5, 2, 6, 3, 7))
  }

  /// Stores the first channels of two neighbours, as far as there are pixels.
  @inline(never)
  private func storePart(_ bytes: Lanes, _ target: UnsafeMutableRawPointer, _ pixels: Int) {
    if pixels > 0 { storeBytes(bytes.lowHalf, target, panel.channels) }
    if pixels > 1 { storeBytes(bytes.highHalf, target + pixelStride, panel.channels) }
  }

  /// The same from sums, by `doubled`.
  @inline(never)
  private func storeExactly(
    _ sums: UnsafePointer<Lanes>, _ target: UnsafeMutableRawPointer, _ pixels: Int
  ) {
    var saturating = false
    for i in 0..<16 where panel.shift[i] < 32 { saturating = true }
    let lower = requantization(multiplier: load(panel.multiplier), shift: load(panel.shift))
    let upper = requantization(multiplier: load(panel.multiplier + 8), shift: load(panel.shift + 8))
    let offset = Lanes(repeating: (1 &+ 2 &* zeroPoint) &* 0x0001_0001)
    @inline(__always)
    func words(_ sums: UnsafePointer<Lanes>) -> Lanes {
      let twice = pack_words_x8(
        doubled(sums[0], lower, saturating: saturating), doubled(sums[1], upper, saturating: saturating))
      return halve_words_x8(add_words_saturating_x8(twice, offset))
    }
    storePart(bytes(words(sums), words(sums + 2)), target, pixels)
  }
}
