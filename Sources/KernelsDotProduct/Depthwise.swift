import CInstructions
import KernelInterface
import KernelsNEON

// 16 channels at a time. A first pass over the input interleaves the four bytes of a plane's lanes, so that 64 bytes are a
// column of a plane, and makes them signed, as in the dense kernels. The second pass is dot products of whole vectors,
// where a tap's column is an offset.

@export(interface)
package func depthwisePreparedBytesDotProduct(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  DepthwisePanel.preparedBytes(layer, weightBytes: weightBytes(plan))
}

@export(interface)
package func depthwiseScratchBytesDotProduct(_: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  Scratch.byteCount(plan)
}

private func weightBytes(_ plan: DepthwisePlan) -> Int { 64 &* plan.rows &* plan.termCount }

/// Weights `[panel][term][row of the plan][channel][lane]`.
@export(interface)
package func depthwisePrepareDotProduct(
  _ layer: DepthwiseLayer, _ plan: DepthwisePlan, _ parameters: DepthwiseParameters,
  _ memory: UnsafeMutableRawPointer
) {
  for index in 0..<DepthwisePanel.count(layer) {
    let panel = DepthwisePanel(memory, index, weightBytes: weightBytes(plan))
    panel.fill(layer, parameters, index)
    for i in 0..<16 {
      let channel = 16 &* index &+ i
      let weights = channel < layer.channels ? parameters.weights + channel &* layer.taps : nil
      if let weights {
        for tap in 0..<layer.taps { panel.bias[i] &+= 128 &* Int32(weights[tap]) }
      }
      for number in 0..<plan.termCount {
        let term = plan.terms[number], target = panel.weights + (64 &* plan.rows &* number &+ 4 &* i)
        for lane in 0..<4 {
          target[lane] = weight(weights, term.upper[lane])
          if plan.rows == 2 { target[64 &+ lane] = weight(weights, term.lower[lane]) }
        }
      }
    }
  }
}

private func weight(_ weights: UnsafePointer<Int8>?, _ tap: Int32) -> Int8 {
  guard let weights, tap >= 0 else { return 0 }
  return weights[Int(tap)]
}

/// What a call needs: some columns of the planes and of the sums.
private struct Scratch {
  /// Output columns that are computed between two looks at the constants; a multiple of a tile's.
  static let columns = 32
  /// 16 zero points.
  let outside: UnsafeMutableRawPointer
  /// `[row of the plan][column]`
  let sums: UnsafeMutablePointer<Lanes>
  /// `[plane][column]`
  let planes: UnsafeMutableRawPointer
  let columnsOfPlane: Int

  init(_ plan: DepthwisePlan, _ memory: UnsafeMutableRawPointer) {
    outside = memory
    sums = (memory + 64).assumingMemoryBound(to: Lanes.self)
    planes = memory + 64 &* (1 &+ plan.rows &* Self.columns)
    columnsOfPlane = Self.columns &+ plan.reach
  }

  static func byteCount(_ plan: DepthwisePlan) -> Int {
    64 &* (1 &+ plan.rows &* columns &+ plan.planeCount &* (columns &+ plan.reach))
  }

  func plane(_ number: Int) -> UnsafeMutablePointer<Lanes> {
    (planes + 64 &* (number &* columnsOfPlane)).assumingMemoryBound(to: Lanes.self)
  }

  func sums(row: Int) -> UnsafeMutablePointer<Lanes> { sums + 4 &* (row &* Self.columns) }
}

/// Depthwise convolution of some rows, two at a time where they share inputs.
@export(interface)
package func convolutionDepthwiseDotProduct(_ arguments: DepthwiseArguments, _ first: Int, _ count: Int) {
  let layer = arguments.layer, plan = arguments.plan
  let scratch = Scratch(plan, arguments.scratch)
  scratch.outside.initializeMemory(as: UInt8.self, repeating: layer.inputZeroPoint, count: 16)
  let prepared = UnsafeMutableRawPointer(mutating: arguments.prepared)
  var y = first
  while y < first &+ count {
    let rows = min(plan.rows, first &+ count &- y)
    for index in 0..<DepthwisePanel.count(layer) {
      let panel = DepthwisePanel(prepared, index, weightBytes: weightBytes(plan))
      let output = panel.output(layer)
      let channels = min(16, layer.storedChannels &- 16 &* index)
      var x = 0
      while x < layer.outputWidth {
        let columns = min(Scratch.columns, layer.outputWidth &- x)
        for number in 0..<plan.planeCount {
          interleave(
            arguments, scratch, plan.planes[number], channel: 16 &* index, y, x, columns &+ plan.reach,
            into: scratch.plane(number))
        }
        if plan.rows == 2 {
          depthwiseTile4(panel, plan, scratch, columns)
        } else {
          depthwiseRowTile4(panel, plan, scratch, columns)
        }
        for row in 0..<rows {
          let place = (y &+ row) &* layer.outputRowStride &+ x &* layer.outputPixelStride &+ 16 &* index
          output.store(
            scratch.sums(row: row), pixels: columns, UnsafeMutableRawPointer(arguments.output + place),
            pixelStride: layer.outputPixelStride, channels: channels)
        }
        x &+= columns
      }
    }
    y &+= plan.rows
  }
}

// MARK: - First pass

/// Where a lane reads: at every column of the plane in `inside`, and zero points elsewhere.
private struct Lane {
  private let base: UnsafeRawPointer
  private let outside: UnsafeRawPointer
  let stride: Int
  let inside: Range<Int>

  /// - Parameter x: the output column of the plane's column 0.
  init(
    _ arguments: DepthwiseArguments, _ scratch: Scratch, _ plane: DepthwisePlan.Plane, _ lane: Int,
    channel: Int, _ y: Int, _ x: Int, _ columns: Int
  ) {
    let layer = arguments.layer
    outside = UnsafeRawPointer(scratch.outside)
    let row = y &* layer.strideRows &- layer.padTop &+ Int(plane.rows[lane])
    if plane.rows[lane] < 0 || row < 0 || row >= layer.inputHeight {
      (base, stride, inside) = (outside, 0, 0..<columns)
    } else {
      let column = x &* layer.strideColumns &- layer.padLeft &+ Int(plane.columns[lane])
      stride = layer.strideColumns &* layer.inputPixelStride
      base =
        UnsafeRawPointer(arguments.input)
        + (row &* layer.inputRowStride &+ column &* layer.inputPixelStride &+ channel)
      let lower = min(max((0 &- column &+ layer.strideColumns &- 1) / layer.strideColumns, 0), columns)
      let upper = (layer.inputWidth &- column &+ layer.strideColumns &- 1) / layer.strideColumns
      inside = lower..<max(lower, min(upper, columns))
    }
  }

  @inline(__always)
  subscript(column: Int) -> UnsafeRawPointer {
    inside.contains(column) ? base + column &* stride : outside
  }
}

/// Columns of a plane, as signed bytes.
@inline(never)
private func interleave(
  _ arguments: DepthwiseArguments, _ scratch: Scratch, _ plane: DepthwisePlan.Plane, channel: Int, _ y: Int,
  _ x: Int, _ columns: Int, into target: UnsafeMutablePointer<Lanes>
) {
  let lane0 = Lane(arguments, scratch, plane, 0, channel: channel, y, x, columns)
  let lane1 = Lane(arguments, scratch, plane, 1, channel: channel, y, x, columns)
  let lane2 = Lane(arguments, scratch, plane, 2, channel: channel, y, x, columns)
  let lane3 = Lane(arguments, scratch, plane, 3, channel: channel, y, x, columns)
  let lower = max(
    lane0.inside.lowerBound, lane1.inside.lowerBound, lane2.inside.lowerBound, lane3.inside.lowerBound)
  let upper = max(
    lower,
    min(lane0.inside.upperBound, lane1.inside.upperBound, lane2.inside.upperBound, lane3.inside.upperBound))
  for column in 0..<lower {
    store(lane0[column], lane1[column], lane2[column], lane3[column], target + 4 &* column)
  }
  if lower < upper {
    var x0 = lane0[lower], x1 = lane1[lower], x2 = lane2[lower], x3 = lane3[lower]
    for column in lower..<upper {
      store(x0, x1, x2, x3, target + 4 &* column)
      x0 += lane0.stride
      x1 += lane1.stride
      x2 += lane2.stride
      x3 += lane3.stride
    }
  }
  for column in upper..<columns {
    store(lane0[column], lane1[column], lane2[column], lane3[column], target + 4 &* column)
  }
}

/// One column of a plane.
@inline(__always)
private func store(
  _ x0: UnsafeRawPointer, _ x1: UnsafeRawPointer, _ x2: UnsafeRawPointer, _ x3: UnsafeRawPointer,
  _ target: UnsafeMutablePointer<Lanes>
) {
  let flips = Lanes(repeating: Int32(bitPattern: 0x8080_8080))
  let v0 = load(x0) ^ flips, v1 = load(x1) ^ flips, v2 = load(x2) ^ flips, v3 = load(x3) ^ flips
  let low01 = interleave_low_bytes_x4(v0, v1), low23 = interleave_low_bytes_x4(v2, v3)
  let high01 = interleave_high_bytes_x4(v0, v1), high23 = interleave_high_bytes_x4(v2, v3)
  target[0] = interleave_low_words_x4(low01, low23)
  target[1] = interleave_high_words_x4(low01, low23)
  target[2] = interleave_low_words_x4(high01, high23)
  target[3] = interleave_high_words_x4(high01, high23)
}

// MARK: - Second pass

/// The sums of two rows, two columns at a time: 16 accumulators.
@inline(never)
private func depthwiseTile4(
  _ panel: DepthwisePanel, _ plan: DepthwisePlan, _ scratch: Scratch, _ columns: Int
) {
  let upper = scratch.sums(row: 0), lower = scratch.sums(row: 1)
  let bias = Row(UnsafeRawPointer(panel.bias))
  for column in stride(from: 0, to: columns, by: 2) {
    var upper0 = bias, upper1 = bias, lower0 = bias, lower1 = bias
    var w = UnsafeRawPointer(panel.weights)
    for number in 0..<plan.termCount {
      let term = plan.terms[number]
      let x = UnsafeRawPointer(scratch.plane(Int(term.plane)) + 4 &* (column &+ Int(term.offset)))
      let x0 = Row(x), upperWeights = Row(w)
      upper0.addProducts(upperWeights, x0)
      let lowerWeights = Row(w + 64)
      lower0.addProducts(lowerWeights, x0)
      let x1 = Row(x + 64)
      upper1.addProducts(upperWeights, x1)
      lower1.addProducts(lowerWeights, x1)
      w += 128
    }
    upper0.store(upper + 4 &* column)
    upper1.store(upper + 4 &* (column &+ 1))
    lower0.store(lower + 4 &* column)
    lower1.store(lower + 4 &* (column &+ 1))
  }
}

/// The sums of one row, four columns at a time.
@inline(never)
private func depthwiseRowTile4(
  _ panel: DepthwisePanel, _ plan: DepthwisePlan, _ scratch: Scratch, _ columns: Int
) {
  let sums = scratch.sums(row: 0)
  let bias = Row(UnsafeRawPointer(panel.bias))
  for column in stride(from: 0, to: columns, by: 4) {
    var row0 = bias, row1 = bias, row2 = bias, row3 = bias
    var w = UnsafeRawPointer(panel.weights)
    for number in 0..<plan.termCount {
      let term = plan.terms[number], weights = Row(w)
      let x = UnsafeRawPointer(scratch.plane(Int(term.plane)) + 4 &* (column &+ Int(term.offset)))
      row0.addProducts(weights, Row(x))
      row1.addProducts(weights, Row(x + 64))
      row2.addProducts(weights, Row(x + 128))
      row3.addProducts(weights, Row(x + 192))
      w += 64
    }
    row0.store(sums + 4 &* column)
    row1.store(sums + 4 &* (column &+ 1))
    row2.store(sums + 4 &* (column &+ 2))
    row3.store(sums + 4 &* (column &+ 3))
  }
}
