import KernelInterface

// Loops of KernelInterface, compiled for this instruction set.

package func quantizeRunAVX2(_ x: QuantizeArguments, _ count: Int) {
  quantizeReals(x.input, x.output, count, scale: x.scale, zeroPoint: x.zeroPoint, maximum: x.maximum)
}

package func quantizePixelsAVX2(_ x: QuantizeArguments, _ count: Int) {
  quantizePixels(
    x.input, planeStride: x.planeStride, channels: x.channels, x.output, pixelStride: x.pixelStride, count
  ) { input, output, count in
    quantizeReals(input, output, count, scale: x.scale, zeroPoint: x.zeroPoint, maximum: x.maximum)
  }
}
