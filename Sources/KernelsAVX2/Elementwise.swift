import KernelInterface

// Loops of KernelInterface, compiled for this instruction set.

package func addAVX2(_ x: AddArguments, _ count: Int) {
  addBytes(
    x.a, x.b, x.output, count, multiplierA: x.multiplierA, multiplierB: x.multiplierB, constant: x.constant,
    shift: x.shift, zeroPoint: x.zeroPoint, minimum: x.minimum, maximum: x.maximum)
}

package func multiplyAVX2(_ x: MultiplyArguments, _ count: Int) {
  multiplyBytes(
    x.a, x.b, x.output, count, zeroPointA: x.zeroPointA, zeroPointB: x.zeroPointB, multiplier: x.multiplier,
    shift: x.shift, zeroPoint: x.zeroPoint, minimum: x.minimum, maximum: x.maximum)
}
