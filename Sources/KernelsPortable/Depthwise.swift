import KernelInterface
import Numerics

// The specification as loops over channels that the optimizer maps to whatever vectors there are.

package var depthwisePortable: DepthwiseKernel {
  DepthwiseKernel(
    "depthwise_portable", needs: [], lanes: 0,
    preparedBytes: { layer, _ in PreparedLayer.byteCount(layer) },
    prepare: { layer, _, parameters, memory in PreparedLayer(layer, memory).fill(layer, parameters) },
    scratchBytes: { layer, _ in 5 * layer.storedChannels }, convolve)
}

/// Parameters and weights of all stored channels, tap after tap.
private struct PreparedLayer {
  let bias: UnsafeMutablePointer<Int32>
  let multiplier: UnsafeMutablePointer<Int32>
  let shift: UnsafeMutablePointer<Int32>
  let weights: UnsafeMutablePointer<Int16>

  init(_ layer: DepthwiseLayer, _ memory: UnsafeMutableRawPointer) {
    bias = memory.assumingMemoryBound(to: Int32.self)
    multiplier = bias + layer.storedChannels
    shift = multiplier + layer.storedChannels
    weights = UnsafeMutableRawPointer(shift + layer.storedChannels).assumingMemoryBound(to: Int16.self)
  }

  static func byteCount(_ layer: DepthwiseLayer) -> Int { layer.storedChannels * (12 + 2 * layer.taps) }

  func fill(_ layer: DepthwiseLayer, _ parameters: DepthwiseParameters) {
    for channel in 0..<layer.storedChannels {
      let exists = channel < layer.channels
      bias[channel] = exists ? parameters.bias[channel] : 0
      multiplier[channel] = exists ? parameters.multiplier[channel] : 0
      shift[channel] = exists ? parameters.shift[channel] : 31
      for tap in 0..<layer.taps {
        weights[tap &* layer.storedChannels &+ channel] =
          exists ? Int16(parameters.weights[channel &* layer.taps &+ tap]) : 0
      }
    }
  }
}

private func convolve(_ arguments: DepthwiseArguments, _ first: Int, _ count: Int) {
  let layer = arguments.layer, channels = layer.storedChannels
  let prepared = PreparedLayer(layer, UnsafeMutableRawPointer(mutating: arguments.prepared))
  let sums = arguments.scratch.assumingMemoryBound(to: Int32.self)
  let outside = UnsafeMutableRawPointer(sums + channels).assumingMemoryBound(to: UInt8.self)
  outside.update(repeating: layer.inputZeroPoint, count: channels)
  for y in first..<first &+ count {
    for x in 0..<layer.outputWidth {
      sums.update(from: prepared.bias, count: channels)
      for tap in 0..<layer.taps {
        let row = y &* layer.strideRows &- layer.padTop &+ tap / layer.kernelWidth &* layer.dilationRows
        let column =
          x &* layer.strideColumns &- layer.padLeft &+ tap % layer.kernelWidth &* layer.dilationColumns
        let isInside = row >= 0 && row < layer.inputHeight && column >= 0 && column < layer.inputWidth
        let place = row &* layer.inputRowStride &+ column &* layer.inputPixelStride
        let pixel = isInside ? arguments.input + place : UnsafePointer(outside)
        let weights = prepared.weights + tap &* channels
        for c in 0..<channels { sums[c] &+= Int32(pixel[c]) &* Int32(weights[c]) }
      }
      let output = arguments.output + (y &* layer.outputRowStride &+ x &* layer.outputPixelStride)
      // In two loops, since clamping alone can use vectors: its branches would be unpredictable.
      for c in 0..<channels {
        sums[c] = requantize(sums[c], prepared.multiplier[c], prepared.shift[c]) &+ layer.outputZeroPoint
      }
      for c in 0..<channels {
        output[c] = UInt8(truncatingIfNeeded: min(max(sums[c], layer.clampMinimum), layer.clampMaximum))
      }
    }
  }
}
