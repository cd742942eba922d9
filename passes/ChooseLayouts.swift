import IR
import PassKit

/// Chooses how activations lie in memory: channels last, padded to a multiple of 4, which is what the kernels read and
/// write without repacking; row-major for everything that is no image or vector of channels.
///
///     %y = integer-conv2d(…) : tensor<Nx16x32x32xu8<…>>
///   ->
///     %y = integer-conv2d(…) : tensor<Nx16x32x32xu8<…>, nhwc4>
///
/// Integer operations on images and on [N, C] vectors take channels last. Reshapes and transposes that leave an image
/// become copies between the two layouts.
package let chooseLayouts = Pass(
  "choose-layouts", "choose how activations lie in memory", accepts: .lowered ... .lowered
) { rewriter, context in
  for id in rewriter.ops {
    for value in rewriter.graph[id].results {
      let type = rewriter.graph[value].type
      guard type.quantized != nil, type.shape.rank == 4 || type.shape.rank == 2 else { continue }
      rewriter.setLayout(value, .channelsLast4)
      rewriter.count("channels last")
    }
  }
}
