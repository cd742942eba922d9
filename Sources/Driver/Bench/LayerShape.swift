import Numerics
import Program
import Support

/// A convolution given on the command line: `3x3,64-64,@56x56,stride=1,bits=8`.
struct LayerShape {
  private(set) var kernel = [0, 0]
  private(set) var inputs = 0
  private(set) var outputs = 0
  /// Rows and columns of the output.
  private(set) var size = [0, 0]
  private(set) var stride = 1
  private(set) var dilation = 1
  private(set) var groups = 1
  private(set) var weights = Weights.bits8
  private(set) var activationBits = 8
  private(set) var isPadded = true

  enum Weights: String {
    case bits8 = "8"
    case bits4 = "4"
    case bits2 = "2"
    case binary = "1"
    case ternary, palette
  }

  static let syntax = """
    A shape is 'KERNEL,CHANNELS,@SIZE' and options: '3x3,64-64,@56x56,stride=1,bits=8'. KERNEL is rows x columns, CHANNELS \
    inputs-outputs, SIZE rows x columns of the output. Options: stride=N, dilation=N, groups=N or dw (a group for every \
    channel), bits=8, 4, 2, 1, ternary or palette (of weights), activations=N (their bits, 8; for weights of 1 bit and ternary \
    ones at most 4, and usually 1), pad=same (as many rows and columns as the stride leaves, the default) or pad=none.
    """

  init(_ text: String) throws(CompilerError) {
    func failure(_ message: String) -> CompilerError {
      CompilerError("the shape '\(text)' \(message)", notes: [Self.syntax], status: .usage)
    }
    func numbers(_ part: Substring, _ separator: Character) -> [Int]? {
      let numbers = part.split(separator: separator, omittingEmptySubsequences: false).map { Int($0) ?? 0 }
      return numbers.count == 2 && numbers.allSatisfy { (1...65_535).contains($0) } ? numbers : nil
    }
    var isDepthwise = false, activations: Int?
    for part in text.split(whereSeparator: { $0 == "," || $0 == " " }) {
      let option = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      let value = option.count == 2 ? Int(option[1]).flatMap { (1...65_535).contains($0) ? $0 : nil } : nil
      switch (option[0], value) {
      case ("stride", let value?): stride = value
      case ("dilation", let value?): dilation = value
      case ("groups", let value?): groups = value
      case ("activations", let value?) where value <= 8: activations = value
      case ("bits", _):
        guard option.count == 2, let weights = Weights(rawValue: String(option[1])) else {
          throw failure("has weights of unknown bits")
        }
        self.weights = weights
      case ("pad", nil) where part == "pad=same": isPadded = true
      case ("pad", nil) where part == "pad=none": isPadded = false
      case ("dw", nil) where part == "dw": isDepthwise = true
      case _:
        if part.first == "@", let size = numbers(part.dropFirst(), "x") {
          self.size = size
        } else if let kernel = numbers(part, "x") {
          self.kernel = kernel
        } else if let channels = numbers(part, "-") {
          (inputs, outputs) = (channels[0], channels[1])
        } else {
          throw failure("has a part '\(part)' that means nothing")
        }
      }
    }
    guard kernel[0] > 0, inputs > 0, size[0] > 0 else { throw failure("lacks a kernel, channels or a size") }
    if isDepthwise { groups = inputs }
    let isBitSerial = kind?.isBitSerial ?? false
    activationBits = activations ?? (isBitSerial ? 1 : 8)
    guard !isBitSerial || (groups == 1 && activationBits <= Limits.bitPlanes) else {
      throw failure("has groups or activations that its weights cannot have")
    }
    guard inputs % groups == 0, outputs % groups == 0 else {
      throw failure("has \(groups) groups, which do not divide its channels")
    }
    guard !isDepthwise || inputs == outputs else {
      throw failure("is depthwise and needs as many outputs as inputs")
    }
    let limit = 1 << 28
    let pixels = (0..<2).reduce(1) { $0.multipliedSaturating(by: size[$1] * stride + span($1)) }
    guard pixels.multipliedSaturating(by: max(inputs, outputs)) < limit, weightCount < limit,
      span(0) < 65_536, span(1) < 65_536, stride * size[0] < 65_536, stride * size[1] < 65_536
    else { throw failure("is too large") }
  }

  /// nil for what the width and the groups suggest.
  private var kind: Instruction.Convolution.Kind? {
    switch weights {
    case .bits8, .bits4, .bits2: nil
    case .binary: .binary
    case .ternary: .ternary
    case .palette: .palette
    }
  }

  /// The n-th weight, and a factor that brings sums to bytes.
  private func weight(_ n: Int) -> Int8 {
    switch weights {
    case .bits8: Int8(n * 41 % 255 - 127)
    case .bits4: Int8(n * 41 % 15 - 7)
    case .bits2: Int8(n * 41 % 3 - 1)
    case .binary: Int8(n * 41 % 2 * 2 - 1)
    case .ternary: Int8(n * 41 % 3 - 1)
    case .palette: Int8(n * 41 % 16 * 16 - 128)
    }
  }
  private var factor: Double { weights == .bits8 || weights == .palette ? 0.0007 : 0.01 }

  private func span(_ axis: Int) -> Int { (kernel[axis] - 1) * dilation + 1 }
  private var weightCount: Int {
    [outputs, inputs / groups, kernel[0], kernel[1]].reduce(1) { $0.multipliedSaturating(by: $1) }
  }

  /// A program of this layer alone, between a quantization and a dequantization, with any weights.
  func program() throws -> Program {
    var pads = [0, 0, 0, 0], image = [0, 0]
    for axis in 0..<2 {
      let read = (size[axis] - 1) * stride + span(axis)
      image[axis] = isPadded ? min(size[axis] * stride, read) : read
      pads[axis] = (read - image[axis]) / 2
      pads[axis + 2] = read - image[axis] - pads[axis]
    }
    var builder = ProgramBuilder()
    let shapes = [[inputs] + image, [outputs] + size]
    let x = builder.addTensor(.real("x", shape: shapes[0], storage: .input(0)))
    let y = builder.addTensor(.real("y", shape: shapes[1], storage: .output(0)))
    let q = Program.Tensor.activation(
      "x.q", shape: shapes[0], arenaOffset: 0, scale: 1 / 255, zeroPoint: 0,
      bits: UInt8(activationBits))
    let start = roundedUp(q.byteCount, to: 64)
    let r = Program.Tensor.activation("y.q", shape: shapes[1], arenaOffset: start, scale: 1, zeroPoint: 128)
    let source = builder.addTensor(q), target = builder.addTensor(r)
    builder.append("quantize", .quantize(.init(input: x, output: source)))
    guard let factor = FixedPointMultiplier(fused: factor) else {
      throw CompilerError("no multiplier for the layer", status: .internalError)
    }
    builder.appendConvolution(
      "layer", input: source, output: target,
      window: Instruction.Window(
        kernel: kernel, strides: [stride, stride], pads: pads, dilations: [dilation, dilation]),
      groups: groups, weightBits: Int(weights.rawValue) ?? 8, kind: kind,
      weights: (0..<weightCount).map(weight),
      bias: [Int32](repeating: 1000, count: outputs),
      multiplier: [Int32](repeating: factor.multiplier, count: outputs),
      shift: [Int32](repeating: factor.shift, count: outputs), clamp: .init(0, 255))
    builder.append("dequantize", .dequantize(.init(input: target, output: y)))
    return try builder.finish(arenaBytes: start + r.byteCount)
  }

  /// The layer's instruction in `program`.
  static let instruction = 1
}

extension Int {
  fileprivate func multipliedSaturating(by other: Int) -> Int {
    let (product, overflow) = multipliedReportingOverflow(by: other)
    return overflow ? Int.max : product
  }
}
