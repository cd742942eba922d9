import CInstructions
import KernelInterface

// Four neighbouring outputs of 64 channels are computed at once, in 16 vectors of sums, straight from the image: a vector
// of 64 bytes is one pixel, and four of them interleaved give dot products four neighbouring inputs of every channel
// (DepthwiseWindow.swift). Interleaving moves bytes within quarters only: of the four vectors that it makes, quarter q of
// vector k holds channels 4 k ... 4 k + 3 of unit q, and packing results restores the order (DepthwiseOutput.swift). Where
// 32 or 16 channels are left, a vector has that many of two or four pixels, as far apart as the four outputs reach: so
// eight or 16 outputs are computed at once. No sums wait in memory, and nothing but the image is read twice.
// Wide windows need fewer dot products in DepthwisePlanes.swift.

// What several files know are tuples here, since what copies such a struct is a weak symbol in debug builds.

/// How a window's rows are cut into dot products of four columns.
///
/// - `sharing`: the step, in columns, at which the windows of neighbouring outputs share inputs. 1: two outputs each
///   have their inputs among the same four. 2: an output has two of its four inputs from each neighbour. 0: any other
///   step; nothing is shared.
/// - `positions`: weights by position of the window in the four inputs: two with steps of one column.
/// - `quads`: dot products of a row of the window.
/// - `slots`: vectors of 64 bytes that a dot product reads.
typealias DepthwiseCut = (sharing: Int, positions: Int, quads: Int, slots: Int)

@inline(__always)
func depthwiseCut(_ layer: DepthwiseLayer) -> DepthwiseCut {
  let sharing = layer.dilationColumns == 1 && layer.strideColumns <= 2 ? layer.strideColumns : 0
  let positions = sharing == 1 ? 2 : 1
  return (
    sharing, positions, (layer.kernelWidth &+ positions &+ 2) / 4, sharing == 1 ? 6 : sharing == 2 ? 10 : 16
  )
}

/// The input column of a slot, counted from the first one of the first output's window.
@inline(__always)
func inputColumn(_ cut: DepthwiseCut, _ layer: DepthwiseLayer, quad: Int, slot: Int) -> Int {
  cut.sharing == 0
    ? slot / 4 &* layer.strideColumns &+ (4 &* quad &+ slot % 4) &* layer.dilationColumns : 4 &* quad &+ slot
}

// MARK: - Blocks of channels

/// What 64 channels, or the 32 or 16 that are left, are computed with, in vectors; those of single channels come in
/// fours. `pixels` of a vector: 1, 2 or 4.
typealias DepthwiseBlock = (
  firstChannel: Int, channels: Int, pixels: Int, memory: UnsafeMutablePointer<Lanes>
)

@inline(__always)
func depthwiseBlock(_ layer: DepthwiseLayer, _ index: Int, _ prepared: UnsafeRawPointer) -> DepthwiseBlock {
  let firstChannel = 64 &* index, channels = min(64, layer.storedChannels &- firstChannel)
  return (
    firstChannel, channels, channels > 32 ? 1 : channels > 16 ? 2 : 4,
    UnsafeMutableRawPointer(mutating: prepared).assumingMemoryBound(to: Lanes.self)
      + index &* blockVectors(layer)
  )
}

private func blockCount(_ layer: DepthwiseLayer) -> Int { (layer.storedChannels &+ 63) / 64 }
private func blockVectors(_ layer: DepthwiseLayer) -> Int {
  let cut = depthwiseCut(layer)
  return 25 &+ 4 &* layer.kernelHeight &* cut.quads &* cut.positions
}

/// Whether the exact last step must saturate.
@inline(__always)
func isSaturating(_ block: DepthwiseBlock) -> UnsafeMutablePointer<Bool> {
  UnsafeMutableRawPointer(block.memory).assumingMemoryBound(to: Bool.self)
}
/// Whether 16 bits hold every result before it is clamped.
@inline(__always)
func fitsWords(_ block: DepthwiseBlock) -> UnsafeMutablePointer<Bool> { isSaturating(block) + 1 }
@inline(__always)
func bias(_ block: DepthwiseBlock) -> UnsafeMutablePointer<Lanes> { block.memory + 1 }
@inline(__always)
func scale(_ block: DepthwiseBlock) -> UnsafeMutablePointer<Lanes> { block.memory + 5 }
@inline(__always)
func requantizations(_ block: DepthwiseBlock) -> UnsafeMutablePointer<Requantization> {
  UnsafeMutableRawPointer(block.memory + 9).assumingMemoryBound(to: Requantization.self)
}
/// `[row of the window][quad][position][k]`
@inline(__always)
func weights(_ block: DepthwiseBlock) -> UnsafeMutablePointer<Lanes> { block.memory + 25 }

/// The channel in lane i of vector k, if there is one.
private func channel(_ block: DepthwiseBlock, _ layer: DepthwiseLayer, _ k: Int, _ i: Int) -> Int? {
  let channel = block.firstChannel &+ 16 &* (i / 4 % (4 / block.pixels)) &+ 4 &* k &+ i % 4
  return channel < layer.channels ? channel : nil
}

/// Of rearranged weights and parameters.
package func depthwisePreparedBytesAVX512VNNI(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  64 &* blockCount(layer) &* blockVectors(layer)
}

/// Rearranges weights and parameters.
package func depthwisePrepareAVX512VNNI(
  _ layer: DepthwiseLayer, _ plan: DepthwisePlan, _ parameters: DepthwiseParameters,
  _ memory: UnsafeMutableRawPointer
) {
  let cut = depthwiseCut(layer)
  for index in 0..<blockCount(layer) {
    let block = depthwiseBlock(layer, index, memory)
    let channels = block.firstChannel..<min(block.firstChannel &+ 64, layer.channels)
    isSaturating(block).pointee = needsSaturation(
      parameters.shift + block.firstChannel, channels: channels.count)
    fitsWords(block).pointee = fitsWords(layer, parameters, channels)
    for k in 0..<4 {
      var bias = Lanes.zero, scale = Lanes.zero, multiplier = Lanes.zero, shift = Lanes(repeating: 31)
      for i in 0..<16 {
        guard let channel = channel(block, layer, k, i) else { continue }
        bias[i] = parameters.bias[channel]
        multiplier[i] = parameters.multiplier[channel]
        shift[i] = parameters.shift[channel]
        if let scales = parameters.scale { scale[i] = Int32(bitPattern: scales[channel].bitPattern) }
      }
      KernelsAVX512VNNI.bias(block)[k] = bias
      KernelsAVX512VNNI.scale(block)[k] = scale
      requantizations(block)[k] = requantization(multiplier: multiplier, shift: shift)
    }
    var target = weights(block)
    for row in 0..<layer.kernelHeight {
      for quad in 0..<cut.quads {
        for position in 0..<cut.positions {
          for k in 0..<4 {
            target.pointee = quadWeights(
              layer, parameters, block, row: row, column: 4 &* quad &- position, k)
            target += 1
          }
        }
      }
    }
  }
}

/// The weights of four columns from `column` for vector k; zeros where the window has none.
private func quadWeights(
  _ layer: DepthwiseLayer, _ parameters: DepthwiseParameters, _ block: DepthwiseBlock, row: Int, column: Int,
  _ k: Int
) -> Lanes {
  var weights = Lanes.zero
  for i in 0..<16 {
    guard let channel = channel(block, layer, k, i) else { continue }
    var lane: UInt32 = 0
    for j in max(0, column)..<max(0, min(column &+ 4, layer.kernelWidth)) {
      let weight = parameters.weights[channel &* layer.taps &+ row &* layer.kernelWidth &+ j]
      lane |= UInt32(UInt8(bitPattern: weight)) &<< UInt32(truncatingIfNeeded: 8 &* (j &- column))
    }
    weights[i] = Int32(bitPattern: lane)
  }
  return weights
}

/// Whether 16 bits hold the zero point plus every result of any inputs.
private func fitsWords(
  _ layer: DepthwiseLayer, _ parameters: DepthwiseParameters, _ channels: Range<Int>
) -> Bool {
  guard let scales = parameters.scale else { return false }
  for channel in channels {
    var least = Int64(parameters.bias[channel]), most = least
    for tap in 0..<layer.taps {
      let product = 255 &* Int64(parameters.weights[channel &* layer.taps &+ tap])
      if product < 0 { least &+= product } else { most &+= product }
    }
    // 255 for the zero point, and more than enough for the rounding.
    guard Float(max(most, -least)) * scales[channel] < 32_000 else { return false }
  }
  return true
}

// MARK: - Walk

/// Of what a call computes: `DepthwiseOutput`'s, `DepthwiseWindow`'s and the masks.
package func depthwiseScratchBytesAVX512VNNI(_ layer: DepthwiseLayer, _ plan: DepthwisePlan) -> Int {
  let cut = depthwiseCut(layer), vectors = (layer.outputWidth &+ 3) / 4 &+ 3
  return depthwiseOutputScratchBytes &+ depthwiseWindowByteCount(layer, cut)
    &+ 8 &* cut.quads &* cut.slots &* vectors
}

/// Depthwise convolution of some rows.
package func convolutionDepthwiseAVX512VNNI(_ arguments: DepthwiseArguments, _ first: Int, _ count: Int) {
  let cut = depthwiseCut(arguments.layer)
  for index in 0..<blockCount(arguments.layer) {
    let block = depthwiseBlock(arguments.layer, index, arguments.prepared)
    switch (cut.sharing, block.pixels) {
    case (1, 1): stepOne1(arguments, cut, block, first, count)
    case (1, 2): stepOne2(arguments, cut, block, first, count)
    case (1, _): stepOne4(arguments, cut, block, first, count)
    case (2, 1): stepTwo1(arguments, cut, block, first, count)
    case (2, 2): stepTwo2(arguments, cut, block, first, count)
    case (2, _): stepTwo4(arguments, cut, block, first, count)
    case (_, 1): separate1(arguments, cut, block, first, count)
    case (_, 2): separate2(arguments, cut, block, first, count)
    case (_, _): separate4(arguments, cut, block, first, count)
    }
  }
}

// One function for every form of tiles: the compiler inlines no more into one.

@inline(never)
private func stepOne1(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int
) {
  convolve(
    arguments, cut, block, first, count, pixels: 1,
    inside: { window, sums, weights, source in
      addStepOne(&sums, weights) { slot in
        onePixel { source + sharedOffset(window, slot, $0) }
      }
    },
    anywhere: { window, sums, weights, source, masks, quad in
      addStepOne(&sums, weights) { slot in
        onePixel {
          inside(window, source + sharedOffset(window, slot, $0), masks, quad, 1 &* slot &+ $0)
        }
      }
    })
}

@inline(never)
private func stepOne2(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int
) {
  convolve(
    arguments, cut, block, first, count, pixels: 2,
    inside: { window, sums, weights, source in
      addStepOne(&sums, weights) { slot in
        twoPixels { source + sharedOffset(window, slot, $0) }
      }
    },
    anywhere: { window, sums, weights, source, masks, quad in
      addStepOne(&sums, weights) { slot in
        twoPixels {
          inside(window, source + sharedOffset(window, slot, $0), masks, quad, 2 &* slot &+ $0)
        }
      }
    })
}

@inline(never)
private func stepOne4(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int
) {
  convolve(
    arguments, cut, block, first, count, pixels: 4,
    inside: { window, sums, weights, source in
      addStepOne(&sums, weights) { slot in
        fourPixels { source + sharedOffset(window, slot, $0) }
      }
    },
    anywhere: { window, sums, weights, source, masks, quad in
      addStepOne(&sums, weights) { slot in
        fourPixels {
          inside(window, source + sharedOffset(window, slot, $0), masks, quad, 4 &* slot &+ $0)
        }
      }
    })
}

@inline(never)
private func stepTwo1(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int
) {
  convolve(
    arguments, cut, block, first, count, pixels: 1,
    inside: { window, sums, weights, source in
      addStepTwo(&sums, weights) { slot in
        onePixel { source + sharedOffset(window, slot, $0) }
      }
    },
    anywhere: { window, sums, weights, source, masks, quad in
      addStepTwo(&sums, weights) { slot in
        onePixel {
          inside(window, source + sharedOffset(window, slot, $0), masks, quad, 1 &* slot &+ $0)
        }
      }
    })
}

@inline(never)
private func stepTwo2(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int
) {
  convolve(
    arguments, cut, block, first, count, pixels: 2,
    inside: { window, sums, weights, source in
      addStepTwo(&sums, weights) { slot in
        twoPixels { source + sharedOffset(window, slot, $0) }
      }
    },
    anywhere: { window, sums, weights, source, masks, quad in
      addStepTwo(&sums, weights) { slot in
        twoPixels {
          inside(window, source + sharedOffset(window, slot, $0), masks, quad, 2 &* slot &+ $0)
        }
      }
    })
}

@inline(never)
private func stepTwo4(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int
) {
  convolve(
    arguments, cut, block, first, count, pixels: 4,
    inside: { window, sums, weights, source in
      addStepTwo(&sums, weights) { slot in
        fourPixels { source + sharedOffset(window, slot, $0) }
      }
    },
    anywhere: { window, sums, weights, source, masks, quad in
      addStepTwo(&sums, weights) { slot in
        fourPixels {
          inside(window, source + sharedOffset(window, slot, $0), masks, quad, 4 &* slot &+ $0)
        }
      }
    })
}

@inline(never)
private func separate1(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int
) {
  convolve(
    arguments, cut, block, first, count, pixels: 1,
    inside: { window, sums, weights, source in
      addSeparate(&sums, weights) { slot in
        onePixel { source + separateOffset(window, slot, $0) }
      }
    },
    anywhere: { window, sums, weights, source, masks, quad in
      addSeparate(&sums, weights) { slot in
        onePixel {
          inside(window, source + separateOffset(window, slot, $0), masks, quad, 1 &* slot &+ $0)
        }
      }
    })
}

@inline(never)
private func separate2(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int
) {
  convolve(
    arguments, cut, block, first, count, pixels: 2,
    inside: { window, sums, weights, source in
      addSeparate(&sums, weights) { slot in
        twoPixels { source + separateOffset(window, slot, $0) }
      }
    },
    anywhere: { window, sums, weights, source, masks, quad in
      addSeparate(&sums, weights) { slot in
        twoPixels {
          inside(window, source + separateOffset(window, slot, $0), masks, quad, 2 &* slot &+ $0)
        }
      }
    })
}

@inline(never)
private func separate4(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int
) {
  convolve(
    arguments, cut, block, first, count, pixels: 4,
    inside: { window, sums, weights, source in
      addSeparate(&sums, weights) { slot in
        fourPixels { source + separateOffset(window, slot, $0) }
      }
    },
    anywhere: { window, sums, weights, source, masks, quad in
      addSeparate(&sums, weights) { slot in
        fourPixels {
          inside(window, source + separateOffset(window, slot, $0), masks, quad, 4 &* slot &+ $0)
        }
      }
    })
}

/// Some rows of a block of channels, tile by tile. The last tile of a row may overlap the one before it, so that only
/// images narrower than a tile have a ragged one.
///
/// - Parameters:
///   - inside: adds a quad whose inputs lie inside the image.
///   - anywhere: adds any quad, with masks as `inside` takes them.
@inline(__always)
private func convolve(
  _ arguments: DepthwiseArguments, _ cut: DepthwiseCut, _ block: DepthwiseBlock, _ first: Int, _ count: Int,
  pixels: Int,
  inside: (DepthwiseWindow, inout DepthwiseSums, UnsafePointer<Lanes>, UnsafeRawPointer) -> Void,
  anywhere: (
    DepthwiseWindow, inout DepthwiseSums, UnsafePointer<Lanes>, UnsafeRawPointer,
    _ masks: UnsafePointer<Int>, _ quad: Int
  ) -> Void
) {
  let layer = arguments.layer
  let tables = arguments.scratch + depthwiseOutputScratchBytes
  let window = depthwiseWindow(layer, cut, block, tables)
  let width = 4 &* pixels, last = max(0, layer.outputWidth &- width)
  let tiles = (layer.outputWidth &+ width &- 1) / width
  // What lies inside the image is found once for all rows.
  let masks = (tables + depthwiseWindowByteCount(layer, cut)).assumingMemoryBound(to: Int.self)
  let masksOfQuad = cut.slots &* pixels
  for tile in 0..<tiles {
    fillMasks(
      masks + cut.quads &* masksOfQuad &* tile, layer, cut, pixels: pixels, column: min(tile &* width, last))
  }
  let tilesInside = tilesInside(layer, cut, pixels: pixels)
  let output = depthwiseOutput(arguments, block)
  let sourceStep = width &* layer.strideColumns &* layer.inputPixelStride
  let targetStep = width &* layer.outputPixelStride
  for row in first..<first &+ count {
    let inputRow = row &* layer.strideRows &- layer.padTop
    let source =
      UnsafeRawPointer(arguments.input)
      + (inputRow &* layer.inputRowStride &- layer.padLeft &* layer.inputPixelStride &+ block.firstChannel)
    let target =
      UnsafeMutableRawPointer(arguments.output) + (row &* layer.outputRowStride &+ block.firstChannel)
    let lastRow = inputRow &+ (layer.kernelHeight &- 1) &* layer.dilationRows
    let firstInside = inputRow >= 0 && lastRow < layer.inputHeight ? tilesInside.lowerBound : tiles
    fillRowMasks(window, layer, cut, row: inputRow)
    var tile = 0
    while tile < tiles {
      if tile == firstInside {
        var source = source + tile &* sourceStep, target = target + tile &* targetStep
        for _ in tilesInside {
          let sums = windowSums(window, source) { sums, weights, source, _ in
            inside(window, &sums, weights, source)
          }
          store(output, sums, target, pixels: pixels, isWhole: true)
          source += sourceStep
          target += targetStep
        }
        tile = tilesInside.upperBound
        if tile == tiles { break }
      }
      let column = min(tile &* width, last)
      let masks = masks + cut.quads &* masksOfQuad &* tile
      let start = source + column &* layer.strideColumns &* layer.inputPixelStride
      let sums = windowSums(window, start) { sums, weights, source, quad in
        anywhere(window, &sums, weights, source, masks, quad)
      }
      store(
        output, sums, target + column &* layer.outputPixelStride, pixels: pixels,
        isWhole: layer.outputWidth >= width)
      tile &+= 1
    }
  }
}

/// The tiles that only read inside the image, if the rows are; not one that overlaps another.
private func tilesInside(_ layer: DepthwiseLayer, _ cut: DepthwiseCut, pixels: Int) -> Range<Int> {
  let width = 4 &* pixels, step = width &* layer.strideColumns
  let first = (layer.padLeft &+ step &- 1) / step
  let reach =
    inputColumn(cut, layer, quad: cut.quads &- 1, slot: cut.slots &- 1)
    &+ 4 &* (pixels &- 1) &* layer.strideColumns
  let room = layer.inputWidth &- 1 &- reach &+ layer.padLeft
  let end = room < 0 ? 0 : min(room / step &+ 1, layer.outputWidth / width)
  return first..<max(first, end)
}

/// For every slot of every quad, and every pixel of its vector: -1 in columns of the image, otherwise 0.
private func fillMasks(
  _ masks: UnsafeMutablePointer<Int>, _ layer: DepthwiseLayer, _ cut: DepthwiseCut, pixels: Int, column: Int
) {
  var mask = masks
  for quad in 0..<cut.quads {
    for slot in 0..<cut.slots {
      for pixel in 0..<pixels {
        let x =
          (column &+ 4 &* pixel) &* layer.strideColumns &- layer.padLeft
          &+ inputColumn(cut, layer, quad: quad, slot: slot)
        mask.pointee = UInt(bitPattern: x) < UInt(bitPattern: layer.inputWidth) ? -1 : 0
        mask += 1
      }
    }
  }
}
