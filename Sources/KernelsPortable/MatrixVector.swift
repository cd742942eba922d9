import KernelInterface

// The specification as loops, for any processor.

/// Weights of 8 bits.
package func sums8Portable(_ arguments: MatrixVectorArguments) {
  forEachPanel(arguments) { weights, sums in
    for step in 0..<arguments.blocks {
      accumulate(&sums, arguments.x + 4 &* step, UnpackedWeights(bytes: load(weights + 64 &* step)))
    }
  }
}

/// Weights of 4 bits.
package func sums4Portable(_ arguments: MatrixVectorArguments) {
  forEachPanel(arguments) { weights, sums in
    for block in 0..<arguments.blocks {
      let both = load(weights + 64 &* block), x = arguments.x + 8 &* block
      accumulate(&sums, x, UnpackedWeights(lowerNibbles: both))
      accumulate(&sums, x + 4, UnpackedWeights(upperNibbles: both))
    }
  }
}

@inline(__always)
private func accumulate(_ sums: inout Lanes, _ x: UnsafePointer<UInt8>, _ w: UnpackedWeights) {
  sums =
    sums &+ Lanes(repeating: Int32(x[0])) &* w.w0 &+ Lanes(repeating: Int32(x[1])) &* w.w1
    &+ Lanes(repeating: Int32(x[2])) &* w.w2 &+ Lanes(repeating: Int32(x[3])) &* w.w3
}

/// Calls `accumulate` with the weights of every panel and sums that hold the bias.
@inline(__always)
private func forEachPanel(
  _ arguments: MatrixVectorArguments, _ accumulate: (_ weights: UnsafeRawPointer, _ sums: inout Lanes) -> Void
) {
  for panel in 0..<arguments.panels {
    var sums = load(UnsafeRawPointer(arguments.bias + 16 &* panel))
    accumulate(arguments.weights + 64 &* arguments.blocks &* panel, &sums)
    UnsafeMutableRawPointer(arguments.sums + 16 &* panel).storeBytes(of: sums, as: Lanes.self)
  }
}

// MARK: - Results

package func sumsToRealsPortable(_ x: SumsToRealsArguments, _ count: Int) {
  scaleSums(x.sums, x.scale, x.output, count)
}

package func sumsToBytesPortable(_ x: SumsToBytesArguments, _ count: Int) {
  requantizeSums(
    x.sums, x.multiplier, x.shift, x.output, count, zeroPoint: x.zeroPoint, minimum: x.minimum,
    maximum: x.maximum)
}
