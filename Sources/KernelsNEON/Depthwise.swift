import CInstructions
import KernelInterface

// Taps are taken in pairs, with the arithmetic of the dense kernels: inputs x of even taps become x - 128, those of odd
// taps 127 - x, whose products are subtracted, so that two products fit 16 bits and the bias makes up for it.

@export(interface)
package func depthwisePreparedBytesNEON(_ layer: DepthwiseLayer, _: DepthwisePlan) -> Int {
  DepthwisePanel.preparedBytes(layer, weightBytes: 16 &* layer.taps)
}

@export(interface)
package func depthwiseScratchBytesNEON(_ layer: DepthwiseLayer, _: DepthwisePlan) -> Int {
  Scratch.byteCount(layer)
}

/// Weights `[panel][tap][channel]`.
@export(interface)
package func depthwisePrepareNEON(
  _ layer: DepthwiseLayer, _: DepthwisePlan, _ parameters: DepthwiseParameters,
  _ memory: UnsafeMutableRawPointer
) {
  for index in 0..<DepthwisePanel.count(layer) {
    let panel = DepthwisePanel(memory, index, weightBytes: 16 &* layer.taps)
    panel.fill(layer, parameters, index)
    for i in 0..<16 {
      let channel = 16 &* index &+ i
      for tap in 0..<layer.taps {
        let weight = channel < layer.channels ? parameters.weights[channel &* layer.taps &+ tap] : 0
        panel.weights[16 &* tap &+ i] = weight
        panel.bias[i] &+= Int32(weight) &* (tap & 1 == 0 ? 128 : 127)
      }
    }
  }
}

/// What a call needs: pixels that share the constants of a panel, and where each of their taps reads.
private struct Scratch {
  static let pixels = 8
  let sums: UnsafeMutablePointer<Lanes>
  /// `[pixel][tap]`
  let taps: UnsafeMutablePointer<UnsafeRawPointer>
  /// A pixel of zero points.
  let outside: UnsafeMutableRawPointer

  init(_ layer: DepthwiseLayer, _ memory: UnsafeMutableRawPointer) {
    sums = memory.assumingMemoryBound(to: Lanes.self)
    taps = (memory + Self.pixels &* 64).assumingMemoryBound(to: UnsafeRawPointer.self)
    outside = memory + Self.pixels &* (64 &+ 8 &* layer.taps)
  }

  static func byteCount(_ layer: DepthwiseLayer) -> Int {
    pixels &* (64 &+ 8 &* layer.taps) &+ 16 &* DepthwisePanel.count(layer)
  }
}

/// Depthwise convolution of some rows, 16 channels of a pixel at a time.
@export(interface)
package func convolutionDepthwiseNEON(_ arguments: DepthwiseArguments, _ first: Int, _ count: Int) {
  let layer = arguments.layer
  let scratch = Scratch(layer, arguments.scratch)
  let panels = DepthwisePanel.count(layer)
  scratch.outside.initializeMemory(as: UInt8.self, repeating: layer.inputZeroPoint, count: 16 &* panels)
  let prepared = UnsafeMutableRawPointer(mutating: arguments.prepared)
  for y in first..<first &+ count {
    var x = 0
    while x < layer.outputWidth {
      let pixels = min(Scratch.pixels, layer.outputWidth &- x)
      for pixel in 0..<pixels {
        findTaps(arguments, scratch, y, x &+ pixel, scratch.taps + pixel &* layer.taps)
      }
      let output = UnsafeMutableRawPointer(
        arguments.output + (y &* layer.outputRowStride &+ x &* layer.outputPixelStride))
      for index in 0..<panels {
        let panel = DepthwisePanel(prepared, index, weightBytes: 16 &* layer.taps)
        for pixel in 0..<pixels {
          depthwiseTile1(
            panel, scratch.taps + pixel &* layer.taps, layer.taps, 16 &* index, scratch.sums + 4 &* pixel)
        }
        panel.output(layer).store(
          scratch.sums, pixels: pixels, output + 16 &* index, pixelStride: layer.outputPixelStride,
          channels: min(16, layer.storedChannels &- 16 &* index))
      }
      x &+= pixels
    }
  }
}

/// Where the taps of one output pixel read their first channel.
@inline(__always)
private func findTaps(
  _ arguments: DepthwiseArguments, _ scratch: Scratch, _ y: Int, _ x: Int,
  _ taps: UnsafeMutablePointer<UnsafeRawPointer>
) {
  let layer = arguments.layer
  var tap = 0
  var row = y &* layer.strideRows &- layer.padTop
  for _ in 0..<layer.kernelHeight {
    let isRowInside = row >= 0 && row < layer.inputHeight
    var column = x &* layer.strideColumns &- layer.padLeft
    for _ in 0..<layer.kernelWidth {
      let isInside = isRowInside && column >= 0 && column < layer.inputWidth
      let place = row &* layer.inputRowStride &+ column &* layer.inputPixelStride
      taps[tap] = isInside ? UnsafeRawPointer(arguments.input + place) : UnsafeRawPointer(scratch.outside)
      tap &+= 1
      column &+= layer.dilationColumns
    }
    row &+= layer.dilationRows
  }
}

/// The sums of 16 channels of one pixel.
@inline(never)
private func depthwiseTile1(
  _ panel: DepthwisePanel, _ taps: UnsafePointer<UnsafeRawPointer>, _ count: Int, _ channel: Int,
  _ sums: UnsafeMutablePointer<Lanes>
) {
  let evenFlips = Lanes(repeating: Int32(bitPattern: 0x8080_8080)), oddFlips = Lanes(repeating: 0x7F7F_7F7F)
  let bias = UnsafeRawPointer(panel.bias), weights = UnsafeRawPointer(panel.weights)
  var s0 = load(bias), s1 = load(bias + 16), s2 = load(bias + 32), s3 = load(bias + 48)
  for pair in 0..<count / 2 {
    let even = load(taps[2 &* pair] + channel) ^ evenFlips
    let odd = load(taps[2 &* pair &+ 1] + channel) ^ oddFlips
    let w = weights + 32 &* pair
    let low = subtract_low_products_x4(multiply_low_bytes_x4(even, load(w)), odd, load(w + 16))
    s0 = add_low_words_x4(s0, low)
    s1 = add_high_words_x4(s1, low)
    let high = subtract_high_products_x4(multiply_high_bytes_x4(even, load(w)), odd, load(w + 16))
    s2 = add_low_words_x4(s2, high)
    s3 = add_high_words_x4(s3, high)
  }
  if count & 1 != 0 {
    let x = load(taps[count &- 1] + channel) ^ evenFlips, w = load(weights + 16 &* (count &- 1))
    let low = multiply_low_bytes_x4(x, w), high = multiply_high_bytes_x4(x, w)
    s0 = add_low_words_x4(s0, low)
    s1 = add_high_words_x4(s1, low)
    s2 = add_low_words_x4(s2, high)
    s3 = add_high_words_x4(s3, high)
  }
  sums[0] = s0
  sums[1] = s1
  sums[2] = s2
  sums[3] = s3
}
