import Numerics

/// How the weights of a convolution lie in memory, and which bytes of the input they meet.
///
/// A row of weights belongs to one output channel. Dense: tap after tap, each with the group's input channels
/// rounded up to a multiple of 4 (the excess weights are zero); of bits: to a multiple of 32. Depthwise: one weight a
/// tap. Rows are packed by `Numerics.WeightPacking`; the panels of one group follow those of the previous one.
package struct ConvolutionGeometry: Hashable, Sendable {
  package var kind: Instruction.Convolution.Kind
  package var inputChannels: Int
  package var outputChannels: Int
  package var kernelHeight: Int
  package var kernelWidth: Int
  package var groups: Int

  /// - Requires: positive numbers; `groups` divides both channel counts.
  package init(
    kind: Instruction.Convolution.Kind, inputChannels: Int, outputChannels: Int, kernelHeight: Int,
    kernelWidth: Int,
    groups: Int
  ) {
    self.kind = kind
    self.inputChannels = inputChannels
    self.outputChannels = outputChannels
    self.kernelHeight = kernelHeight
    self.kernelWidth = kernelWidth
    self.groups = groups
  }

  package var taps: Int { kernelHeight * kernelWidth }
  package var inputsPerGroup: Int { inputChannels / groups }
  package var outputsPerGroup: Int { outputChannels / groups }
  /// Weights of one row, rounding included.
  package var rowLength: Int {
    kind == .depthwise ? taps : taps * roundedUp(inputsPerGroup, to: kind.channelMultiple)
  }
  /// Blocks of input that a kernel walks through: of 4 channels, of 32 channels' bits of one plane, or single taps
  /// (depthwise), as kernels count them.
  package var steps: Int {
    switch kind {
    case .dense8: WeightPacking.steps(rowLength)
    case .dense4, .palette: WeightPacking.evenSteps(rowLength)
    case .dense2: WeightPacking.quadSteps(rowLength)
    case .depthwise: roundedUp(taps, to: 4)
    case .binary, .ternary: rowLength / WeightPacking.bitsPerStep
    }
  }
  /// Bytes of one panel of 16 output channels.
  package var panelBytes: Int {
    switch kind {
    case .dense8, .binary: steps * 64
    case .dense4: steps * 32
    case .palette: WeightPacking.palettePanelBytes(rowLength)
    case .dense2, .depthwise: steps * 16
    case .ternary: steps * 128
    }
  }
  /// Panels that one kernel call walks through: of one group, or of all channels (depthwise).
  package var panelsPerCall: Int {
    WeightPacking.panels(kind == .depthwise ? outputChannels : outputsPerGroup)
  }
  /// Kernel calls that make up the convolution.
  package var calls: Int { kind == .depthwise ? 1 : groups }
  package var weightBytes: Int { calls * panelsPerCall * panelBytes }
  /// Multiplications for one output pixel, rounding excluded.
  package var productsPerPixel: Int { outputChannels * inputsPerGroup * taps }
}

extension Program {
  /// Multiplications of a convolution or matrix product for one sample; 0 for other instructions.
  package func products(_ index: Int) -> Int {
    switch instructions[index].operation {
    case .convolution(let o):
      let y = tensors[o.output]
      return ConvolutionGeometry(o, input: tensors[o.input], output: y).productsPerPixel * y.pixels
    case .floatProduct(let o): return tensors[o.input].elementCount * tensors[o.output].elementCount
    case .quantize, .dequantize, .add, .multiply, .averagePool, .maxPool, .lookup, .copy, .softmax: return 0
    }
  }
}

#if !hasFeature(Embedded)
  extension ConvolutionGeometry {
    /// Packs weights given as [O, C / groups, kh, kw].
    /// - Requires: as many weights as that shape has, all of which the kind can hold; see `canHold`.
    package func packed(_ weights: [Int8]) -> [UInt8] {
      let perCall = kind == .depthwise ? outputChannels : outputsPerGroup
      let inputs = inputsPerGroup, padded = rowLength / taps
      var result: [UInt8] = []
      result.reserveCapacity(weightBytes)
      for call in 0..<calls {
        var rows = [Int8](repeating: 0, count: perCall * rowLength)
        for channel in 0..<perCall {
          for input in 0..<inputs {
            let source = ((call * perCall + channel) * inputs + input) * taps
            for tap in 0..<taps { rows[channel * rowLength + tap * padded + input] = weights[source + tap] }
          }
        }
        let panels =
          switch kind {
          case .dense8, .depthwise: WeightPacking.pack8(rows, channels: perCall, rowLength: rowLength)
          case .dense4: WeightPacking.pack4(rows, channels: perCall, rowLength: rowLength)
          case .dense2: WeightPacking.pack2(rows, channels: perCall, rowLength: rowLength)
          case .palette: WeightPacking.packPalette(rows, channels: perCall, rowLength: rowLength) ?? []
          case .binary: WeightPacking.packBinary(rows, channels: perCall, rowLength: rowLength)
          case .ternary: WeightPacking.packTernary(rows, channels: perCall, rowLength: rowLength)
          }
        result += panels
      }
      return result
    }

    /// Whether the kind's storage holds these weights [O, C / groups, kh, kw] without loss.
    package func canHold(_ weights: [Int8]) -> Bool {
      switch kind {
      case .dense8, .depthwise: true
      case .dense4: weights.allSatisfy { (-8...7).contains($0) }
      case .dense2: weights.allSatisfy { (-2...1).contains($0) }
      case .binary: weights.allSatisfy { $0 == -1 || $0 == 1 }
      case .ternary: weights.allSatisfy { (-1...1).contains($0) }
      case .palette: holdsPalettes(weights)
      }
    }

    /// Whether no panel has more than 15 different weights besides 0.
    private func holdsPalettes(_ weights: [Int8]) -> Bool {
      let row = inputsPerGroup * taps
      for group in 0..<calls {
        for panel in 0..<panelsPerCall {
          let first = group * outputsPerGroup + panel * WeightPacking.panelChannels
          let end = min(first + WeightPacking.panelChannels, (group + 1) * outputsPerGroup)
          guard Set(weights[first * row..<end * row]).subtracting([0]).count <= 15 else { return false }
        }
      }
      return true
    }

    /// The weights that `packed` packed.
    /// - Requires: `weightBytes` bytes.
    package func unpacked(_ bytes: [UInt8]) -> [Int8] {
      let perCall = kind == .depthwise ? outputChannels : outputsPerGroup
      let inputs = inputsPerGroup, padded = rowLength / taps, callBytes = panelsPerCall * panelBytes
      var weights = [Int8](repeating: 0, count: outputChannels * inputs * taps)
      for call in 0..<calls {
        let part = Array(bytes[call * callBytes..<(call + 1) * callBytes])
        let rows =
          switch kind {
          case .dense8, .depthwise: WeightPacking.unpack8(part, channels: perCall, rowLength: rowLength)
          case .dense4: WeightPacking.unpack4(part, channels: perCall, rowLength: rowLength)
          case .dense2: WeightPacking.unpack2(part, channels: perCall, rowLength: rowLength)
          case .palette: WeightPacking.unpackPalette(part, channels: perCall, rowLength: rowLength)
          case .binary: WeightPacking.unpackBinary(part, channels: perCall, rowLength: rowLength)
          case .ternary: WeightPacking.unpackTernary(part, channels: perCall, rowLength: rowLength)
          }
        for channel in 0..<perCall {
          for input in 0..<inputs {
            let target = ((call * perCall + channel) * inputs + input) * taps
            for tap in 0..<taps { weights[target + tap] = rows[channel * rowLength + tap * padded + input] }
          }
        }
      }
      return weights
    }
  }
#endif
