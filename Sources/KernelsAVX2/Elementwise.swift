import KernelInterface

// Loops of KernelInterface, compiled for this instruction set.

package func addAVX2(_ x: AddArguments, _ count: Int) {
  addBytes(
    x.a, x.b, x.output, count, multiplierA: x.multiplierA, multiplierB: x.multiplierB, constant: x.constant,
    shift: x.shift, zeroPoint: x.zeroPoint, minimum: x.minimum, maximum: x.maximum)
}

package func quantizeAVX2(_ x: QuantizeArguments, _ count: Int) {
  quantizeReals(x.input, x.output, count, scale: x.scale, zeroPoint: x.zeroPoint, maximum: x.maximum)
}
