/// What a convolution kernel computes: the operands of one block of output pixels.
///
/// The input is an unsigned 8-bit NHWC image whose borders are already filled with the zero point, so no
/// kernel tests for padding. Four consecutive channels of one tap are one *step*; `stepOffsets` holds the
/// byte offset of every step from an output pixel's base, so dense, dilated and pointwise convolutions and
/// matrix products are the same loop:
///
///     base(p)    = input + (p / outputWidth) * inputRowStride + (p % outputWidth) * inputPixelStride
///     acc[p][c]  = bias[c] + Σ_s Σ_{j<4} base(p)[stepOffsets[s] + j] * weight[c][4 s + j]      (wraps mod 2^32)
///     out[p][c]  = clamp(outputZeroPoint + requantize(acc[p][c], multiplier[c], shift[c]))
///
/// Packed weights: panels of 16 output channels; a panel is `[step][channel 0..<16][j 0..<4]` signed bytes
/// (64 bytes a step). With 4-bit weights two steps share 64 bytes: byte `[channel][j]` of pair `t` holds step
/// `2 t` in the low nibble and step `2 t + 1` in the high one, two's complement; an odd last step is followed
/// by zero weights and its offset is repeated, so `steps` is even for 4-bit weights.
/// `bias`, `multiplier` and `shift` are padded to whole panels.
/// - Requires: 1 <= shift <= 62, multiplier >= 0; the zero point's contribution is folded into `bias`;
///   every accumulator fits 32 bits (28 bits when weights have 4 bits: kernels may scale products by 16).
package struct ConvolutionArguments {
  package var input: UnsafePointer<UInt8>
  package var inputRowStride: Int
  package var inputPixelStride: Int
  package var stepOffsets: UnsafePointer<Int32>
  package var steps: Int
  package var weights: UnsafeRawPointer
  package var bias: UnsafePointer<Int32>
  package var multiplier: UnsafePointer<Int32>
  package var shift: UnsafePointer<Int32>
  package var outputChannels: Int
  package var output: UnsafeMutablePointer<UInt8>
  /// Bytes between horizontally adjacent output pixels; output pixels are contiguous in flattened order.
  package var outputPixelStride: Int
  package var outputWidth: Int
  package var outputZeroPoint: Int32
  package var clampMinimum: Int32
  package var clampMaximum: Int32

  package init(
    input: UnsafePointer<UInt8>, inputRowStride: Int, inputPixelStride: Int,
    stepOffsets: UnsafePointer<Int32>, steps: Int, weights: UnsafeRawPointer,
    bias: UnsafePointer<Int32>, multiplier: UnsafePointer<Int32>, shift: UnsafePointer<Int32>,
    outputChannels: Int, output: UnsafeMutablePointer<UInt8>, outputPixelStride: Int, outputWidth: Int,
    outputZeroPoint: Int32, clampMinimum: Int32, clampMaximum: Int32
  ) {
    self.input = input
    self.inputRowStride = inputRowStride
    self.inputPixelStride = inputPixelStride
    self.stepOffsets = stepOffsets
    self.steps = steps
    self.weights = weights
    self.bias = bias
    self.multiplier = multiplier
    self.shift = shift
    self.outputChannels = outputChannels
    self.output = output
    self.outputPixelStride = outputPixelStride
    self.outputWidth = outputWidth
    self.outputZeroPoint = outputZeroPoint
    self.clampMinimum = clampMinimum
    self.clampMaximum = clampMaximum
  }
}

/// A kernel over output pixels `first ..< first + count` (flattened rows) of all `outputChannels`.
/// Dense (`convolution…`): as documented above. Depthwise: `weight` of channel c applies to input channel c only:
///
///     acc[p][c] = bias[c] + Σ_t base(p)[stepOffsets[t] + c] * weight[c][t]
///
/// where `steps` counts taps rounded up to a multiple of 4 (missing taps have weight zero and a repeated offset)
/// and a panel is `[tap / 4][channel 0..<16][tap % 4]` signed bytes. Depthwise weights are always bytes.
/// The input of a depthwise kernel may be read up to the next multiple of 16 channels; the runtime keeps 64
/// readable bytes behind every buffer.
package typealias ConvolutionFunction = @Sendable (ConvolutionArguments, _ first: Int, _ count: Int) -> Void
