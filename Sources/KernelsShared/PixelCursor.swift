import KernelInterface

/// Walks the bases of consecutive output pixels. A tuple, since what copies a struct that several files know is a weak
/// symbol in debug builds.
///
/// `wrapStride` leads from the last pixel of a row to the first of the next.
typealias PixelCursor = (
  base: UnsafeRawPointer, column: Int, outputWidth: Int, pixelStride: Int, wrapStride: Int
)

@inline(__always)
func pixelCursor(_ arguments: ConvolutionArguments, first: Int) -> PixelCursor {
  let row = first / arguments.outputWidth
  let column = first &- row &* arguments.outputWidth
  let place = row &* arguments.inputRowStride &+ column &* arguments.inputPixelStride
  return (
    UnsafeRawPointer(arguments.input) + place, column, arguments.outputWidth, arguments.inputPixelStride,
    arguments.inputRowStride &- (arguments.outputWidth &- 1) &* arguments.inputPixelStride
  )
}

/// The bases of the next `valid` pixels of a tile; the last is repeated, so that a tile at the end reads what exists.
@inline(__always)
func fill(
  _ bases: UnsafeMutablePointer<UnsafeRawPointer>, _ pixels: Int, valid: Int, _ cursor: inout PixelCursor
) {
  for pixel in 0..<valid {
    bases[pixel] = cursor.base
    cursor.column &+= 1
    let wraps = cursor.column == cursor.outputWidth
    cursor.column = wraps ? 0 : cursor.column
    cursor.base += wraps ? cursor.wrapStride : cursor.pixelStride
  }
  for pixel in valid..<pixels { bases[pixel] = bases[valid &- 1] }
}
