/// What a convolution kernel computes: the operands of one block of output pixels.
///
/// The input is an unsigned 8-bit NHWC image whose borders are already filled with the zero point, so no
/// kernel tests for padding. Four consecutive channels of one tap are one *step*; `stepOffsets` holds the
/// byte offset of every step from an output pixel's base, so dense, dilated and pointwise convolutions and
/// matrix products are the same loop:
///
///     base(p)    = input + (p / outputWidth) * inputRowStride + (p % outputWidth) * inputPixelStride
///     acc[p][c]  = bias[c] + Σ_s Σ_{j<4} base(p)[stepOffsets[s] + j] * weight[c][4 s + j]  mod 2^32
///     out[p][c]  = clamp(outputZeroPoint + requantize(acc[p][c], multiplier[c], shift[c]))
///
/// `outputWidth` columns, advanced by `inputPixelStride` (the horizontal stride times the bytes of a pixel),
/// make one row, advanced by `inputRowStride` (the vertical stride times the bytes of a row). The output's rows are
/// `outputRowStride` bytes apart; kernels that do not say so (`Kernel.walksRows`) are called for one row at a time
/// where that is more than a row's pixels take.
///
/// Weights are packed by `WeightPacking` (Numerics) in panels of 16 output channels: 64 bytes a step with
/// 8-bit weights, 64 bytes for two steps with 4-bit weights, where an odd last step is followed by zero
/// weights and its offset is repeated, so that `steps` is even.
///
/// With 2-bit weights 64 bytes serve four steps, likewise; a panel of palette codes starts with 64 bytes of its table.
///
/// Binary and ternary weights: the input holds `planes` planes of bits in 32-bit words, and a step is one word of one
/// plane. The steps of the highest plane come first; each plane has the same weights, `steps / planes` steps of them:
///
///     acc[p][c]  = bias[c] + Σ_s 2^plane(s) * popcount((word(base(p) + stepOffsets[s]) ^ sign[c][s]) & mask[c][s])
///
/// Binary weights have no masks. The number of negative weights, times `2^planes - 1`, is subtracted from `bias`.
///
/// `bias`, `multiplier` and `shift` are padded to whole panels with bias 0, multiplier 0 and shift 31; the
/// packed weights of the padding are zero. A kernel stores `storedChannels` bytes a pixel and nothing else;
/// those beyond `outputChannels` follow the same formula, so they hold the clamped output zero point.
///
/// Kernels that read words take every byte of the input as an unsigned 16-bit number, with strides and offsets that are
/// twice as large, and weights widened by `WeightPacking.widen`.
///
/// `scale` is multiplier * 2^-shift of every channel, padded with 0, where `FixedPointMultiplier.fusedScale` proves for
/// all of them that one fused multiply-add gives the same bytes; otherwise nil.
///
/// - Requires: 1 <= shift <= 62, multiplier >= 0; the input zero point's contribution is folded into `bias`;
///   every accumulator fits 28 bits when weights have 4 bits, and 26 when they have 2, since kernels may scale
///   products by 16 and by 64;
///   0 <= clampMinimum <= clampMaximum <= 255 and 0 <= outputZeroPoint <= 255.
/// - Memory: kernels read at most 64 bytes behind the last byte of the input that the formula names, and only
///   whole panels of the other operands.
package struct ConvolutionArguments {
  package var input: UnsafePointer<UInt8>
  package var inputRowStride: Int
  package var inputPixelStride: Int
  package var stepOffsets: UnsafePointer<Int32>
  package var steps: Int
  /// Bits of a number, where they are multiplied one by one; otherwise 1.
  package var planes: Int
  /// n where steps come in rows of three taps of n steps, each tap one pixel beside the last: a 3 x 3 window with stride
  /// 1, say, whose inputs a kernel may use for three outputs. Even with 4-bit weights; 0 otherwise.
  package var stepsPerTap: Int
  package var weights: UnsafeRawPointer
  package var bias: UnsafePointer<Int32>
  package var multiplier: UnsafePointer<Int32>
  package var shift: UnsafePointer<Int32>
  package var scale: UnsafePointer<Float>?
  /// `scratchBytes` that only this call uses, aligned to 64, with any content.
  package var scratch: UnsafeMutableRawPointer
  package var outputChannels: Int
  /// Bytes written per pixel: `outputChannels` at least, its whole panels at most.
  package var storedChannels: Int
  package var output: UnsafeMutablePointer<UInt8>
  /// Bytes between horizontally adjacent output pixels.
  package var outputPixelStride: Int
  /// Bytes between vertically adjacent output pixels: those of `outputWidth` pixels, or more where a border follows them.
  package var outputRowStride: Int
  package var outputWidth: Int
  package var outputZeroPoint: Int32
  package var clampMinimum: Int32
  package var clampMaximum: Int32

  /// Enough for the tiles of every kernel, whatever the layer.
  package static var scratchBytes: Int { 8192 }

  /// Without `storedChannels`, the next multiple of 4 of `outputChannels`: a whole nhwc4 pixel. A group of a
  /// grouped convolution names the number itself, so that it does not write over its neighbour.
  package init(
    input: UnsafePointer<UInt8>, inputRowStride: Int, inputPixelStride: Int,
    stepOffsets: UnsafePointer<Int32>, steps: Int, stepsPerTap: Int = 0, planes: Int = 1,
    weights: UnsafeRawPointer,
    bias: UnsafePointer<Int32>,
    multiplier: UnsafePointer<Int32>, shift: UnsafePointer<Int32>,
    scale: UnsafePointer<Float>?, scratch: UnsafeMutableRawPointer, outputChannels: Int,
    storedChannels: Int? = nil,
    output: UnsafeMutablePointer<UInt8>, outputPixelStride: Int, outputRowStride: Int? = nil,
    outputWidth: Int, outputZeroPoint: Int32, clampMinimum: Int32, clampMaximum: Int32
  ) {
    self.input = input
    self.inputRowStride = inputRowStride
    self.inputPixelStride = inputPixelStride
    self.stepOffsets = stepOffsets
    self.steps = steps
    self.planes = planes
    self.stepsPerTap = stepsPerTap
    self.weights = weights
    self.bias = bias
    self.multiplier = multiplier
    self.shift = shift
    self.scale = scale
    self.scratch = scratch
    self.outputChannels = outputChannels
    self.storedChannels = storedChannels ?? (outputChannels &+ 3) & ~3
    self.output = output
    self.outputPixelStride = outputPixelStride
    self.outputRowStride = outputRowStride ?? outputWidth &* outputPixelStride
    self.outputWidth = outputWidth
    self.outputZeroPoint = outputZeroPoint
    self.clampMinimum = clampMinimum
    self.clampMaximum = clampMaximum
  }
}

/// A kernel over output pixels `first ..< first + count` (flattened rows) of all `outputChannels`; `count` >= 1.
package typealias ConvolutionFunction = @Sendable (ConvolutionArguments, _ first: Int, _ count: Int) -> Void
