import IR
import PassKit
import Support

/// Gives every intermediate tensor a place in one arena, for one sample.
///
///     %a = integer-conv2d(…) : tensor<Nx8x…, nhwc4>
///     %b = integer-conv2d(…) : tensor<Nx16x…, nhwc4>
///     %y = concat(%a, %b) : tensor<Nx24x…, nhwc4>
///   ->
///     %a = integer-conv2d(…) : tensor<Nx8x…, nhwc4> at 16384 stride 24
///     %b = integer-conv2d(…) : tensor<Nx16x…, nhwc4> at 16392 stride 24
///     %y = concat(%a, %b) : tensor<Nx24x…, nhwc4> at 16384
///
/// Some tensors are parts of others, or take over the place of an operand that is not needed any more: `StoragePlan`.
/// Those whose lifetimes do not overlap share bytes: `ArenaPlacement`. The graph records the arena size and the lower
/// bound: the largest sum of bytes alive at one operation.
package let planMemory = Pass(
  "plan-memory", "place intermediate tensors in one arena", accepts: .lowered ... .lowered
) {
  rewriter, context in
  let storage = try StoragePlan(rewriter.graph)
  let arena = ArenaPlacement(storage.blocks.map(\.extent))
  for (block, offset) in zip(storage.blocks, arena.offsets) {
    for value in block.values {
      rewriter.setPlacement(value, storage.placement(of: value, blockOffset: offset))
    }
  }
  rewriter.setMetadata("arena-bytes", "\(arena.bytes)")
  rewriter.setMetadata("arena-lower-bound", "\(arena.lowerBound)")
  rewriter.count("placed tensors", storage.blocks.reduce(0) { $0 + $1.values.count })
  if storage.parts > 0 { rewriter.count("parts of other tensors", storage.parts) }
  if storage.overwriting > 0 { rewriter.count("operations in place", storage.overwriting) }
}
