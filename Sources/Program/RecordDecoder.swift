/// Reads the records that `RecordEncoder` writes. What it returns is well-formed but not yet valid; sizes of
/// data are those that the tensors ask for.
struct RecordDecoder {
  let bytes: ByteReader
  let names: ByteReader
  let numbers: ByteReader

  func tensor(at offset: Int) throws(ProgramError) -> Program.Tensor {
    let hasBorder = bytes.uint8(offset + 5) == FileFormat.borderedLayout
    guard let element = Program.Tensor.Element(rawValue: bytes.uint8(offset + 4)),
      let layout = hasBorder ? .channelsLast4 : Program.Tensor.Layout(rawValue: bytes.uint8(offset + 5))
    else { throw ProgramError("a tensor has an unknown element or layout", bytes.place(offset)) }
    let rank = Int(bytes.uint8(offset + 7))
    guard rank <= Limits.rank else {
      throw ProgramError("a tensor has more than 6 axes", bytes.place(offset))
    }
    let value = bytes.uint64(offset + 16)
    guard value <= UInt64(Limits.bytes) else {
      throw ProgramError("a tensor lies behind 2 GiB", bytes.place(offset))
    }
    let storage: Program.Tensor.Storage
    switch bytes.uint8(offset + 6) {
    case 0: storage = .arena(offset: Int(value))
    case 1: storage = .input(Int(value))
    case 2: storage = .output(Int(value))
    default: throw ProgramError("a tensor has an unknown kind of storage", bytes.place(offset))
    }
    func side(_ index: Int) -> Int { Int(bytes.uint8(offset + 52 + index)) }
    let border: Program.Tensor.Border =
      hasBorder ? .init(top: side(0), left: side(1), bottom: side(2), right: side(3)) : .none
    var shape: [Int] = []
    for axis in 0..<rank { shape.append(Int(bytes.uint32(offset + 28 + 4 * axis))) }
    return Program.Tensor(
      name: try name(bytes.uint32(offset), offset), element: element, layout: layout, shape: shape,
      storage: storage,
      pixelStride: Int(bytes.uint32(offset + 24)), border: border,
      scale: Float(bitPattern: bytes.uint32(offset + 12)),
      zeroPoint: bytes.uint8(offset + 9), bits: bytes.uint8(offset + 8))
  }

  func instruction(at offset: Int, _ tensors: [Program.Tensor]) throws(ProgramError) -> Instruction {
    guard let opcode = FileFormat.Opcode(rawValue: bytes.uint8(offset)) else {
      throw ProgramError("unknown instruction; a newer version of qcc wrote the file", bytes.place(offset))
    }
    let small = (bytes.uint8(offset + 1), bytes.uint8(offset + 2), bytes.uint8(offset + 3))
    func word(_ index: Int) -> Int { Int(bytes.uint32(offset + 4 * index)) }
    func signed(_ index: Int) -> Int32 { Int32(bitPattern: bytes.uint32(offset + 4 * index)) }
    func slice(_ index: Int, _ count: Int) -> DataSlice { DataSlice(offset: 4 * word(index), count: count) }
    let output = word(2), input = word(3)
    guard output < tensors.count, input < tensors.count else {
      throw ProgramError("an instruction names a tensor that does not exist", bytes.place(offset))
    }
    let clamp = Instruction.Clamp(small.1, small.2)
    let operation: Instruction.Operation
    switch opcode {
    case .quantize:
      operation = .quantize(.init(input: input, output: output, inputIsChannelsLast: small.0 & 1 != 0))
    case .dequantize: operation = .dequantize(.init(input: input, output: output))
    case .convolution:
      guard let kind = Instruction.Convolution.Kind(rawValue: small.0) else {
        throw ProgramError("unknown kind of convolution", bytes.place(offset))
      }
      let x = tensors[input], y = tensors[output], window = window(offset), groups = word(9)
      // Validation repeats these checks; without them the weights would have no size.
      guard x.shape.count >= 1, y.shape.count >= 1, groups >= 1, window.taps <= Limits.windowTaps,
        window.taps >= 1, x.shape[0] <= Limits.extent, y.shape[0] <= Limits.extent,
        x.layout == .channelsLast4,
        y.layout == .channelsLast4, x.channels % groups == 0, y.channels % groups == 0,
        boundedProduct(window.taps, roundedUp(x.channels / groups, to: kind.channelMultiple)) != nil
      else { throw ProgramError("a convolution does not fit its tensors", bytes.place(offset)) }
      let geometry = ConvolutionGeometry(
        kind: kind, inputChannels: x.channels, outputChannels: y.channels, kernelHeight: window.kernelHeight,
        kernelWidth: window.kernelWidth, groups: groups)
      operation = .convolution(
        .init(
          input: input, output: output, kind: kind, window: window, groups: groups,
          weights: slice(10, geometry.weightBytes), bias: slice(11, 4 * y.channels),
          multiplier: slice(12, 4 * y.channels), shift: slice(13, y.channels), clamp: clamp))
    case .floatProduct:
      guard let kind = Instruction.Convolution.Kind(rawValue: small.0) else {
        throw ProgramError("unknown kind of product", bytes.place(offset))
      }
      let x = tensors[input], y = tensors[output]
      guard x.shape.count >= 1, y.shape.count == 1, x.layout == .channelsLast4, x.shape[0] >= 1,
        x.shape[0] <= Limits.extent, y.shape[0] <= Limits.extent
      else { throw ProgramError("a product does not fit its tensors", bytes.place(offset)) }
      let geometry = ConvolutionGeometry(kind, productOf: x, outputs: y.shape[0])
      operation = .floatProduct(
        .init(
          input: input, output: output, kind: kind, weights: slice(4, geometry.weightBytes),
          bias: slice(5, 4 * y.shape[0]), scale: slice(6, 4 * y.shape[0])))
    case .add:
      operation = .add(
        .init(
          a: input, b: word(4), output: output, multiplierA: signed(5), multiplierB: signed(6),
          shift: Int32(small.0),
          clamp: clamp))
    case .multiply:
      operation = .multiply(
        .init(
          a: input, b: word(4), output: output, multiplier: signed(5), shift: Int32(small.0), clamp: clamp))
    case .averagePool:
      let count = word(9)
      operation = .averagePool(
        .init(
          input: input, output: output, window: window(offset), countsPads: small.0 & 1 != 0,
          multiplier: slice(10, 4 * count), shift: slice(11, count), clamp: clamp))
    case .maxPool: operation = .maxPool(.init(input: input, output: output, window: window(offset)))
    case .lookup: operation = .lookup(.init(input: input, output: output, table: slice(4, 256)))
    case .copy:
      let first = word(6), count = Int(small.0)
      guard count <= Instruction.Copy.maximumDimensions, first + 3 * count <= numbers.count / 4 else {
        throw ProgramError("the loops of a copy lie outside the section", bytes.place(offset))
      }
      var dimensions: [Instruction.Copy.Dimension] = []
      for index in 0..<count {
        let entry = 4 * (first + 3 * index)
        dimensions.append(
          .init(
            extent: Int(numbers.int32(entry)), inputStride: Int(numbers.int32(entry + 4)),
            outputStride: Int(numbers.int32(entry + 8))))
      }
      operation = .copy(
        .init(
          input: input, output: output, inputOffset: word(4), outputOffset: word(5), dimensions: dimensions,
          fill: small.1 & 1 != 0 ? small.2 : nil))
    case .softmax:
      operation = .softmax(
        .init(input: input, output: output, outer: word(4), extent: word(5), inner: word(6)))
    }
    return Instruction(name: try name(bytes.uint32(offset + 4), offset), operation)
  }

  private func window(_ offset: Int) -> Instruction.Window {
    func pair(_ word: Int) -> [Int] {
      [Int(bytes.uint16(offset + 4 * word)), Int(bytes.uint16(offset + 4 * word + 2))]
    }
    return Instruction.Window(kernel: pair(4), strides: pair(5), pads: pair(6) + pair(7), dilations: pair(8))
  }

  private func name(_ position: UInt32, _ record: Int) throws(ProgramError) -> Name {
    let start = Int(position)
    guard start + 2 <= names.count else {
      throw ProgramError("a name lies outside the section", bytes.place(record))
    }
    let count = Int(names.uint16(start))
    guard count <= names.count - start - 2 else {
      throw ProgramError("a name lies outside the section", bytes.place(record))
    }
    return Name(utf8: Array(names.bytes[start + 2..<start + 2 + count]))
  }
}

/// Little-endian numbers of a part of a file.
struct ByteReader {
  let bytes: UnsafeRawBufferPointer
  /// Where the part starts in the file.
  let origin: Int

  init(_ bytes: UnsafeRawBufferPointer, origin: Int) {
    self.bytes = UnsafeRawBufferPointer(rebasing: bytes[...])
    self.origin = origin
  }

  var count: Int { bytes.count }
  func place(_ offset: Int) -> ProgramError.Place { .file(byte: origin + offset) }
  /// - Requires: a range of bytes.
  func part(_ range: Range<Int>) -> ByteReader {
    ByteReader(UnsafeRawBufferPointer(rebasing: bytes[range]), origin: origin + range.lowerBound)
  }

  // - Requires, for all of them: the number lies within the bytes.
  func uint8(_ offset: Int) -> UInt8 {
    precondition(offset >= 0 && offset < count)
    return bytes[offset]
  }
  func uint16(_ offset: Int) -> UInt16 {
    precondition(offset >= 0 && offset <= count - 2)
    return UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }
  func uint32(_ offset: Int) -> UInt32 {
    precondition(offset >= 0 && offset <= count - 4)
    return UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }
  func int32(_ offset: Int) -> Int32 { Int32(bitPattern: uint32(offset)) }
  func uint64(_ offset: Int) -> UInt64 {
    precondition(offset >= 0 && offset <= count - 8)
    return UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }
}
