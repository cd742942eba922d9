import Program

extension Program {
  /// An upper bound of the innermost iterations of a run, for those who must not wait for hostile programs.
  package var iterationBound: Int {
    var total = 0
    for (index, instruction) in instructions.enumerated() {
      var steps = tensors[instruction.output].byteCount + products(index)
      switch instruction.operation {
      case .convolution(let o):
        steps += o.window.paddedHeight(tensors[o.input]) * o.window.paddedWidth(tensors[o.input])
      case .averagePool(let o): steps *= o.window.taps
      case .maxPool(let o): steps *= o.window.taps
      case .copy(let o): steps += o.dimensions.reduce(1) { $0 * $1.extent }
      case .quantize, .dequantize, .floatProduct, .add, .multiply, .lookup, .softmax: break
      }
      total += min(steps, 1 << 40)
    }
    return total
  }
}
