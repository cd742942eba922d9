/// A convolution with 3 x 3 windows and stride 1 that computes 2 x 2 outputs from 16 products instead of 36: F(2x2, 3x3) of
/// Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv:1509.09308),
///
///     Y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A,   summed over the input channels before the outer transform
///
/// in integers. G has halves; with 2 G in both places every number is an integer, and Y is four times the sum that the direct
/// formula gives, so that a shift by two restores it exactly: the bits are those of `ConvolutionArguments`' formula.
///
///          1  0 -1  0            2  0  0
///     Bᵀ = 0  1  1  0     2 G =  1  1  1     Aᵀ = 1  1  1  0
///          0 -1  1  0            1 -1  1          0  1 -1 -1
///          0  1  0 -1            0  0  2
///
/// Bounds: inputs of 0...255 become words of at most 4 * 255 in magnitude, weights of -128...127 at most 9 * 128, and sums
/// wrap modulo 2^32, which is harmless while four times the true sum fits 32 bits (`mostInputChannels`).
package struct WinogradKernel: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  /// Bytes of a panel's transformed weights; `stepsPerTap` counts groups of four input channels.
  package let preparedBytes: @Sendable (_ stepsPerTap: Int) -> Int
  /// Transforms a panel of 8-bit weights, packed by `WeightPacking`: nine taps of `stepsPerTap` steps.
  package let prepare:
    @Sendable (
      _ packed: UnsafeRawPointer, _ stepsPerTap: Int, _ prepared: UnsafeMutableRawPointer
    ) -> Void
  /// For any number of pixels.
  package let scratchBytes: @Sendable (_ stepsPerTap: Int) -> Int
  /// Computes the output's rows `first ..< first + count`; pairs of rows begin anywhere. Of the arguments, `weights` are
  /// what `prepare` made of every panel, `stepsPerTap` is the number of groups of four input channels, and `steps` and
  /// `stepOffsets` have no meaning.
  package let function: @Sendable (ConvolutionArguments, _ first: Int, _ count: Int) -> Void

  /// 4 * 255 * 128 * 9 * channels < 2^31.
  package static var mostInputChannels: Int { 1800 }

  package init(
    _ name: StaticString, needs features: CPUFeatures,
    preparedBytes: @escaping @Sendable (Int) -> Int,
    prepare: @escaping @Sendable (UnsafeRawPointer, Int, UnsafeMutableRawPointer) -> Void,
    scratchBytes: @escaping @Sendable (Int) -> Int,
    _ function: @escaping @Sendable (ConvolutionArguments, Int, Int) -> Void
  ) {
    self.name = name
    self.features = features
    self.preparedBytes = preparedBytes
    self.prepare = prepare
    self.scratchBytes = scratchBytes
    self.function = function
  }
}
