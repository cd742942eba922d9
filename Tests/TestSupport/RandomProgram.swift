import Program

/// A network of random operations on random shapes. Tensors share memory where a sum, a product or a lookup overwrites its
/// operand, and where two lie side by side in every pixel.
package struct RandomProgram {
  private var random: SeededGenerator
  private var builder = ProgramBuilder()
  private var arena = 0
  package private(set) var program = Program()

  package init(seed: UInt64, operations: Int, largestImage: Int = 14) throws(ProgramError) {
    random = SeededGenerator(state: seed)
    let shape = [pick(1...9), pick(1...largestImage), pick(1...largestImage)]
    let isChannelsLast = pick(0...3) == 0
    let image = builder.addTensor(
      .real("image", shape: isChannelsLast ? [shape[1], shape[2], shape[0]] : shape, storage: .input(0)))
    let first = activation(shape)
    builder.append(
      "quantize", .quantize(.init(input: image, output: first, inputIsChannelsLast: isChannelsLast)))
    var last = first
    for index in 0..<operations { last = append("operation \(index)", last) }
    finishWith(last)
    program = try builder.finish(arenaBytes: arena)
  }

  package mutating func inputs(_ samples: Int = 1) -> [[Float]] {
    program.inputs.map { tensor in
      (0..<samples * program.tensors[tensor].elementCount).map { _ in Float.random(in: -3...3, using: &random)
      }
    }
  }

  // MARK: Pieces

  private mutating func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
  private mutating func number(_ range: ClosedRange<Int32>) -> Int32 {
    Int32.random(in: range, using: &random)
  }

  private mutating func clamp() -> Instruction.Clamp {
    pick(0...1) == 0 ? .init(0, 255) : .init(UInt8(pick(0...60)), UInt8(pick(190...255)))
  }
  private mutating func reserve(_ bytes: Int) -> Int {
    let offset = arena + 64 * pick(0...1)
    arena = roundedUp(offset + bytes, to: 64)
    return offset
  }

  /// - Parameter isCopied: copies write no borders.
  private mutating func activation(
    _ shape: [Int], rowMajor: Bool = false, bits: Int = 8, isCopied: Bool = false
  ) -> Int {
    let scale = Float.random(in: 0.01...0.05, using: &random), zeroPoint = UInt8(pick(0...(1 << bits - 1)))
    var tensor =
      rowMajor
      ? Program.Tensor.rowMajorActivation(
        "", shape: shape, arenaOffset: 0, scale: scale, zeroPoint: zeroPoint)
      : Program.Tensor.activation("", shape: shape, arenaOffset: 0, scale: scale, zeroPoint: zeroPoint)
    tensor.bits = UInt8(bits)
    if !rowMajor && shape.count == 3 && !isCopied && pick(0...1) == 0 {
      // Often one that agrees with others, or that all windows can read.
      let sides = pick(0...3) == 0 ? (0..<4).map { _ in pick(0...3) } : [2, 2, 2, 2]
      tensor.border = .init(top: sides[0], left: sides[1], bottom: sides[2], right: sides[3])
    } else if !rowMajor && pick(0...3) == 0 {
      tensor.pixelStride += 4 * pick(1...3)
    }
    tensor.storage = .arena(offset: reserve(tensor.byteCount))
    return builder.addTensor(tensor)
  }

  /// A result of the shape of `x`, which nothing reads afterwards: sometimes in its place.
  private mutating func replacement(of x: Int) -> Int {
    let tensor = builder.tensors[x], y = activation(tensor.shape)
    guard pick(0...1) == 0 else { return y }
    var inPlace = builder.tensors[y]
    (inPlace.storage, inPlace.pixelStride, inPlace.border) = (
      tensor.storage, tensor.pixelStride, tensor.border
    )
    return builder.addTensor(inPlace)
  }

  /// A window that fits `x`, and the rows and columns that it gives; with `ceil`, perhaps one more of each.
  private mutating func window(
    _ x: Program.Tensor, dilated: Bool = true, ceil: Bool = false
  ) -> (Instruction.Window, height: Int, width: Int) {
    let kernel = [pick(1...min(4, x.height)), pick(1...min(4, x.width))]
    let pads = pick(0...2) == 0 ? [0, 0, 0, 0] : (0..<4).map { _ in pick(0...2) }
    var dilations = [1, 1]
    if dilated {
      for axis in 0..<2 where (kernel[axis] - 1) * 2 < [x.height, x.width][axis] {
        dilations[axis] = pick(1...2)
      }
    }
    let window = Instruction.Window(
      kernel: kernel, strides: [pick(1...3), pick(1...3)], pads: pads, dilations: dilations)
    var height = window.rows(of: x.height) ?? 1, width = window.columns(of: x.width) ?? 1
    if ceil {
      if height * window.strideRows < x.height + window.padTop { height += pick(0...1) }
      if width * window.strideColumns < x.width + window.padLeft { width += pick(0...1) }
    }
    return (window, height, width)
  }

  /// Appends a random operation on `x`; returns its result, or `x` where it does not apply.
  private mutating func append(_ name: String, _ x: Int) -> Int {
    let tensor = builder.tensors[x]
    guard tensor.layout == .channelsLast4, tensor.shape.count == 3 else { return reshaped(name, x, tensor) }
    switch pick(0...12) {
    case 0...3: return convolution(name, x, tensor)
    case 4:
      let b = convolution(name, x, tensor, keepingShape: true), y = replacement(of: pick(0...1) == 0 ? x : b)
      let (ma, mb) = (number(-(1 << 21)...(1 << 21)), number(-(1 << 20)...(1 << 20)))
      builder.append(
        name,
        .add(
          .init(
            a: x, b: b, output: y, multiplierA: ma, multiplierB: mb, shift: number(19...22), clamp: clamp())))
      return y
    case 5:
      let b = pick(0...1) == 0 ? x : average(name, x, tensor, global: true), y = replacement(of: x)
      builder.append(
        name,
        .multiply(
          .init(
            a: x, b: b, output: y, multiplier: number((1 << 30)...Int32.max), shift: number(34...38),
            clamp: clamp())))
      return y
    case 6: return average(name, x, tensor, global: pick(0...3) == 0)
    case 7:
      let (window, height, width) = window(tensor, ceil: true)
      let y = activation([tensor.channels, height, width])
      builder.append(name, .maxPool(.init(input: x, output: y, window: window)))
      return y
    case 8:
      let y = replacement(of: x)
      let table = builder.addData((0..<256).map { _ in UInt8.random(in: 0...255, using: &random) })
      builder.append(name, .lookup(.init(input: x, output: y, table: table)))
      return y
    case 9: return concatenated(name, x, tensor)
    case 10: return padded(name, x, tensor)
    case 11: return neighbours(name, x, tensor)
    default: return reshaped(name, x, tensor)
    }
  }

  /// A table of `x` and a convolution of it side by side in every pixel, and their sum: neither may write over the other.
  private mutating func neighbours(_ name: String, _ x: Int, _ tensor: Program.Tensor) -> Int {
    let stored = roundedUp(tensor.channels, to: 4),
      whole = activation([2 * stored, tensor.height, tensor.width], isCopied: true)
    let stride = builder.tensors[whole].pixelStride
    guard case .arena(let offset) = builder.tensors[whole].storage else { return x }
    let parts = [offset, offset + stored].shuffled(using: &random).map { offset in
      let own = activation(tensor.shape, isCopied: true)
      var part = builder.tensors[own]
      (part.storage, part.pixelStride) = (.arena(offset: offset), stride)
      return builder.addTensor(part)
    }
    let table = builder.addData((0..<256).map { _ in UInt8.random(in: 0...255, using: &random) })
    let look = Instruction.Operation.lookup(.init(input: x, output: parts[0], table: table))
    let isFirst = pick(0...1) == 0
    if isFirst { builder.append(name, look) }
    _ = convolution(name, x, tensor, keepingShape: true, output: parts[1])
    if !isFirst { builder.append(name, look) }
    let y = replacement(of: parts[pick(0...1)])
    builder.append(
      name,
      .add(
        .init(
          a: parts[0], b: parts[1], output: y, multiplierA: number(0...(1 << 20)),
          multiplierB: number(0...(1 << 20)), shift: 20, clamp: clamp())))
    return y
  }

  private mutating func convolution(
    _ name: String, _ x: Int, _ tensor: Program.Tensor, keepingShape: Bool = false, output: Int? = nil
  ) -> Int {
    var (w, height, width) = window(tensor)
    if keepingShape {
      let radius = pick(0...1), kernel = [Int](repeating: 2 * radius + 1, count: 2)
      w = Instruction.Window(kernel: kernel, pads: [Int](repeating: radius, count: 4))
      (height, width) = (tensor.height, tensor.width)
    }
    var outputs = keepingShape ? tensor.channels : pick(1...37), groups = 1
    if pick(0...2) == 0 {
      groups = (1...tensor.channels).filter { tensor.channels % $0 == 0 }.randomElement(using: &random) ?? 1
      if !keepingShape { outputs = groups * pick(1...18) }
      if pick(0...1) == 0 { (groups, outputs) = (tensor.channels, tensor.channels) }
    }
    let isDepthwise = groups > 1 && groups == tensor.channels && groups == outputs
    let kinds = Instruction.Convolution.Kind.allCases.filter { kind in
      kind != .depthwise && (groups == 1 || !kind.isBitSerial)
    }
    let kind = isDepthwise ? .depthwise : kinds.randomElement(using: &random) ?? .dense8
    let x = kind.isBitSerial ? withFewBits(name, x, tensor) : x
    let y = output ?? activation([outputs, height, width])
    let shifts: ClosedRange<Int32> =
      switch kind {
      case .dense8, .depthwise, .palette: 38...42
      case .dense4: 34...38
      case .dense2, .binary, .ternary: 32...36
      }
    builder.appendConvolution(
      name, input: x, output: y, window: w, groups: groups, weightBits: 8, kind: kind,
      weights: weights(kind, outputs * tensor.channels / groups * w.taps),
      bias: (0..<outputs).map { _ in number(-20_000...20_000) },
      multiplier: (0..<outputs).map { _ in number((1 << 30)...Int32.max) },
      shift: (0..<outputs).map { _ in number(shifts) }, clamp: clamp())
    return y
  }

  /// Weights that a kind can hold.
  private mutating func weights(_ kind: Instruction.Convolution.Kind, _ count: Int) -> [Int8] {
    let first = Int8(pick(-128...112))
    return (0..<count).map { _ in
      switch kind {
      case .dense8, .depthwise: Int8.random(in: -127...127, using: &random)
      case .dense4: Int8.random(in: -7...7, using: &random)
      case .dense2: Int8.random(in: -2...1, using: &random)
      case .palette: Int8.random(in: first..<first + 15, using: &random)
      case .binary: Bool.random(using: &random) ? 1 : -1
      case .ternary: Int8.random(in: -1...1, using: &random)
      }
    }
  }

  /// The numbers of `x` by a table, as one of at most 4 bits; sometimes with bits beyond, which are not read.
  private mutating func withFewBits(_ name: String, _ x: Int, _ tensor: Program.Tensor) -> Int {
    let bits = pick(1...4), largest: UInt8 = pick(0...3) == 0 ? 255 : 1 << UInt8(bits) - 1
    let y = activation(tensor.shape, bits: bits)
    let table = builder.addData((0..<256).map { _ in UInt8.random(in: 0...largest, using: &random) })
    builder.append(name, .lookup(.init(input: x, output: y, table: table)))
    return y
  }

  private mutating func average(_ name: String, _ x: Int, _ tensor: Program.Tensor, global: Bool) -> Int {
    var (w, height, width) = window(tensor, dilated: false, ceil: true)
    if global { (w, height, width) = (Instruction.Window(kernel: [tensor.height, tensor.width]), 1, 1) }
    let y = activation([tensor.channels, height, width])
    builder.appendAveragePool(
      name, input: x, output: y, window: w, countsPads: pick(0...1) == 0,
      multiplier: (1...w.taps).map { Int32.max / Int32($0) },
      shift: (1...w.taps).map { _ in number(30...31) },
      clamp: clamp())
    return y
  }

  private mutating func concatenated(_ name: String, _ x: Int, _ tensor: Program.Tensor) -> Int {
    let other = convolution(name, x, tensor, keepingShape: true)
    let axis = pick(0...2)
    var shape = tensor.shape
    shape[axis] *= 2
    let y = activation(shape, isCopied: true)
    for (position, part) in [x, other].enumerated() {
      let target = StridedView(builder.tensors[y])
        .sliced(axis: axis, start: position * tensor.shape[axis], count: tensor.shape[axis])
      copy(name, StridedView(builder.tensors[part]), part, target, y)
    }
    return y
  }

  private mutating func padded(_ name: String, _ x: Int, _ tensor: Program.Tensor) -> Int {
    let before = (0..<3).map { _ in pick(0...2) }
    let y = activation((0..<3).map { tensor.shape[$0] + before[$0] + pick(0...2) }, isCopied: true)
    var target = StridedView(builder.tensors[y])
    for axis in 0..<3 { target = target.sliced(axis: axis, start: before[axis], count: tensor.shape[axis]) }
    copy(name, StridedView(tensor), x, target, y, fill: UInt8(pick(0...255)))
    return y
  }

  /// Another shape or order of the same elements, or every other one.
  private mutating func reshaped(_ name: String, _ x: Int, _ tensor: Program.Tensor) -> Int {
    let view = StridedView(tensor)
    if tensor.shape.count == 3 && pick(0...1) == 0 {
      let permutation = [0, 1, 2].shuffled(using: &random)
      let axis = pick(0...2), count = (tensor.shape[axis] + 1) / 2
      let source = view.sliced(axis: axis, start: 2 * (count - 1), step: -2, count: count).permuted(
        permutation)
      let y = activation(source.shape, rowMajor: pick(0...1) == 0, isCopied: true)
      copy(name, source, x, StridedView(builder.tensors[y]), y)
      return y
    }
    let count = tensor.elementCount
    let divisor = (1...count).filter { count % $0 == 0 }.randomElement(using: &random) ?? 1
    let y = activation(pick(0...1) == 0 ? [count] : [divisor, 1, count / divisor], isCopied: true)
    guard let move = Instruction.Copy(from: view, of: x, to: StridedView(builder.tensors[y]), of: y) else {
      return x
    }
    builder.append(name, .copy(move))
    return y
  }

  private mutating func copy(
    _ name: String, _ source: StridedView, _ x: Int, _ target: StridedView, _ y: Int, fill: UInt8? = nil
  ) {
    guard let move = Instruction.Copy(from: source, of: x, to: target, of: y, fill: fill) else { return }
    builder.append(name, .copy(move))
  }

  /// Reals of the last tensor; products and a softmax of its elements.
  private mutating func finishWith(_ last: Int) {
    let tensor = builder.tensors[last], count = tensor.elementCount
    let flat = activation([count])
    copy("flatten", StridedView(tensor), last, StridedView(builder.tensors[flat]), flat)
    let reals = builder.addTensor(.real("reals", shape: tensor.shape, storage: .output(0)))
    builder.append("dequantize", .dequantize(.init(input: last, output: reals)))

    let outputs = pick(1...40), bits = pick(0...1) == 0 ? 4 : 8, largest: Int8 = bits == 4 ? 7 : 127
    let scores = builder.addTensor(
      .real("scores", shape: [outputs], storage: .arena(offset: reserve(4 * outputs))))
    builder.appendFloatProduct(
      "scores", input: flat, output: scores, weightBits: bits,
      weights: (0..<count * outputs).map { _ in Int8.random(in: -largest...largest, using: &random) },
      bias: (0..<outputs).map { _ in number(-20_000...20_000) },
      scale: (0..<outputs).map { _ in Float.random(in: 1e-6...1e-4, using: &random) })
    let probabilities = builder.addTensor(.real("probabilities", shape: [outputs], storage: .output(1)))
    let inner = outputs % 2 == 0 ? 2 : 1
    builder.append(
      "softmax",
      .softmax(.init(input: scores, output: probabilities, outer: 1, extent: outputs / inner, inner: inner)))
  }
}
