#if !hasFeature(Embedded)
  /// Instructions and tensors as records of fixed width; `RecordDecoder` is the inverse.
  enum RecordEncoder {
    static func record(_ tensor: Program.Tensor, name: UInt32) -> [UInt8] {
      var writer = ByteWriter()
      let storage: (kind: UInt8, value: Int) =
        switch tensor.storage {
        case .arena(let offset): (0, offset)
        case .input(let number): (1, number)
        case .output(let number): (2, number)
        }
      writer.append(name)
      writer.append(tensor.element.rawValue)
      writer.append(tensor.border == .none ? tensor.layout.rawValue : FileFormat.borderedLayout)
      writer.append(storage.kind)
      writer.append(UInt8(tensor.shape.count))
      writer.append(tensor.bits)
      writer.append(tensor.zeroPoint)
      writer.append(UInt16(0))
      writer.append(tensor.scale.bitPattern)
      writer.append(UInt64(storage.value))
      writer.append(UInt32(tensor.pixelStride))
      for axis in 0..<Limits.rank {
        writer.append(axis < tensor.shape.count ? UInt32(tensor.shape[axis]) : 0)
      }
      let border = tensor.border
      for side in [border.top, border.left, border.bottom, border.right] { writer.append(UInt8(side)) }
      writer.pad(to: FileFormat.tensorBytes)
      return writer.bytes
    }

    /// Word 0 is the opcode and three small numbers, word 1 the name, word 2 the output, word 3 the input.
    static func record(_ instruction: Instruction, name: UInt32, numbers: inout [Int32]) -> [UInt8] {
      var words: [UInt32] = []
      func head(_ opcode: FileFormat.Opcode, _ a: UInt8 = 0, _ b: UInt8 = 0, _ c: UInt8 = 0) {
        words = [
          UInt32(opcode.rawValue) | UInt32(a) << 8 | UInt32(b) << 16 | UInt32(c) << 24, name,
          UInt32(instruction.output), UInt32(instruction.inputs[0]),
        ]
      }
      switch instruction.operation {
      case .quantize(let o): head(.quantize, o.inputIsChannelsLast ? 1 : 0)
      case .dequantize: head(.dequantize)
      case .convolution(let o):
        head(.convolution, o.kind.rawValue, o.clamp.minimum, o.clamp.maximum)
        words += window(o.window)
        words += [UInt32(o.groups), units(o.weights), units(o.bias), units(o.multiplier), units(o.shift)]
      case .floatProduct(let o):
        head(.floatProduct, o.kind.rawValue)
        words += [units(o.weights), units(o.bias), units(o.scale)]
      case .add(let o):
        head(.add, UInt8(o.shift), o.clamp.minimum, o.clamp.maximum)
        words += [UInt32(o.b), UInt32(bitPattern: o.multiplierA), UInt32(bitPattern: o.multiplierB)]
      case .multiply(let o):
        head(.multiply, UInt8(o.shift), o.clamp.minimum, o.clamp.maximum)
        words += [UInt32(o.b), UInt32(bitPattern: o.multiplier)]
      case .averagePool(let o):
        head(.averagePool, o.countsPads ? 1 : 0, o.clamp.minimum, o.clamp.maximum)
        words += window(o.window)
        words += [UInt32(o.shift.count), units(o.multiplier), units(o.shift)]
      case .maxPool(let o):
        head(.maxPool)
        words += window(o.window)
      case .lookup(let o):
        head(.lookup)
        words += [units(o.table)]
      case .copy(let o):
        head(.copy, UInt8(o.dimensions.count), o.fill == nil ? 0 : 1, o.fill ?? 0)
        words += [
          UInt32(truncatingIfNeeded: o.inputOffset), UInt32(truncatingIfNeeded: o.outputOffset),
          UInt32(numbers.count),
        ]
        for dimension in o.dimensions {
          for number in [dimension.extent, dimension.inputStride, dimension.outputStride] {
            numbers.append(Int32(truncatingIfNeeded: number))
          }
        }
      case .softmax(let o):
        head(.softmax)
        words += [UInt32(o.outer), UInt32(o.extent), UInt32(o.inner)]
      }
      var writer = ByteWriter()
      for word in words { writer.append(word) }
      writer.pad(to: FileFormat.instructionBytes)
      return writer.bytes
    }

    private static func window(_ w: Instruction.Window) -> [UInt32] {
      func pair(_ a: Int, _ b: Int) -> UInt32 { UInt32(a) | UInt32(b) << 16 }
      return [
        pair(w.kernelHeight, w.kernelWidth), pair(w.strideRows, w.strideColumns), pair(w.padTop, w.padLeft),
        pair(w.padBottom, w.padRight), pair(w.dilationRows, w.dilationColumns),
      ]
    }

    /// Data offsets are counted in units of 4 bytes.
    private static func units(_ slice: DataSlice) -> UInt32 { UInt32(slice.offset / 4) }
  }
#endif
