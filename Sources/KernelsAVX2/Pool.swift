import KernelInterface

// Loops of KernelInterface, compiled for this instruction set.

package func meansAVX2(_ x: PoolArguments, _ y: MeanArguments, _ count: Int) {
  withUnsafeTemporaryAllocation(of: Int32.self, capacity: 64) { buffer in
    guard let sums = buffer.baseAddress else { return }
    for window in 0..<count {
      var channel = 0
      while channel < x.channels {
        let channels = min(64, x.channels &- channel)
        let input = x.input + (window &* x.windowStride &+ channel)
        if channels == 64 {
          sumWindow(
            input, rows: x.rows, columns: x.columns, rowStride: x.rowStride, columnStride: x.columnStride,
            channels: 64, into: sums)
        } else {
          sumWindow(
            input, rows: x.rows, columns: x.columns, rowStride: x.rowStride, columnStride: x.columnStride,
            channels: channels, into: sums)
        }
        meansOfSums(
          sums, x.output + (window &* x.outputPixelStride &+ channel), channels, offset: y.offset,
          multiplier: y.multiplier, shift: y.shift, zeroPoint: y.zeroPoint, minimum: y.minimum,
          maximum: y.maximum)
        channel &+= 64
      }
    }
  }
}

package func maximaAVX2(_ x: PoolArguments, _ count: Int) {
  for window in 0..<count {
    maximumOfWindow(
      x.input + window &* x.windowStride, rows: x.rows, columns: x.columns, rowStride: x.rowStride,
      columnStride: x.columnStride, channels: x.channels, into: x.output + window &* x.outputPixelStride)
  }
}
