/// How many of `left` pixels a kernel takes next, so that their inputs and outputs stay in a cache of `cachedBytes` while
/// the panels of weights take turns: whole rows, or multiples of every tile's pixels, and no small rest.
///
/// Takes numbers, since a function that other modules inline must not name this package's types.
@inlinable @inline(__always)
package func pixelBlock(left: Int, outputWidth: Int, bytesPerPixel: Int, cachedBytes: Int) -> Int {
  let wanted = max(48, cachedBytes / max(bytesPerPixel, 1))
  let block = outputWidth < wanted ? wanted / outputWidth &* outputWidth : wanted / 24 &* 24
  return left < block &+ block / 2 ? left : block
}
