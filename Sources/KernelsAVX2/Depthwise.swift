import CInstructions
import KernelInterface

// Two taps of 16 channels are interleaved, widened to words and multiplied in pairs. Where each tap of four neighbouring
// pixels reads is found once for all channels, so that taps outside the image are nothing but other addresses.

/// Of rearranged weights and parameters.
package func depthwisePreparedBytesAVX2(_ layer: DepthwiseLayer, _: DepthwisePlan) -> Int {
  Panel.count(layer) &* Panel.byteCount(layer)
}

/// Of the addresses of taps and a pixel of zero points.
package func depthwiseScratchBytesAVX2(_ layer: DepthwiseLayer, _: DepthwisePlan) -> Int {
  8 &* pixelsAtOnce &* 2 &* pairs(layer) &+ 16 &* Panel.count(layer)
}

/// Rearranges weights and parameters.
package func depthwisePrepareAVX2(
  _ layer: DepthwiseLayer, _: DepthwisePlan, _ parameters: DepthwiseParameters,
  _ memory: UnsafeMutableRawPointer
) {
  for index in 0..<Panel.count(layer) {
    let panel = Panel(layer, index, memory)
    for i in 0..<16 {
      let channel = 16 &* index &+ i, exists = channel < layer.channels
      panel.bias[i] = exists ? parameters.bias[channel] : 0
      panel.multiplier[i] = exists ? parameters.multiplier[channel] : 0
      panel.shift[i] = exists ? parameters.shift[channel] : 31
      panel.scale[i] = 0
      if exists, let scales = parameters.scale {
        panel.scale[i] = Int32(bitPattern: scales[channel].bitPattern)
      }
      for tap in 0..<2 &* pairs(layer) {
        let isWeight = exists && tap < layer.taps
        panel.weights[32 &* (tap / 2) &+ 2 &* i &+ tap % 2] =
          isWeight ? Int16(parameters.weights[channel &* layer.taps &+ tap]) : 0
      }
    }
  }
}

/// Depthwise convolution of some rows.
package func convolutionDepthwiseAVX2(_ arguments: DepthwiseArguments, _ first: Int, _ count: Int) {
  let layer = arguments.layer, taps = 2 &* pairs(layer), panels = Panel.count(layer)
  let addresses = arguments.scratch.assumingMemoryBound(to: UnsafeRawPointer.self)
  let outside = UnsafeMutableRawPointer(addresses + pixelsAtOnce &* taps)
  outside.initializeMemory(as: UInt8.self, repeating: layer.inputZeroPoint, count: 16 &* panels)
  for y in first..<first &+ count {
    var x = 0
    while x < layer.outputWidth {
      let pixels = min(pixelsAtOnce, layer.outputWidth &- x)
      // A missing pixel repeats the last one.
      for pixel in 0..<pixelsAtOnce {
        findTaps(arguments, y, x &+ min(pixel, pixels &- 1), outside: outside, addresses + pixel)
      }
      let output = UnsafeMutableRawPointer(
        arguments.output + (y &* layer.outputRowStride &+ x &* layer.outputPixelStride))
      for index in 0..<panels {
        let panel = Panel(layer, index, UnsafeMutableRawPointer(mutating: arguments.prepared))
        panel.compute(layer, addresses, channel: 16 &* index, output + 16 &* index, pixels: pixels)
      }
      x &+= pixelsAtOnce
    }
  }
}

/// Pixels that share weights.
private let pixelsAtOnce = 4

@inline(__always)
private func pairs(_ layer: DepthwiseLayer) -> Int { (layer.taps &+ 1) / 2 }

/// Where the taps of one output pixel read their first channel: `addresses[pixelsAtOnce * tap]`. A tap that completes the
/// last pair has no weight.
private func findTaps(
  _ arguments: DepthwiseArguments, _ y: Int, _ x: Int, outside: UnsafeMutableRawPointer,
  _ addresses: UnsafeMutablePointer<UnsafeRawPointer>
) {
  let layer = arguments.layer
  var address = addresses
  var row = y &* layer.strideRows &- layer.padTop
  for _ in 0..<layer.kernelHeight {
    let isRowInside = row >= 0 && row < layer.inputHeight
    var column = x &* layer.strideColumns &- layer.padLeft
    for _ in 0..<layer.kernelWidth {
      let isInside = isRowInside && column >= 0 && column < layer.inputWidth
      let place = row &* layer.inputRowStride &+ column &* layer.inputPixelStride
      address.pointee = isInside ? UnsafeRawPointer(arguments.input + place) : UnsafeRawPointer(outside)
      address += pixelsAtOnce
      column &+= layer.dilationColumns
    }
    row &+= layer.dilationRows
  }
  if layer.taps % 2 != 0 { address.pointee = UnsafeRawPointer(outside) }
}

/// Sums of 16 channels of a pixel.
private struct Sums {
  var lower: Lanes
  var upper: Lanes

  /// Adds two taps.
  @inline(__always)
  mutating func add(
    _ addresses: UnsafePointer<UnsafeRawPointer>, _ channel: Int, _ lowerWeights: Lanes, _ upperWeights: Lanes
  ) {
    let even = (addresses[0] + channel).loadUnaligned(as: SIMD4<Int32>.self)
    let odd = (addresses[pixelsAtOnce] + channel).loadUnaligned(as: SIMD4<Int32>.self)
    lower = lower &+ dot2_words_x8(widen_bytes_x8(interleave_low_bytes_x4(even, odd)), lowerWeights)
    upper = upper &+ dot2_words_x8(widen_bytes_x8(interleave_high_bytes_x4(even, odd)), upperWeights)
  }
}

/// What 16 channels are computed with.
private struct Panel {
  let bias: UnsafeMutablePointer<Int32>
  let multiplier: UnsafeMutablePointer<Int32>
  let shift: UnsafeMutablePointer<Int32>
  let scale: UnsafeMutablePointer<Int32>
  /// `[pair of taps][channel][tap of the pair]`
  let weights: UnsafeMutablePointer<Int16>

  @inline(__always)
  init(_ layer: DepthwiseLayer, _ index: Int, _ prepared: UnsafeMutableRawPointer) {
    bias = (prepared + index &* Panel.byteCount(layer)).assumingMemoryBound(to: Int32.self)
    multiplier = bias + 16
    shift = bias + 32
    scale = bias + 48
    weights = UnsafeMutableRawPointer(bias + 64).assumingMemoryBound(to: Int16.self)
  }

  static func count(_ layer: DepthwiseLayer) -> Int { (layer.storedChannels &+ 15) / 16 }
  static func byteCount(_ layer: DepthwiseLayer) -> Int { 256 &+ 64 &* pairs(layer) }

  /// Computes and stores these channels of some pixels.
  @inline(__always)
  func compute(
    _ layer: DepthwiseLayer, _ addresses: UnsafePointer<UnsafeRawPointer>, channel: Int,
    _ output: UnsafeMutableRawPointer, pixels: Int
  ) {
    let start = Sums(lower: load(bias), upper: load(bias + 8))
    var s0 = start, s1 = start, s2 = start, s3 = start
    for pair in 0..<pairs(layer) {
      let lower = load(weights + 32 &* pair), upper = load(weights + (32 &* pair &+ 16))
      let taps = addresses + 2 &* pixelsAtOnce &* pair
      s0.add(taps, channel, lower, upper)
      s1.add(taps + 1, channel, lower, upper)
      s2.add(taps + 2, channel, lower, upper)
      s3.add(taps + 3, channel, lower, upper)
    }
    let finish = PixelOutput(layer, self), channels = min(16, layer.storedChannels &- channel)
    let stride = layer.outputPixelStride
    finish.store(s0, output, channels)
    if pixels > 1 { finish.store(s1, output + stride, channels) }
    if pixels > 2 { finish.store(s2, output + 2 &* stride, channels) }
    if pixels > 3 { finish.store(s3, output + 3 &* stride, channels) }
  }
}

/// From sums to stored bytes, by one fused multiply-add where that is exact.
private struct PixelOutput {
  private let panel: Panel
  private let isFused: Bool
  private let zeroPoint: Int32
  private let minimum: Lanes
  private let maximum: Lanes

  @inline(__always)
  init(_ layer: DepthwiseLayer, _ panel: Panel) {
    self.panel = panel
    isFused = layer.isFused
    zeroPoint = layer.outputZeroPoint
    minimum = Lanes(repeating: layer.clampMinimum &* 0x0101_0101)
    maximum = Lanes(repeating: layer.clampMaximum &* 0x0101_0101)
  }

  @inline(__always)
  func store(_ sums: Sums, _ destination: UnsafeMutableRawPointer, _ channels: Int) {
    let words: Lanes
    if isFused {
      // 1.5 * 2^23 + zeroPoint: its unit in the last place is 1.
      let magic = Lanes(repeating: 0x4B40_0000 &+ zeroPoint)
      words = pack_words_x8(
        multiply_add_floats_x8(sums.lower, load(panel.scale), magic) &- 0x4B40_0000,
        multiply_add_floats_x8(sums.upper, load(panel.scale + 8), magic) &- 0x4B40_0000)
    } else {
      words = exactWords(sums)
    }
    let bytes = minimum_bytes_x8(maximum_bytes_x8(pack_bytes_x8(words, words), minimum), maximum)
    // Each half has channels 0...3 and 8...11, or 4...7 and 12...15.
    storeBytes(permute_x8(bytes, Lanes(0, 4, 1, 5, 2, 6, 3, 7)).lowHalf, destination, channels)
  }

  /// As `storeExactly` does.
  @inline(never)
  private func exactWords(_ sums: Sums) -> Lanes {
    var saturating = false
    for i in 0..<16 where panel.shift[i] < 32 && panel.multiplier[i] != 0 { saturating = true }
    let lower = requantization(multiplier: load(panel.multiplier), shift: load(panel.shift))
    let upper = requantization(multiplier: load(panel.multiplier + 8), shift: load(panel.shift + 8))
    let twice = pack_words_x8(
      doubled(sums.lower, lower, saturating: saturating), doubled(sums.upper, upper, saturating: saturating))
    let offset = Lanes(repeating: (1 &+ 2 &* zeroPoint) &* 0x0001_0001)
    return halve_words_x8(add_words_saturating_x8(twice, offset))
  }
}
