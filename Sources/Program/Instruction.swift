import Numerics

/// One step of a program. Tensors are indices into `Program.tensors`, constants are slices of `Program.data`.
/// The arithmetic is that of `Numerics`.
package struct Instruction: Hashable, Sendable {
  /// The operation of the network that it stands for.
  package var name: Name
  package var operation: Operation

  package init(name: Name, _ operation: Operation) {
    self.name = name
    self.operation = operation
  }

  package enum Operation: Hashable, Sendable {
    case quantize(Quantize)
    case dequantize(Dequantize)
    case convolution(Convolution)
    case floatProduct(FloatProduct)
    case add(Add)
    case multiply(Multiply)
    case averagePool(AveragePool)
    case maxPool(MaxPool)
    case lookup(Lookup)
    case copy(Copy)
    case softmax(Softmax)
  }

  /// Bounds of stored results, both within 0 ... 255.
  package struct Clamp: Hashable, Sendable {
    package var minimum: UInt8
    package var maximum: UInt8

    package init(_ minimum: UInt8, _ maximum: UInt8) {
      self.minimum = minimum
      self.maximum = maximum
    }
  }

  /// A sliding window over rows and columns. Every number is at most 65535.
  package struct Window: Hashable, Sendable {
    package var kernelHeight: Int
    package var kernelWidth: Int
    package var strideRows: Int
    package var strideColumns: Int
    package var padTop: Int
    package var padLeft: Int
    package var padBottom: Int
    package var padRight: Int
    package var dilationRows: Int
    package var dilationColumns: Int

    /// Kernel, strides and dilations are rows, columns; pads are top, left, bottom, right.
    /// - Requires: 2, 2, 4 and 2 entries.
    package init(
      kernel: [Int], strides: [Int] = [1, 1], pads: [Int] = [0, 0, 0, 0], dilations: [Int] = [1, 1]
    ) {
      (kernelHeight, kernelWidth) = (kernel[0], kernel[1])
      (strideRows, strideColumns) = (strides[0], strides[1])
      (padTop, padLeft, padBottom, padRight) = (pads[0], pads[1], pads[2], pads[3])
      (dilationRows, dilationColumns) = (dilations[0], dilations[1])
    }

    package var taps: Int { kernelHeight * kernelWidth }
    /// Rows and columns from the first to the last tap.
    package var spanRows: Int { (kernelHeight - 1) * dilationRows + 1 }
    package var spanColumns: Int { (kernelWidth - 1) * dilationColumns + 1 }
    package var isPadded: Bool { padTop != 0 || padLeft != 0 || padBottom != 0 || padRight != 0 }
  }

  /// Real numbers to stored integers: `clamp(roundHalfEven(x / scale) + zeroPoint)`, both of the output
  /// tensor.
  package struct Quantize: Hashable, Sendable {
    /// f32, row-major.
    package var input: Int
    package var output: Int
    /// The input's extents are [H, W, C] while the output's are [C, H, W].
    package var inputIsChannelsLast: Bool

    package init(input: Int, output: Int, inputIsChannelsLast: Bool = false) {
      self.input = input
      self.output = output
      self.inputIsChannelsLast = inputIsChannelsLast
    }
  }

  /// Stored integers to real numbers: `scale * (stored - zeroPoint)`, both of the input tensor; same shape.
  package struct Dequantize: Hashable, Sendable {
    package var input: Int
    package var output: Int

    package init(input: Int, output: Int) {
      self.input = input
      self.output = output
    }
  }

  /// A convolution, or a matrix product as one over a 1 x 1 image; weights packed as `ConvolutionGeometry`
  /// says.
  package struct Convolution: Hashable, Sendable {
    package enum Kind: UInt8, Sendable, CaseIterable {
      /// Weights of 8 and of 4 bits; any number of groups.
      case dense8 = 0
      case dense4 = 1
      /// Groups, input channels and output channels are equal; weights of 8 bits.
      case depthwise = 2
      /// Weights of 2 bits; any number of groups.
      case dense2 = 3
      /// Codes of 4 bits into a table of 16 weights of 8 bits for every panel; any number of groups.
      case palette = 4
      /// Weights of -1 and 1, and of -1, 0 and 1, as bits; one group. Of every stored number of the input its lowest
      /// `bits` bits are read, of which there are at most `Limits.bitPlanes`: every plane of bits is multiplied by
      /// itself.
      case binary = 5
      case ternary = 6

      /// Whether products are counts of bits.
      package var isBitSerial: Bool { self == .binary || self == .ternary }
      /// What the channels of a tap are rounded up to.
      package var channelMultiple: Int { isBitSerial ? WeightPacking.bitsPerStep : 4 }
    }

    package var input: Int
    package var output: Int
    package var kind: Kind
    package var window: Window
    package var groups: Int
    package var weights: DataSlice
    /// i32 for every output channel, the input zero point's share folded in.
    package var bias: DataSlice
    /// i32 >= 0 for every output channel.
    package var multiplier: DataSlice
    /// u8 in 1 ... 62 for every output channel.
    package var shift: DataSlice
    package var clamp: Clamp

    package init(
      input: Int, output: Int, kind: Kind, window: Window, groups: Int, weights: DataSlice, bias: DataSlice,
      multiplier: DataSlice, shift: DataSlice, clamp: Clamp
    ) {
      self.input = input
      self.output = output
      self.kind = kind
      self.window = window
      self.groups = groups
      self.weights = weights
      self.bias = bias
      self.multiplier = multiplier
      self.shift = shift
      self.clamp = clamp
    }
  }

  /// Matrix product of one pixel's channels whose results leave the integers: `y[o] = scale[o] * (bias[o] + Σ
  /// x * w)`, the sum in 32 bits, one rounding. Weights are packed as those of a 1 x 1 convolution.
  package struct FloatProduct: Hashable, Sendable {
    package var input: Int
    /// f32, one element for every output channel.
    package var output: Int
    /// `dense8` or `dense4`.
    package var kind: Convolution.Kind
    package var weights: DataSlice
    /// i32 for every output channel, the input zero point's share folded in.
    package var bias: DataSlice
    /// f32 for every output channel.
    package var scale: DataSlice

    package init(
      input: Int, output: Int, kind: Convolution.Kind, weights: DataSlice, bias: DataSlice, scale: DataSlice
    ) {
      self.input = input
      self.output = output
      self.kind = kind
      self.weights = weights
      self.bias = bias
      self.scale = scale
    }
  }

  /// `clamp(zeroPoint + ((a - za) * multiplierA + (b - zb) * multiplierB + 2^(shift-1)) >> shift)` in 32
  /// bits.
  package struct Add: Hashable, Sendable {
    package var a: Int
    package var b: Int
    package var output: Int
    /// Magnitudes at most 2^21, shift 1 ... 30.
    package var multiplierA: Int32
    package var multiplierB: Int32
    package var shift: Int32
    package var clamp: Clamp

    package init(
      a: Int, b: Int, output: Int, multiplierA: Int32, multiplierB: Int32, shift: Int32, clamp: Clamp
    ) {
      self.a = a
      self.b = b
      self.output = output
      self.multiplierA = multiplierA
      self.multiplierB = multiplierB
      self.shift = shift
      self.clamp = clamp
    }
  }

  /// `clamp(zeroPoint + requantize((a - za) * (b - zb), multiplier, shift))`; b has a's shape or is [C, 1,
  /// 1].
  package struct Multiply: Hashable, Sendable {
    package var a: Int
    package var b: Int
    package var output: Int
    package var multiplier: Int32
    package var shift: Int32
    package var clamp: Clamp

    package init(a: Int, b: Int, output: Int, multiplier: Int32, shift: Int32, clamp: Clamp) {
      self.a = a
      self.b = b
      self.output = output
      self.multiplier = multiplier
      self.shift = shift
      self.clamp = clamp
    }
  }

  /// `clamp(zeroPoint + requantize(Σ (x - zx), multiplier[n - 1], shift[n - 1]))`, n the positions averaged.
  package struct AveragePool: Hashable, Sendable {
    package var input: Int
    package var output: Int
    package var window: Window
    /// n is always the whole window; otherwise it counts the positions inside the image.
    package var countsPads: Bool
    /// i32 and u8 for every n from 1 on; or for the whole window alone, where no window leaves the image or
    /// pads count.
    package var multiplier: DataSlice
    package var shift: DataSlice
    package var clamp: Clamp

    package init(
      input: Int, output: Int, window: Window, countsPads: Bool, multiplier: DataSlice, shift: DataSlice,
      clamp: Clamp
    ) {
      self.input = input
      self.output = output
      self.window = window
      self.countsPads = countsPads
      self.multiplier = multiplier
      self.shift = shift
      self.clamp = clamp
    }
  }

  /// Largest stored number of a window; positions outside the image never win.
  package struct MaxPool: Hashable, Sendable {
    package var input: Int
    package var output: Int
    package var window: Window

    package init(input: Int, output: Int, window: Window) {
      self.input = input
      self.output = output
      self.window = window
    }
  }

  /// `y = table[x]`.
  package struct Lookup: Hashable, Sendable {
    package var input: Int
    package var output: Int
    /// 256 bytes.
    package var table: DataSlice

    package init(input: Int, output: Int, table: DataSlice) {
      self.input = input
      self.output = output
      self.table = table
    }
  }

  /// Elements moved between strided views: concatenation, padding, slicing, transposition, reshaping.
  ///
  ///     output[outputOffset + Σ i_d * outputStride_d] = input[inputOffset + Σ i_d * inputStride_d]
  ///
  /// for 0 <= i_d < extent_d.
  package struct Copy: Hashable, Sendable {
    package struct Dimension: Hashable, BitwiseCopyable, Sendable {
      package var extent: Int
      /// In elements.
      package var inputStride: Int
      package var outputStride: Int

      package init(extent: Int, inputStride: Int, outputStride: Int) {
        self.extent = extent
        self.inputStride = inputStride
        self.outputStride = outputStride
      }
    }

    package static let maximumDimensions = 8

    package var input: Int
    package var output: Int
    package var inputOffset: Int
    package var outputOffset: Int
    /// At most 8, the last varying fastest.
    package var dimensions: [Dimension]
    /// Fills the output's bytes first.
    package var fill: UInt8?

    package init(
      input: Int, output: Int, inputOffset: Int, outputOffset: Int, dimensions: [Dimension],
      fill: UInt8? = nil
    ) {
      self.input = input
      self.output = output
      self.inputOffset = inputOffset
      self.outputOffset = outputOffset
      self.dimensions = dimensions
      self.fill = fill
    }
  }

  /// Softmax of real numbers over `extent` elements, `inner` apart, for every outer and inner position.
  package struct Softmax: Hashable, Sendable {
    package var input: Int
    package var output: Int
    package var outer: Int
    package var extent: Int
    package var inner: Int

    package init(input: Int, output: Int, outer: Int, extent: Int, inner: Int) {
      self.input = input
      self.output = output
      self.outer = outer
      self.extent = extent
      self.inner = inner
    }
  }
}

extension Instruction {
  /// The tensor that it writes; every instruction writes one.
  package var output: Int {
    switch operation {
    case .quantize(let o): o.output
    case .dequantize(let o): o.output
    case .convolution(let o): o.output
    case .floatProduct(let o): o.output
    case .add(let o): o.output
    case .multiply(let o): o.output
    case .averagePool(let o): o.output
    case .maxPool(let o): o.output
    case .lookup(let o): o.output
    case .copy(let o): o.output
    case .softmax(let o): o.output
    }
  }

  package var inputs: [Int] {
    switch operation {
    case .quantize(let o): [o.input]
    case .dequantize(let o): [o.input]
    case .convolution(let o): [o.input]
    case .floatProduct(let o): [o.input]
    case .add(let o): [o.a, o.b]
    case .multiply(let o): [o.a, o.b]
    case .averagePool(let o): [o.input]
    case .maxPool(let o): [o.input]
    case .lookup(let o): [o.input]
    case .copy(let o): [o.input]
    case .softmax(let o): [o.input]
    }
  }
}
