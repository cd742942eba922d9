import KernelInterface
import Numerics

/// Dense convolution with 8-bit weights: the specification as loops, for any processor.
package func convolutionDense8Portable(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let weights = arguments.weights.assumingMemoryBound(to: Int8.self)
  forEachPixelPanel(arguments, first, count) { base, panel, accumulators in
    var w = weights + panel &* arguments.steps &* 64
    for step in 0..<arguments.steps {
      accumulateStep(accumulators, base + Int(arguments.stepOffsets[step]), w)
      w += 64
    }
  }
}

/// Dense convolution with 4-bit weights: each pair of steps is spread into bytes, then is as with 8 bits.
package func convolutionDense4Portable(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let weights = arguments.weights.assumingMemoryBound(to: Int8.self)
  withUnsafeTemporaryAllocation(of: Int8.self, capacity: 128) { buffer in
    guard let low = buffer.baseAddress else { return }
    let high = low + 64
    forEachPixelPanel(arguments, first, count) { base, panel, accumulators in
      var w = weights + panel &* (arguments.steps / 2) &* 64
      for pair in 0..<arguments.steps / 2 {
        for i in 0..<64 {
          low[i] = (w[i] &<< 4) &>> 4
          high[i] = w[i] &>> 4
        }
        accumulateStep(accumulators, base + Int(arguments.stepOffsets[2 &* pair]), low)
        accumulateStep(accumulators, base + Int(arguments.stepOffsets[2 &* pair &+ 1]), high)
        w += 64
      }
    }
  }
}

/// Depthwise convolution: every channel has its own taps.
package func convolutionDepthwisePortable(_ arguments: ConvolutionArguments, _ first: Int, _ count: Int) {
  let weights = arguments.weights.assumingMemoryBound(to: Int8.self)
  forEachPixelPanel(arguments, first, count) { base, panel, accumulators in
    var w = weights + panel &* arguments.steps &* 16
    let channels = base + 16 &* panel
    for tap in stride(from: 0, to: arguments.steps, by: 4) {
      let x0 = channels + Int(arguments.stepOffsets[tap])
      let x1 = channels + Int(arguments.stepOffsets[tap &+ 1])
      let x2 = channels + Int(arguments.stepOffsets[tap &+ 2])
      let x3 = channels + Int(arguments.stepOffsets[tap &+ 3])
      for c in 0..<16 {
        accumulators[c] &+=
          Int32(x0[c]) &* Int32(w[4 &* c]) &+ Int32(x1[c]) &* Int32(w[4 &* c &+ 1])
          &+ Int32(x2[c]) &* Int32(w[4 &* c &+ 2]) &+ Int32(x3[c]) &* Int32(w[4 &* c &+ 3])
      }
      w += 64
    }
  }
}

/// `accumulators[c] += Σ_j x[j] * w[c][j]` for the 16 channels of a panel.
@inline(__always)
private func accumulateStep(
  _ accumulators: UnsafeMutablePointer<Int32>, _ x: UnsafePointer<UInt8>, _ w: UnsafePointer<Int8>
) {
  let x0 = Int16(x[0]), x1 = Int16(x[1]), x2 = Int16(x[2]), x3 = Int16(x[3])
  for c in 0..<16 {
    accumulators[c] &+=
      Int32(x0) &* Int32(w[4 &* c]) &+ Int32(x1) &* Int32(w[4 &* c &+ 1])
      &+ Int32(x2) &* Int32(w[4 &* c &+ 2]) &+ Int32(x3) &* Int32(w[4 &* c &+ 3])
  }
}

/// Calls `accumulate` with every pixel's base and panel number and with 16 accumulators that hold the bias,
/// then requantizes and stores them.
@inline(__always)
private func forEachPixelPanel(
  _ arguments: ConvolutionArguments, _ first: Int, _ count: Int,
  _ accumulate: (_ base: UnsafePointer<UInt8>, _ panel: Int, _ accumulators: UnsafeMutablePointer<Int32>) -> Void
) {
  withUnsafeTemporaryAllocation(of: Int32.self, capacity: 16) { buffer in
    guard let accumulators = buffer.baseAddress else { return }
    for pixel in first..<first &+ count {
      let row = pixel / arguments.outputWidth
      let column = pixel &- row &* arguments.outputWidth
      let base = arguments.input + (row &* arguments.inputRowStride &+ column &* arguments.inputPixelStride)
      let output = arguments.output + pixel &* arguments.outputPixelStride
      for channel in stride(from: 0, to: arguments.storedChannels, by: 16) {
        for c in 0..<16 { accumulators[c] = arguments.bias[channel &+ c] }
        accumulate(base, channel &>> 4, accumulators)
        for c in channel..<min(channel &+ 16, arguments.storedChannels) {
          output[c] = requantizeToByte(
            accumulators[c &- channel], arguments.multiplier[c], arguments.shift[c],
            zeroPoint: arguments.outputZeroPoint, minimum: arguments.clampMinimum, maximum: arguments.clampMaximum)
        }
      }
    }
  }
}
