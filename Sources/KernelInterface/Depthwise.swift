/// A depthwise convolution as far as it is known when a program is loaded.
///
/// The input is an unsigned 8-bit NHWC image without a border: what kernels read beyond it is the zero point.
///
///     acc[y][x][c] = bias[c] + Σ_{i,j} in[y * strideRows + i * dilationRows - padTop]
///                                        [x * strideColumns + j * dilationColumns - padLeft][c]
///                                      * weight[c][i * kernelWidth + j]               mod 2^32
///     out[y][x][c] = clamp(outputZeroPoint + requantize(acc[y][x][c], multiplier[c], shift[c]))
///
/// Kernels store `storedChannels` bytes a pixel and nothing else; those beyond `channels` have weights, bias and
/// multiplier 0, so they hold the clamped output zero point.
package struct DepthwiseLayer: Sendable {
  package var channels: Int
  /// `channels` at least, and less than 4 more; the input's pixels have as many bytes.
  package var storedChannels: Int
  package var inputHeight: Int
  package var inputWidth: Int
  package var inputPixelStride: Int
  package var inputRowStride: Int
  package var inputZeroPoint: UInt8
  package var kernelHeight: Int
  package var kernelWidth: Int
  package var strideRows: Int
  package var strideColumns: Int
  package var dilationRows: Int
  package var dilationColumns: Int
  package var padTop: Int
  package var padLeft: Int
  package var outputHeight: Int
  package var outputWidth: Int
  package var outputPixelStride: Int
  package var outputRowStride: Int
  package var outputZeroPoint: Int32
  package var clampMinimum: Int32
  package var clampMaximum: Int32
  /// Whether the parameters have scales, see `DepthwiseParameters`.
  package var isFused: Bool

  package init(
    channels: Int, storedChannels: Int, inputHeight: Int, inputWidth: Int, inputPixelStride: Int,
    inputRowStride: Int, inputZeroPoint: UInt8, kernelHeight: Int, kernelWidth: Int, strideRows: Int,
    strideColumns: Int, dilationRows: Int, dilationColumns: Int, padTop: Int, padLeft: Int, outputHeight: Int,
    outputWidth: Int, outputPixelStride: Int, outputRowStride: Int, outputZeroPoint: Int32,
    clampMinimum: Int32, clampMaximum: Int32, isFused: Bool
  ) {
    self.channels = channels
    self.storedChannels = storedChannels
    self.inputHeight = inputHeight
    self.inputWidth = inputWidth
    self.inputPixelStride = inputPixelStride
    self.inputRowStride = inputRowStride
    self.inputZeroPoint = inputZeroPoint
    self.kernelHeight = kernelHeight
    self.kernelWidth = kernelWidth
    self.strideRows = strideRows
    self.strideColumns = strideColumns
    self.dilationRows = dilationRows
    self.dilationColumns = dilationColumns
    self.padTop = padTop
    self.padLeft = padLeft
    self.outputHeight = outputHeight
    self.outputWidth = outputWidth
    self.outputPixelStride = outputPixelStride
    self.outputRowStride = outputRowStride
    self.outputZeroPoint = outputZeroPoint
    self.clampMinimum = clampMinimum
    self.clampMaximum = clampMaximum
    self.isFused = isFused
  }

  package var taps: Int { kernelHeight * kernelWidth }

  /// Whether windows have more columns than one dot product takes, or others between them.
  package var isWide: Bool { strideColumns == 1 && (kernelWidth > 4 || dilationColumns > 1) }
}

/// Weights `[channel][tap]`, and the rest for every channel.
///
/// `scale` is multiplier * 2^-shift of every channel, where `FixedPointMultiplier.fusedScale` proves for all of them that
/// one fused multiply-add gives the same bytes; otherwise nil.
///
/// - Requires: 1 <= shift <= 62, multiplier >= 0; the input zero point's contribution is folded into `bias`.
package struct DepthwiseParameters {
  package var weights: UnsafePointer<Int8>
  package var bias: UnsafePointer<Int32>
  package var multiplier: UnsafePointer<Int32>
  package var shift: UnsafePointer<Int32>
  package var scale: UnsafePointer<Float>?

  package init(
    weights: UnsafePointer<Int8>, bias: UnsafePointer<Int32>, multiplier: UnsafePointer<Int32>,
    shift: UnsafePointer<Int32>, scale: UnsafePointer<Float>?
  ) {
    self.weights = weights
    self.bias = bias
    self.multiplier = multiplier
    self.shift = shift
    self.scale = scale
  }
}

/// The operands of a call. Kernels read at most 64 bytes behind the input's last byte.
package struct DepthwiseArguments {
  package var layer: DepthwiseLayer
  package var plan: DepthwisePlan
  /// What the kernel's `prepare` made, aligned to 64.
  package var prepared: UnsafeRawPointer
  package var input: UnsafePointer<UInt8>
  package var output: UnsafeMutablePointer<UInt8>
  /// The kernel's `scratchBytes` that only this call uses, aligned to 64, with any content.
  package var scratch: UnsafeMutableRawPointer

  package init(
    layer: DepthwiseLayer, plan: DepthwisePlan, prepared: UnsafeRawPointer, input: UnsafePointer<UInt8>,
    output: UnsafeMutablePointer<UInt8>, scratch: UnsafeMutableRawPointer
  ) {
    self.layer = layer
    self.plan = plan
    self.prepared = prepared
    self.input = input
    self.output = output
    self.scratch = scratch
  }
}

/// One entry of the list of depthwise kernels that drives dispatch, tests and benchmarks.
package struct DepthwiseKernel: Sendable {
  package let name: StaticString
  package let features: CPUFeatures
  /// Inputs that one of its multiplications adds up, as its plans have them: 2 or 4; 0 if it uses no plan.
  package let lanes: Int
  /// Whether there is a faster one for layers that are not `DepthwiseLayer.isWide`.
  package let isForWideWindows: Bool
  package let preparedBytes: @Sendable (DepthwiseLayer, DepthwisePlan) -> Int
  /// Rearranges weights and parameters for the kernel, once for a layer.
  package let prepare:
    @Sendable (DepthwiseLayer, DepthwisePlan, DepthwiseParameters, UnsafeMutableRawPointer) -> Void
  package let scratchBytes: @Sendable (DepthwiseLayer, DepthwisePlan) -> Int
  /// Computes the output's rows `first ..< first + count`. Kernels work on pairs of rows that begin anywhere.
  package let function: @Sendable (DepthwiseArguments, _ first: Int, _ count: Int) -> Void

  package init(
    _ name: StaticString, needs features: CPUFeatures, lanes: Int, isForWideWindows: Bool = false,
    preparedBytes: @escaping @Sendable (DepthwiseLayer, DepthwisePlan) -> Int,
    prepare:
      @escaping @Sendable (
        DepthwiseLayer, DepthwisePlan, DepthwiseParameters, UnsafeMutableRawPointer
      ) -> Void,
    scratchBytes: @escaping @Sendable (DepthwiseLayer, DepthwisePlan) -> Int,
    _ function: @escaping @Sendable (DepthwiseArguments, Int, Int) -> Void
  ) {
    self.name = name
    self.features = features
    self.lanes = lanes
    self.isForWideWindows = isForWideWindows
    self.preparedBytes = preparedBytes
    self.prepare = prepare
    self.scratchBytes = scratchBytes
    self.function = function
  }
}
