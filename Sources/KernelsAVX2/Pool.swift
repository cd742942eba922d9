import CInstructions
import KernelInterface

/// The loops of KernelInterface, compiled for this instruction set.
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

/// 32 channels at a time; the last ones once more with those before them.
package func maximaAVX2(_ x: PoolArguments, _ count: Int) {
  for window in 0..<count {
    let input = UnsafeRawPointer(x.input + window &* x.windowStride)
    let output = UnsafeMutableRawPointer(x.output + window &* x.outputPixelStride)
    if x.channels < 32 {
      let largest = maximum(x, input)
      storeBytes(largest.lowHalf, output, min(x.channels, 16))
      if x.channels > 16 { storeBytes(largest.highHalf, output + 16, x.channels &- 16) }
      continue
    }
    var channel = 0
    while channel < x.channels {
      let first = min(channel, x.channels &- 32)
      (output + first).storeBytes(of: maximum(x, input + first), as: Lanes.self)
      channel &+= 32
    }
  }
}

@inline(__always)
private func maximum(_ x: PoolArguments, _ window: UnsafeRawPointer) -> Lanes {
  var largest = Lanes.zero
  for row in 0..<x.rows {
    var pixel = window + row &* x.rowStride
    for _ in 0..<x.columns {
      largest = maximum_bytes_x8(largest, load(pixel))
      pixel += x.columnStride
    }
  }
  return largest
}
