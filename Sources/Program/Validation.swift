extension Program {
  /// Proves that no instruction reads or writes outside the arena (with `Limits.slackBytes` behind it), the
  /// scratch image, the data and the caller's tensors, whatever the program's bytes are; the interpreter
  /// relies on it. Nor does it write what it still reads.
  package func validate() throws(ProgramError) {
    guard arenaBytes >= 0, arenaBytes <= Limits.bytes else {
      throw ProgramError("the arena must be at most 2 GiB", .file(byte: nil))
    }
    for index in tensors.indices { try validateTensor(index) }
    try validateNumbers()
    for index in instructions.indices {
      if let reason = fault(of: instructions[index].operation) {
        throw ProgramError(reason, .instruction(index), name: instructions[index].name)
      }
    }
    for index in goldenVectors.indices { try validateGolden(index) }
  }

  private func validateTensor(_ index: Int) throws(ProgramError) {
    let tensor = tensors[index]
    func require(_ condition: Bool, _ reason: StaticString) throws(ProgramError) {
      if !condition { throw ProgramError(reason, .tensor(index), name: tensor.name) }
    }
    try require(
      tensor.shape.count >= 1 && tensor.shape.count <= Limits.rank, "a shape must have 1 to 6 extents")
    var elements = 1
    for extent in tensor.shape {
      try require(extent >= 1 && extent <= Limits.extent, "an extent must be 1 to 2^24")
      elements *= extent  // at most 2^31 * 2^24
      try require(elements <= Limits.bytes / 4, "the tensor is larger than 2 GiB")
    }
    try require(tensor.scale.isNormal && tensor.scale > 0, "the scale must be a positive number")
    switch tensor.layout {
    case .rowMajor:
      try require(
        tensor.pixelStride == 0 && tensor.border == .none,
        "a row-major tensor has no pixel stride and no border")
    case .channelsLast4:
      try require(
        tensor.element == .u8 && (tensor.shape.count == 1 || tensor.shape.count == 3),
        "only u8 tensors of shape [C] or [C, H, W] can be channels-last")
      let border = tensor.border, sides = [border.top, border.left, border.bottom, border.right]
      try require(
        sides.allSatisfy { $0 >= 0 && $0 <= Tensor.Border.largest }
          && (tensor.shape.count == 3 && tensor.pixelStride == roundedUp(tensor.channels, to: 4)
            || border == .none),
        "a border is that of an image without gaps, and at most 255 wide")
      try require(
        tensor.pixelStride % 4 == 0 && tensor.pixelStride >= roundedUp(tensor.channels, to: 4)
          && boundedProduct(tensor.storedHeight, tensor.storedWidth, tensor.pixelStride) != nil,
        "the pixel stride must be a multiple of 4 that holds the channels")
    }
    switch tensor.element {
    case .u8:
      try require(
        tensor.bits >= 1 && tensor.bits <= 8 && Int(tensor.zeroPoint) < 1 << Int(tensor.bits),
        "a u8 tensor has 1 to 8 bits and a zero point within them")
    case .f32:
      try require(tensor.bits == 32 && tensor.zeroPoint == 0, "an f32 tensor has 32 bits and no zero point")
    }
    switch tensor.storage {
    case .arena(let offset):
      try require(
        offset >= 0 && offset % tensor.element.size == 0 && offset <= arenaBytes
          && tensor.byteCount <= arenaBytes - offset,
        "the tensor lies outside the arena")
    case .input, .output: try require(tensor.element == .f32, "the caller's tensors must be f32")
    }
  }

  /// Inputs and outputs are numbered from 0, each number once.
  private func validateNumbers() throws(ProgramError) {
    var seenInputs = [Bool](repeating: false, count: tensors.count)
    var seenOutputs = seenInputs
    for (index, tensor) in tensors.enumerated() {
      switch tensor.storage {
      case .arena: continue
      case .input(let number):
        guard number >= 0, number < tensors.count, !seenInputs[number] else {
          throw ProgramError(
            "an input's number repeats or is out of range", .tensor(index), name: tensor.name)
        }
        seenInputs[number] = true
      case .output(let number):
        guard number >= 0, number < tensors.count, !seenOutputs[number] else {
          throw ProgramError(
            "an output's number repeats or is out of range", .tensor(index), name: tensor.name)
        }
        seenOutputs[number] = true
      }
    }
    guard hasNoGap(seenInputs), hasNoGap(seenOutputs) else {
      throw ProgramError("inputs and outputs must be numbered without gaps", .file(byte: nil))
    }
    guard seenOutputs.first == true else { throw ProgramError("the program has no output", .file(byte: nil)) }
  }

  private func hasNoGap(_ seen: [Bool]) -> Bool {
    let count = seen.firstIndex(of: false) ?? seen.count
    return !seen[count...].contains(true)
  }

  private func validateGolden(_ index: Int) throws(ProgramError) {
    let vector = goldenVectors[index], inputs = self.inputs, outputs = self.outputs
    guard vector.inputs.count == inputs.count, vector.outputs.count == outputs.count else {
      throw ProgramError(
        "the vector has another number of inputs or outputs than the program", .golden(index))
    }
    for (values, tensor) in zip(vector.inputs, inputs) {
      guard values.count == tensors[tensor].elementCount, quantizedInput(tensor) != nil else {
        throw ProgramError("an input does not fit its tensor", .golden(index), name: tensors[tensor].name)
      }
    }
    for (values, tensor) in zip(vector.outputs, outputs) where values.count != tensors[tensor].elementCount {
      throw ProgramError("an output does not fit its tensor", .golden(index), name: tensors[tensor].name)
    }
  }

  /// The first tensor quantized from an input: its scale and zero point give meaning to self-test vectors.
  package func quantizedInput(_ input: Int) -> Int? {
    for instruction in instructions {
      if case .quantize(let quantize) = instruction.operation, quantize.input == input {
        return quantize.output
      }
    }
    return nil
  }

  // MARK: Instructions

  /// What is wrong with an instruction over valid tensors; nil when it is safe.
  private func fault(of operation: Instruction.Operation) -> StaticString? {
    let instruction = Instruction(name: Name(utf8: []), operation)
    for index in instruction.inputs + [instruction.output] where !tensors.indices.contains(index) {
      return "it names a tensor that does not exist"
    }
    if case .input = tensors[instruction.output].storage { return "it writes to an input of the program" }
    let reason: StaticString? =
      switch operation {
      case .quantize(let o): fault(of: o)
      case .dequantize(let o): fault(of: o)
      case .convolution(let o): fault(of: o)
      case .floatProduct(let o): fault(of: o)
      case .add(let o): fault(of: o)
      case .multiply(let o): fault(of: o)
      case .averagePool(let o): fault(of: o)
      case .maxPool(let o): fault(of: o)
      case .lookup(let o): fault(of: o)
      case .copy(let o): fault(of: o)
      case .softmax(let o): fault(of: o)
      }
    return reason ?? overlapFault(of: instruction)
  }

  private func fault(of quantize: Instruction.Quantize) -> StaticString? {
    let x = tensors[quantize.input], y = tensors[quantize.output]
    guard x.element == .f32, y.element == .u8 else { return "it must take f32 to u8" }
    if quantize.inputIsChannelsLast {
      guard x.shape.count == 3, y.layout == .channelsLast4, y.shape == [x.shape[2], x.shape[0], x.shape[1]]
      else {
        return "the input must be [H, W, C] and the output [C, H, W]"
      }
    } else if x.shape != y.shape {
      return "input and output must have the same shape"
    }
    return nil
  }

  private func fault(of dequantize: Instruction.Dequantize) -> StaticString? {
    let x = tensors[dequantize.input], y = tensors[dequantize.output]
    guard x.element == .u8, y.element == .f32 else { return "it must take u8 to f32" }
    return x.shape == y.shape ? nil : "input and output must have the same shape"
  }

  private func fault(of convolution: Instruction.Convolution) -> StaticString? {
    let x = tensors[convolution.input], y = tensors[convolution.output], window = convolution.window
    guard x.layout == .channelsLast4, y.layout == .channelsLast4 else {
      return "its tensors must be channels-last"
    }
    if let reason = fault(of: window) { return reason }
    guard let height = window.rows(of: x.height), let width = window.columns(of: x.width), height == y.height,
      width == y.width
    else { return "the window does not take the input's rows and columns to the output's" }
    let groups = convolution.groups, kind = convolution.kind
    if kind.isBitSerial && (groups != 1 || Int(x.bits) > Limits.bitPlanes) {
      return "a convolution of bits has one group and an input of at most 4 bits"
    }
    guard boundedProduct(window.paddedHeight(x), window.paddedWidth(x), kind.imagePixelBytes(x)) != nil
    else {
      return "the padded image is larger than 2 GiB"
    }
    guard groups >= 1, x.channels % groups == 0, y.channels % groups == 0 else {
      return "the groups do not divide the channels"
    }
    if convolution.kind == .depthwise {
      guard groups == x.channels, groups == y.channels else {
        return "a depthwise convolution has one channel a group"
      }
    }
    // At most 2^24 taps, 2^24 channels a group, and so 2^48 weights in a row of at most 2^24 channels.
    guard boundedProduct(window.taps, roundedUp(x.channels / groups, to: kind.channelMultiple)) != nil else {
      return "the weights are larger than 2 GiB"
    }
    let geometry = ConvolutionGeometry(convolution, input: x, output: y)
    guard contains(convolution.weights, geometry.weightBytes), convolution.weights.offset % 64 == 0 else {
      return "the weights lie outside the data, or are not aligned to 64"
    }
    return fault(
      multiplier: convolution.multiplier, shift: convolution.shift, bias: convolution.bias, count: y.channels,
      convolution.clamp)
  }

  private func fault(of product: Instruction.FloatProduct) -> StaticString? {
    let x = tensors[product.input], y = tensors[product.output]
    guard x.layout == .channelsLast4, x.pixels == 1, y.element == .f32, y.shape.count == 1 else {
      return "it must take the channels of one pixel to a vector of f32"
    }
    guard product.kind == .dense8 || product.kind == .dense4 else {
      return "a product has weights of 8 or 4 bits for all channels"
    }
    let geometry = ConvolutionGeometry(product.kind, productOf: x, outputs: y.shape[0])
    guard contains(product.weights, geometry.weightBytes), product.weights.offset % 64 == 0 else {
      return "the weights lie outside the data, or are not aligned to 64"
    }
    return contains(product.bias, 4 * y.shape[0]) && contains(product.scale, 4 * y.shape[0])
      ? nil : "bias or scales lie outside the data"
  }

  private func fault(of add: Instruction.Add) -> StaticString? {
    let a = tensors[add.a], b = tensors[add.b], y = tensors[add.output]
    guard haveSamePlanes(a, y), haveSamePlanes(b, y) else {
      return "its tensors must agree in shape and layout"
    }
    let bound: Int32 = 1 << 21
    guard add.multiplierA >= -bound, add.multiplierA <= bound, add.multiplierB >= -bound,
      add.multiplierB <= bound,
      add.shift >= 1, add.shift <= 30
    else { return "multipliers must be at most 2^21 and the shift 1 to 30" }
    return fault(of: add.clamp)
  }

  private func fault(of multiply: Instruction.Multiply) -> StaticString? {
    let a = tensors[multiply.a], b = tensors[multiply.b], y = tensors[multiply.output]
    let broadcasts =
      a.layout == .channelsLast4 && b.layout == .channelsLast4 && b.pixels == 1 && b.channels == a.channels
    guard haveSamePlanes(a, y), haveSamePlanes(b, y) || broadcasts else {
      return "its tensors must agree in shape and layout, or the second be [C, 1, 1]"
    }
    guard multiply.multiplier >= 0, multiply.shift >= 1, multiply.shift <= 62 else {
      return "the multiplier must not be negative and the shift 1 to 62"
    }
    return fault(of: multiply.clamp)
  }

  private func fault(of pool: Instruction.AveragePool) -> StaticString? {
    let x = tensors[pool.input], y = tensors[pool.output], window = pool.window
    if let reason = poolFault(x, y, window) { return reason }
    guard window.dilationRows == 1, window.dilationColumns == 1 else {
      return "an average pool cannot be dilated"
    }
    let staysInside =
      !window.isPadded && (y.height - 1) * window.strideRows + window.spanRows <= x.height
      && (y.width - 1) * window.strideColumns + window.spanColumns <= x.width
    let entries = pool.shift.count
    guard entries == window.taps || (entries == 1 && (pool.countsPads || staysInside)) else {
      return "the table needs an entry for every count of positions"
    }
    return fault(multiplier: pool.multiplier, shift: pool.shift, bias: nil, count: entries, pool.clamp)
  }

  private func fault(of pool: Instruction.MaxPool) -> StaticString? {
    poolFault(tensors[pool.input], tensors[pool.output], pool.window)
  }

  private func fault(of lookup: Instruction.Lookup) -> StaticString? {
    guard haveSamePlanes(tensors[lookup.input], tensors[lookup.output]) else {
      return "its tensors must agree in shape and layout"
    }
    return contains(lookup.table, 256) ? nil : "the table of 256 bytes lies outside the data"
  }

  private func fault(of copy: Instruction.Copy) -> StaticString? {
    let x = tensors[copy.input], y = tensors[copy.output]
    guard x.element == y.element else { return "input and output must hold the same kind of element" }
    guard copy.fill == nil || y.element == .u8 else { return "only bytes can be filled" }
    guard y.border == .none else { return "a copy does not write a border" }
    guard copy.dimensions.count >= 1, copy.dimensions.count <= Instruction.Copy.maximumDimensions else {
      return "a copy has 1 to 8 loops"
    }
    var source = ElementRange(copy.inputOffset), target = ElementRange(copy.outputOffset), count = 1
    for dimension in copy.dimensions {
      guard dimension.extent >= 1, let product = boundedProduct(count, dimension.extent) else {
        return "the loops have no or too many elements"
      }
      count = product
      source.extend(dimension.extent, dimension.inputStride)
      target.extend(dimension.extent, dimension.outputStride)
    }
    guard source.isWithin(x.byteCount / x.element.size), target.isWithin(y.byteCount / y.element.size) else {
      return "the loops leave the tensors"
    }
    return nil
  }

  private func fault(of softmax: Instruction.Softmax) -> StaticString? {
    let x = tensors[softmax.input], y = tensors[softmax.output]
    guard x.element == .f32, y.element == .f32, x.elementCount == y.elementCount, softmax.outer >= 1,
      softmax.extent >= 1, softmax.inner >= 1,
      boundedProduct(softmax.outer, softmax.extent, softmax.inner) == x.elementCount
    else { return "it takes f32 tensors of outer * extent * inner elements" }
    return nil
  }

  // MARK: Parts of instructions

  private func fault(of window: Instruction.Window) -> StaticString? {
    for number in [
      window.kernelHeight, window.kernelWidth, window.strideRows, window.strideColumns, window.dilationRows,
      window.dilationColumns,
    ] where number < 1 || number > Limits.windowNumber {
      return "kernel, strides and dilations must be 1 to 65535"
    }
    for pad in [window.padTop, window.padLeft, window.padBottom, window.padRight]
    where pad < 0 || pad > Limits.windowNumber { return "pads must be 0 to 65535" }
    return window.taps <= Limits.windowTaps ? nil : "the window has more than 2^24 taps"
  }

  private func poolFault(_ x: Tensor, _ y: Tensor, _ window: Instruction.Window) -> StaticString? {
    if let reason = fault(of: window) { return reason }
    guard x.layout == .channelsLast4, y.layout == .channelsLast4, x.channels == y.channels else {
      return "its tensors must be channels-last and have the same channels"
    }
    // Windows are cut off at the image's borders, so any position is safe; those behind the padding have no
    // meaning.
    guard (y.height - 1) * window.strideRows < window.paddedHeight(x),
      (y.width - 1) * window.strideColumns < window.paddedWidth(x)
    else { return "windows start behind the padded image" }
    return nil
  }

  private func fault(
    multiplier: DataSlice, shift: DataSlice, bias: DataSlice?, count: Int, _ clamp: Instruction.Clamp
  ) -> StaticString? {
    guard contains(multiplier, 4 * count), contains(shift, count),
      bias.map({ contains($0, 4 * count) }) ?? true
    else {
      return "bias, multipliers or shifts lie outside the data"
    }
    for index in 0..<count {
      let bits = data.bytes[shift.offset + index]
      guard bits >= 1, bits <= 62, data.int32(multiplier, index) >= 0 else {
        return "multipliers must not be negative and shifts 1 to 62"
      }
    }
    return fault(of: clamp)
  }

  private func fault(of clamp: Instruction.Clamp) -> StaticString? {
    clamp.minimum <= clamp.maximum ? nil : "the clamp's minimum is above its maximum"
  }

  private func haveSamePlanes(_ x: Tensor, _ y: Tensor) -> Bool {
    x.element == .u8 && y.element == .u8 && x.layout == y.layout && x.shape == y.shape
  }

  /// The slice has the size that its use asks for and lies within the data.
  private func contains(_ slice: DataSlice, _ count: Int) -> Bool {
    slice.count == count && slice.offset >= 0 && slice.offset % 4 == 0 && slice.offset <= data.count
      && count <= data.count - slice.offset
  }
}

/// The smallest and largest element that nested strided loops touch.
private struct ElementRange {
  var lowest: Int
  var highest: Int
  var overflows = false

  init(_ offset: Int) {
    lowest = offset
    highest = offset
  }
  mutating func extend(_ extent: Int, _ stride: Int) {
    let (reach, overflow) = (extent - 1).multipliedReportingOverflow(by: stride)
    let (low, lowOverflow) = lowest.addingReportingOverflow(min(reach, 0))
    let (high, highOverflow) = highest.addingReportingOverflow(max(reach, 0))
    overflows = overflows || overflow || lowOverflow || highOverflow
    lowest = low
    highest = high
  }
  func isWithin(_ count: Int) -> Bool { !overflows && lowest >= 0 && highest < count }
}

extension Instruction.Window {
  /// Positions of the window over padded rows or columns; nil when it does not fit.
  package func rows(of height: Int) -> Int? {
    let span = height + padTop + padBottom - spanRows
    return span < 0 ? nil : span / strideRows + 1
  }
  package func columns(of width: Int) -> Int? {
    let span = width + padLeft + padRight - spanColumns
    return span < 0 ? nil : span / strideColumns + 1
  }
  package func paddedHeight(_ x: Program.Tensor) -> Int { x.height + padTop + padBottom }
  package func paddedWidth(_ x: Program.Tensor) -> Int { x.width + padLeft + padRight }
}

extension Instruction.Convolution.Kind {
  /// Bytes of a pixel of the image that kernels read: stored numbers, or plane after plane of bits in whole words.
  package func imagePixelBytes(_ input: Program.Tensor) -> Int {
    isBitSerial
      ? Int(input.bits) * (roundedUp(input.channels, to: channelMultiple) / 8)
      : roundedUp(input.channels, to: 4)
  }
}

extension ConvolutionGeometry {
  package init(_ convolution: Instruction.Convolution, input: Program.Tensor, output: Program.Tensor) {
    self.init(
      kind: convolution.kind, inputChannels: input.channels, outputChannels: output.channels,
      kernelHeight: convolution.window.kernelHeight, kernelWidth: convolution.window.kernelWidth,
      groups: convolution.groups)
  }
  /// The weights of a matrix product.
  package init(_ kind: Instruction.Convolution.Kind, productOf input: Program.Tensor, outputs: Int) {
    self.init(
      kind: kind, inputChannels: input.channels, outputChannels: outputs, kernelHeight: 1, kernelWidth: 1,
      groups: 1)
  }
}
