extension Program.Tensor {
  /// Whether two tensors share bytes that instructions may read as their numbers, or write: those of their pixels'
  /// channels, rounded up to 4, borders included. Tensors with the same pixel stride may lie side by side in every pixel.
  package func overlaps(_ other: Program.Tensor) -> Bool {
    guard spanOverlaps(other), case .arena(let first) = storage, case .arena(let second) = other.storage
    else {
      return false
    }
    guard layout == .channelsLast4, other.layout == .channelsLast4, pixelStride == other.pixelStride else {
      return true
    }
    let remainder = (second - first) % pixelStride,
      distance = remainder < 0 ? remainder + pixelStride : remainder
    return distance < roundedUp(channels, to: 4) || distance + roundedUp(other.channels, to: 4) > pixelStride
  }

  /// Whether the bytes from the first to the last meet, gaps between pixels included.
  func spanOverlaps(_ other: Program.Tensor) -> Bool {
    guard case .arena(let first) = storage, case .arena(let second) = other.storage else { return false }
    return first < second + other.byteCount && second < first + byteCount
  }

  /// Both have the same bytes in the same order.
  /// - Requires: the same shape and layout.
  func hasPlace(of other: Program.Tensor) -> Bool {
    storage == other.storage && border == other.border
      && (pixelStride == other.pixelStride || pixels == 1)
  }
}

extension Program {
  /// Threads share an instruction, and kernels take its pixels in any order: the result must not lie on an operand.
  /// Sums, products and lookups read each byte before they write the same byte, so that there the result may replace an
  /// operand.
  func overlapFault(of instruction: Instruction) -> StaticString? {
    let y = tensors[instruction.output]
    for index in instruction.inputs {
      let x = tensors[index]
      let isSafe =
        switch instruction.operation {
        case .add, .multiply, .lookup: !x.overlaps(y) || (x.shape == y.shape && x.hasPlace(of: y))
        case .copy(let copy): copy.fill == nil ? !x.overlaps(y) : !x.spanOverlaps(y)
        case .quantize, .dequantize, .convolution, .floatProduct, .averagePool, .maxPool, .softmax:
          !x.overlaps(y)
        }
      if !isSafe { return "its result overlaps an operand" }
    }
    return nil
  }
}
