#if !hasFeature(Embedded)
  extension Program {
    /// The program as text for people, one instruction a line.
    package var disassembly: String {
      var lines = [
        "; \(instructions.count) instructions, \(tensors.count) tensors, arena \(arenaBytes) bytes, "
          + "data \(data.count) bytes"
      ]
      for index in inputs { lines.append("input  \(reference(index)) : \(type(index))") }
      for index in outputs { lines.append("output \(reference(index)) : \(type(index))") }
      for (index, instruction) in instructions.enumerated() {
        let operands = instruction.inputs.map(reference).joined(separator: ", ")
        let number = String(repeating: " ", count: max(0, 4 - "\(index)".count)) + "\(index)"
        lines.append(
          "\(number)  \(reference(instruction.output)) = \(instruction.operation.mnemonic) \(operands)"
            + "\(attributes(instruction.operation)) : \(type(instruction.output))  ; \(instruction.name)")
      }
      return lines.joined(separator: "\n") + "\n"
    }

    /// `u8[16x32x32]<0.05:3> @4096`
    package func type(_ index: Int) -> String {
      let tensor = tensors[index]
      let shape = tensor.shape.map(String.init).joined(separator: "x")
      let meaning =
        tensor.element == .f32
        ? "f32[\(shape)]" : "u\(tensor.bits)[\(shape)]<\(tensor.scale):\(tensor.zeroPoint)>"
      let border = tensor.border
      let layout =
        (tensor.layout == .channelsLast4 ? " nhwc/\(tensor.pixelStride)" : "")
        + (border == .none ? "" : " border \(border.top),\(border.left),\(border.bottom),\(border.right)")
      return switch tensor.storage {
      case .arena(let offset): "\(meaning)\(layout) @\(offset)"
      case .input, .output: meaning
      }
    }

    private func reference(_ index: Int) -> String { "%\(index)" }

    private func attributes(_ operation: Instruction.Operation) -> String {
      switch operation {
      case .quantize(let o): o.inputIsChannelsLast ? " {input=hwc}" : ""
      case .dequantize: ""
      case .convolution(let o):
        " {\(text(o.window)) groups=\(o.groups) \(text(o.clamp)) weights=\(text(o.weights))"
          + " bias=\(o.bias.offset) multiplier=\(o.multiplier.offset) shift=\(o.shift.offset)}"
      case .floatProduct(let o):
        " {weights=\(text(o.weights)) bias=\(o.bias.offset) scale=\(o.scale.offset)}"
      case .add(let o): " {a*\(o.multiplierA) + b*\(o.multiplierB) >> \(o.shift) \(text(o.clamp))}"
      case .multiply(let o): " {*\(o.multiplier) >> \(o.shift) \(text(o.clamp))}"
      case .averagePool(let o):
        " {\(text(o.window))\(o.countsPads ? " count-pads" : "") \(text(o.clamp)) table=\(o.shift.count)}"
      case .maxPool(let o): " {\(text(o.window))}"
      case .lookup(let o): " {table=\(o.table.offset)}"
      case .copy(let o):
        " {+\(o.inputOffset) -> +\(o.outputOffset)"
          + o.dimensions.map { " \($0.extent)*(\($0.inputStride) -> \($0.outputStride))" }.joined()
          + (o.fill.map { " fill=\($0)" } ?? "") + "}"
      case .softmax(let o): " {\(o.outer)x\(o.extent)x\(o.inner)}"
      }
    }
    private func text(_ w: Instruction.Window) -> String {
      var parts = ["\(w.kernelHeight)x\(w.kernelWidth)"]
      if w.strideRows != 1 || w.strideColumns != 1 {
        parts.append("stride \(w.strideRows)x\(w.strideColumns)")
      }
      if w.isPadded { parts.append("pad \(w.padTop),\(w.padLeft),\(w.padBottom),\(w.padRight)") }
      if w.dilationRows != 1 || w.dilationColumns != 1 {
        parts.append("dilation \(w.dilationRows)x\(w.dilationColumns)")
      }
      return parts.joined(separator: " ")
    }
    private func text(_ clamp: Instruction.Clamp) -> String { "clamp \(clamp.minimum)...\(clamp.maximum)" }
    private func text(_ slice: DataSlice) -> String { "\(slice.offset)+\(slice.count)" }
  }

  extension Instruction.Operation {
    package var mnemonic: String {
      switch self {
      case .quantize: "quantize"
      case .dequantize: "dequantize"
      case .convolution(let o):
        switch o.kind {
        case .dense8: "convolution8"
        case .dense4: "convolution4"
        case .dense2: "convolution2"
        case .palette: "convolution-palette"
        case .binary: "convolution-binary"
        case .ternary: "convolution-ternary"
        case .depthwise: "depthwise"
        }
      case .floatProduct(let o): o.kind == .dense4 ? "float-product4" : "float-product8"
      case .add: "add"
      case .multiply: "multiply"
      case .averagePool: "average-pool"
      case .maxPool: "max-pool"
      case .lookup: "lookup"
      case .copy: "copy"
      case .softmax: "softmax"
      }
    }
  }
#endif
