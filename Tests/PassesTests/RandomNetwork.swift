import IR

/// A seeded random number generator (SplitMix64).
struct SeededGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1 }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
  mutating func int(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(next() % UInt64(range.count)) }
  mutating func float(_ range: ClosedRange<Float> = -1...1) -> Float {
    range.lowerBound + (range.upperBound - range.lowerBound) * Float(next() >> 40) / 16_777_216
  }
  mutating func floats(_ count: Int, _ range: ClosedRange<Float> = -1...1) -> [Float] {
    (0..<count).map { _ in float(range) }
  }
}

/// A random network in the manner of exporters: convolutions with batch normalization before or behind them,
/// biases as additions, explicit pads, activations spelled out, shortcuts, and a classifier behind some form
/// of global pooling.
struct RandomNetwork {
  private(set) var graph = Graph(name: "random")
  private var random: SeededGenerator
  private var current: ValueID
  private var count = 0

  static func make(seed: UInt64) throws -> Graph {
    var network = RandomNetwork(seed)
    for _ in 0..<network.random.int(2...6) { try network.block() }
    try network.head()
    network.graph.addOutput(network.current)
    return network.graph
  }

  private init(_ seed: UInt64) {
    random = SeededGenerator(seed)
    let size = random.int(6...10)
    current = graph.addInput(
      "x", TensorType(Shape([.batch, .known(random.int(1...4)), .known(size), .known(size)]), .f32))
  }

  private var channels: Int { graph[current].type.shape.size(1) ?? 0 }
  private var height: Int { graph[current].type.shape.size(2) ?? 0 }
  private var width: Int { graph[current].type.shape.size(3) ?? 0 }

  private mutating func constant(_ shape: [Int], _ range: ClosedRange<Float> = -1...1) -> ValueID {
    count += 1
    return graph.addConstant(Constant("c\(count)", shape, random.floats(shape.reduce(1, *), range)))
  }
  private mutating func number(_ value: Float) -> ValueID {
    count += 1
    return graph.addConstant(Constant("c\(count)", [], [value]))
  }
  private mutating func add(_ op: Op, _ operands: [ValueID]) throws -> ValueID {
    count += 1
    let id = try graph.append(op, operands, name: "\(op.mnemonic)\(count)")
    return graph[id].results[0]
  }
  private mutating func binary(_ function: Binary.Function, _ a: ValueID, _ b: ValueID) throws -> ValueID {
    try add(.binary(Binary(function)), [a, b])
  }
  private mutating func unary(_ unary: Unary, _ a: ValueID) throws -> ValueID { try add(.unary(unary), [a]) }

  // MARK: Blocks

  private mutating func block() throws {
    switch random.int(0...9) {
    case 0...3: try convolution()
    case 4: try shortcut()
    case 5: try residual()
    case 6: try pooling()
    case 7: try detour()
    case 8: try affine()
    default: current = try activated(current)
    }
  }

  private mutating func batchNorm(_ value: ValueID) throws -> ValueID {
    let channels = graph[value].type.shape.size(1) ?? 0
    var norm = BatchNorm()
    norm.epsilon = random.int(0...1) == 0 ? 1e-5 : 1e-3
    let parameters = [
      constant([channels]), constant([channels]), constant([channels]), constant([channels], 0.1...2),
    ]
    return try add(.batchNorm(norm), [value] + parameters)
  }

  private mutating func convolution() throws {
    if random.int(0...4) == 0 { current = try batchNorm(current) }
    if random.int(0...2) == 0 {
      var pad = Pad()
      let value = random.int(0...3) == 0 ? Float(1) : 0
      pad.pads = [0, 0, random.int(0...1), random.int(0...1), 0, 0, random.int(0...2), random.int(0...2)]
      pad.value = value
      current = try add(.pad(pad), [current])
    }
    let isTransposed = random.int(0...5) == 0
    let groups = [1, channels, channels % 2 == 0 ? 2 : 1][random.int(0...2)]
    let outputs = groups * random.int(1...3)
    let kernel = random.int(1...min(3, height, width))
    let input = current, result: ValueID
    if isTransposed {
      var conv = ConvTranspose2D()
      conv.groups = groups
      conv.strides = [random.int(1...2), 1]
      result = try add(
        .convTranspose2d(conv), [input, constant([channels, outputs / groups, kernel, kernel])])
    } else {
      var conv = Conv2D()
      conv.groups = groups
      conv.strides = [random.int(1...2), random.int(1...2)]
      let pad = random.int(0...1) * (kernel / 2)
      conv.pads = [pad, pad, pad, pad]
      let weights = constant([outputs, channels / groups, kernel, kernel])
      let operands = random.int(0...1) == 0 ? [input, weights] : [input, weights, constant([outputs])]
      result = try add(.conv2d(conv), operands)
    }
    current = result
    if random.int(0...3) == 0 { current = try binary(.add, current, constant([1, channels, 1, 1])) }
    if random.int(0...3) == 0 { current = try binary(.multiply, constant([channels, 1, 1]), current) }
    if random.int(0...3) > 0 { current = try batchNorm(current) }
    if random.int(0...4) == 0 { graph.addOutput(result) }
    current = try activated(current)
  }

  private mutating func activated(_ x: ValueID) throws -> ValueID {
    switch random.int(0...8) {
    case 0: return try unary(Unary(.relu), x)
    case 1: return try unary(Unary(.clip, alpha: 0, beta: 6), x)
    case 2: return try binary(.minimum, try binary(.maximum, x, number(0)), number(1))
    case 3: return try binary(.multiply, x, try unary(Unary(.sigmoid), x))
    case 4:
      let clamped = try unary(Unary(.clip, alpha: 0, beta: 6), try binary(.add, x, number(3)))
      return try binary(.divide, try binary(.multiply, x, clamped), number(6))
    case 5: return try binary(.multiply, try unary(Unary(.hardSigmoid, alpha: 1 / 6, beta: 0.5), x), x)
    case 6:
      let error = try unary(Unary(.erf), try binary(.divide, x, number(Float(2).squareRoot())))
      return try binary(.multiply, try binary(.multiply, x, try binary(.add, error, number(1))), number(0.5))
    case 7: return try binary(.parametricRelu, x, number(0.1))
    default: return x
    }
  }

  /// A strided slice, or a strided pool, and new channels of zeros by a pad or a concat.
  private mutating func shortcut() throws {
    if random.int(0...1) == 0 {
      for axis in [2, 3] {
        var slice = Slice()
        slice.starts = [0]
        slice.ends = [Int.max]
        slice.axes = [random.int(0...1) == 0 ? axis : axis - 4]
        slice.steps = [2]
        current = try add(.slice(slice), [current])
      }
    } else {
      var pool = MaxPool()
      pool.strides = [2, 2]
      current = try add(.maxPool(pool), [current])
    }
    if random.int(0...1) == 0 {
      var pad = Pad()
      pad.pads = [0, 1, 0, 0, 0, random.int(0...2), 0, 0]
      current = try add(.pad(pad), [current])
    } else {
      var expand = Expand()
      expand.shape = Shape([.batch, .known(2), .known(height), .known(width)])
      let zero = graph.addConstant(Constant("zero\(count)", [1, 1, 1, 1], [Float(0)]))
      let zeros = try add(.expand(expand), [zero])
      var concat = Concat()
      concat.axis = random.int(0...1) == 0 ? 1 : -3
      current = try add(.concat(concat), random.int(0...1) == 0 ? [current, zeros] : [zeros, current])
    }
  }

  private mutating func residual() throws {
    let input = current
    var conv = Conv2D()
    conv.pads = [1, 1, 1, 1]
    current = try batchNorm(try add(.conv2d(conv), [current, constant([channels, channels, 3, 3])]))
    current = try unary(Unary(.relu), try binary(.add, current, input))
  }

  private mutating func pooling() throws {
    guard height >= 4, width >= 4 else { return }
    if random.int(0...1) == 0 {
      var pad = Pad()
      pad.pads = [0, 0, 1, 1, 0, 0, 0, 1]
      current = try add(.pad(pad), [current])
    }
    if random.int(0...1) == 0 {
      var pool = MaxPool()
      pool.kernel = [2, 2]
      pool.strides = [random.int(1...2), 2]
      current = try add(.maxPool(pool), [current])
    } else {
      var pool = AveragePool()
      pool.kernel = [2, 2]
      pool.strides = [2, 1]
      pool.pads = [0, 0, random.int(0...1), 0]
      pool.countPads = random.int(0...1) == 0
      current = try add(.averagePool(pool), [current])
    }
    if random.int(0...1) == 0 { current = try unary(Unary(.relu), current) }
  }

  /// There and back again: transposes, reshapes, identities.
  private mutating func detour() throws {
    let shape = graph[current].type.shape
    var there = Transpose(), back = Transpose()
    there.permutation = [0, 2, 3, 1]
    back.permutation = [0, 3, 1, 2]
    current = try add(.transpose(there), [current])
    if random.int(0...1) == 0 { current = try unary(Unary(.tanh), current) }
    current = try add(.transpose(back), [current])
    var flat = Reshape(), full = Reshape()
    flat.shape = Shape([.batch, shape[1], .known(height * width)])
    full.shape = shape
    current = try add(.reshape(flat), [current])
    current = try add(.identity(Identity()), [current])
    current = try add(.reshape(full), [current])
  }

  private mutating func affine() throws {
    current = try binary(.subtract, current, constant([channels, 1, 1]))
    current = try binary(.divide, current, constant([1, channels, 1, 1], 0.5...2))
  }

  // MARK: The classifier

  private mutating func head() throws {
    switch random.int(0...4) {
    case 0: current = try add(.globalAveragePool(GlobalAveragePool()), [current])
    case 1:
      var pool = AveragePool()
      pool.kernel = [height, width]
      pool.strides = [1, 1]
      current = try add(.averagePool(pool), [current])
    case 2:
      var flat = Reshape(), mean = Reduce(.mean)
      flat.shape = Shape([.batch, .known(channels), .known(height * width)])
      mean.axes = [2]
      mean.keepDimensions = false
      current = try add(.reshape(flat), [current])
      if random.int(0...1) == 0 { current = try binary(.multiply, current, constant([channels, 1])) }
      current = try add(.reduce(mean), [current])
    case 3:
      var mean = Reduce(.mean)
      mean.axes = [2, -1]
      mean.keepDimensions = random.int(0...1) == 0
      current = try add(.reduce(mean), [current])
    default: break
    }
    if graph[current].type.shape.rank == 4 { try flattening() }
    let depth = channels, outputs = random.int(2...5)
    switch random.int(0...2) {
    case 0:
      current = try add(.matMul(MatMul()), [current, constant([depth, outputs])])
      current = try binary(.add, current, constant([outputs]))
    case 1:
      var gemm = Gemm()
      gemm.alpha = 0.5
      gemm.beta = 2
      gemm.transposeB = random.int(0...1) == 0
      let weights = constant(gemm.transposeB ? [outputs, depth] : [depth, outputs])
      current = try add(
        .gemm(gemm), [current, weights, constant(random.int(0...1) == 0 ? [outputs] : [1, outputs])])
    default:
      var gemm = Gemm()
      gemm.transposeB = true
      current = try unary(Unary(.relu), try batchNorm(current))
      current = try batchNorm(try add(.gemm(gemm), [current, constant([outputs, depth])]))
    }
    if random.int(0...1) == 0 {
      var softmax = Softmax()
      softmax.axis = 1
      softmax.flatten = true
      current = try add(.softmax(softmax), [current])
    }
  }

  /// The shape computation that exporters write for `x.view(x.size(0), -1)`, or a plain flatten.
  private mutating func flattening() throws {
    guard random.int(0...1) == 0 else {
      current = try add(.flatten(Flatten()), [current])
      return
    }
    let shape = try add(.shapeOf(ShapeOf()), [current])
    let zero = graph.addConstant(Constant("i\(count)", [], [Int64(0)]))
    let rest = graph.addConstant(Constant("i\(count).rest", [1], [Int64(-1)]))
    var unsqueeze = Unsqueeze()
    unsqueeze.axes = [0]
    let batch = try add(.unsqueeze(unsqueeze), [try add(.gather(Gather()), [shape, zero])])
    current = try add(.reshape(Reshape()), [current, try add(.concat(Concat()), [batch, rest])])
  }
}
