/// The sizes of a mean over windows of one channel's plane: [height, width] to [rows, columns].
package struct ReferenceAveragePool {
  package var height: Int
  package var width: Int
  package var rows: Int
  package var columns: Int
  package var kernel = (height: 1, width: 1)
  package var stride = (vertical: 1, horizontal: 1)
  /// Before and behind the image; the latter bounds what `countsPadding` counts.
  package var padding = (top: 0, left: 0, bottom: 0, right: 0)
  package var countsPadding = false
  package var inputZeroPoint: Int32 = 0

  package init(height: Int, width: Int, rows: Int, columns: Int) {
    self.height = height
    self.width = width
    self.rows = rows
    self.columns = columns
  }

  /// The definition of the integer mean, for one plane:
  ///
  ///     y = clamp(zeroPoint + requantize(Σ (x - zx), multiplier[count - 1], shift[count - 1]))
  ///
  /// with the sum over the window within the image, and `count` the number of positions of the window within the image
  /// or, if `countsPadding`, within the padded image. A window without any position gives the clamped zero point.
  package func run(
    _ x: UnsafePointer<UInt8>, multiplier: UnsafePointer<Int32>, shift: UnsafePointer<Int32>,
    _ output: OutputClamp,
    to y: UnsafeMutablePointer<UInt8>
  ) {
    for row in 0..<rows {
      for column in 0..<columns {
        let top = row * stride.vertical - padding.top, left = column * stride.horizontal - padding.left
        let h = max(top, 0)..<max(min(top + kernel.height, height), 0, top)
        let w = max(left, 0)..<max(min(left + kernel.width, width), 0, left)
        var sum: Int32 = 0
        for i in h {
          for j in w { sum &+= Int32(x[i &* width &+ j]) &- inputZeroPoint }
        }
        var count = h.count * w.count
        if countsPadding {
          let paddedRows = min(top + kernel.height, height + padding.bottom) - top
          let paddedColumns = min(left + kernel.width, width + padding.right) - left
          count = paddedRows * paddedColumns
        }
        y[row * columns + column] =
          count > 0
          ? requantizeToByte(
            sum, multiplier[count - 1], shift[count - 1], zeroPoint: output.zeroPoint,
            minimum: output.minimum,
            maximum: output.maximum)
          : UInt8(truncatingIfNeeded: min(max(output.zeroPoint, output.minimum), output.maximum))
      }
    }
  }
}
