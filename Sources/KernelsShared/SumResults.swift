import KernelInterface

// Loops of KernelInterface, for instruction sets with fused multiply-adds.

/// `SumsToRealsArguments`.
package func sumsToReals(_ x: SumsToRealsArguments, _ count: Int) {
  scaleSums(x.sums, x.scale, x.output, count)
}

/// `SumsToBytesArguments`.
package func sumsToBytes(_ x: SumsToBytesArguments, _ count: Int) {
  if let scale = x.scale {
    requantizeSumsFused(
      x.sums, scale, x.output, count, zeroPoint: x.zeroPoint, minimum: x.minimum, maximum: x.maximum)
  } else {
    requantizeSums(
      x.sums, x.multiplier, x.shift, x.output, count, zeroPoint: x.zeroPoint, minimum: x.minimum,
      maximum: x.maximum)
  }
}
