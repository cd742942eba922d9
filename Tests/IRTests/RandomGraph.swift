import IR
import Numerics

/// SplitMix64.
struct SeededGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }
  mutating func int(_ range: ClosedRange<Int>) -> Int { range.lowerBound + Int(next() % UInt64(range.count)) }
  mutating func bool() -> Bool { next() & 1 == 0 }
  mutating func float() -> Float { Float(int(-1_000_000...1_000_000)) / 3000 }
  mutating func pick<T>(_ from: [T]) -> T { from[int(0...(from.count - 1))] }
}

/// Grows a valid graph in which every operation family can occur. What an operation refuses is left out.
struct RandomGraph {
  var graph: Graph
  private var random: SeededGenerator
  private var images: [ValueID] = []
  private var matrices: [ValueID] = []
  private var vectors: [ValueID] = []
  private var activations: [ValueID] = []
  private var count = 0

  static func make(seed: UInt64, operations: Int = 40) -> Graph {
    var builder = RandomGraph(seed)
    for _ in 0..<operations { builder.grow() }
    return builder.finished()
  }

  private init(_ seed: UInt64) {
    random = SeededGenerator(seed)
    graph = Graph(
      name: random.pick(["main", "//main", "a b", "näme", "x::y:"]), stage: random.pick(Stage.allCases))
    graph.setMetadata("source", "a \"b\"\\\n.onnx")
    graph.setMetadata("opset", "13")
    graph.setMetadata("odd key, = }", "")
    images.append(graph.addInput("x", TensorType(Shape([.batch, .known(4), .known(6), .known(6)]), .f32)))
    images.append(graph.addInput("x:", TensorType([2, 4, 6, 6], .f32)))
    matrices.append(graph.addInput("m/0", TensorType(Shape([.batch, .known(8)]), .f32)))
    vectors.append(graph.append("shape", .shapeOf(ShapeOf()), [images[0]]))
    activations.append(graph.append("q", .quantizeLinear(QuantizeLinear()), [images[0]]))
    activations.append(graph.append("q2", .quantizeLinear(QuantizeLinear()), [matrices[0]]))
  }

  private mutating func finished() -> Graph {
    for value in graph.values.indices.map({ ValueID(index: $0) }) where graph.uses(of: value).isEmpty {
      if graph.definingOp(of: value) != nil { graph.addOutput(value) }
      if let channels = graph[value].type.shape.size(1), channels > 0, random.bool() {
        graph.setStatistics(
          value,
          ChannelStatistics(
            means: (0..<channels).map { _ in random.float() },
            deviations: (0..<channels).map { _ in abs(random.float()) }))
      }
    }
    return graph
  }

  private mutating func name() -> String {
    count += 1
    return random.pick([
      "v\(count)", "/layer\(count)/Conv", "//layer\(count)", "onnx::Conv_\(count)", "\(count) space",
      "q\"\(count)\\", "é\u{301}\(count)", "\(count):",
    ])
  }
  private mutating func add(_ op: Op, _ operands: [ValueID]) {
    let name = name()
    guard
      let id = try? graph.append(
        op, operands, name: random.bool() ? name : "node of \(name)", resultNames: [name])
    else {
      return
    }
    for result in graph[id].results {
      if random.int(0...9) == 0 {
        graph.setPlacement(
          result,
          Graph.Placement(
            random.int(0...1 << 20), pixelStride: random.int(0...1) == 0 ? random.int(1...1 << 12) : nil))
      }
      let type = graph[result].type
      if let channels = type.shape.size(1), random.int(0...9) == 0 {
        let means = (0..<channels).map { _ in random.float() }
        graph.setStatistics(
          result, ChannelStatistics(means: means, deviations: means.map { abs($0) * 1e-20 }))
      }
      switch (type.element, type.shape.rank) {
      case (.f32, 4): images.append(result)
      case (.f32, 2): matrices.append(result)
      case (.i64, 1): vectors.append(result)
      case (.quantized(let q), _) where !q.isSigned:
        if random.bool() {
          let sides = random.bool() ? [0, 0, 0, 0] : (0..<4).map { _ in Int(random.next() % 3) }
          let border = Border(top: sides[0], left: sides[1], bottom: sides[2], right: sides[3])
          let hasBorder = graph[id].op.writesBorders && type.shape.rank == 4
          graph.setLayout(result, .channelsLast4(border: hasBorder ? border : .none))
        }
        activations.append(result)
      case (.f32, _), (.i64, _), (.i32, _), (.u8, _), (.i8, _), (.bool, _), (.quantized, _): break
      }
    }
  }

  private mutating func floats(_ shape: [Int]) -> ValueID {
    let odd: [Float] = [.infinity, -.infinity, .nan, -0.0, .leastNonzeroMagnitude, 3.4028235e38, 0.1]
    let count = shape.reduce(1, *)
    let values = (0..<count).map { _ in random.int(0...9) == 0 ? random.pick(odd) : random.float() }
    return graph.addConstant(Constant(name(), shape, values))
  }
  private mutating func integers(_ values: [Int]) -> ValueID {
    graph.addConstant(Constant(name(), [values.count], values.map { Int64($0) }))
  }
  private mutating func int32s(_ count: Int) -> ValueID {
    graph.addConstant(Constant(name(), [count], (0..<count).map { _ in Int32(random.int(-9...9)) }))
  }
  private mutating func weights(_ shape: [Int]) -> ValueID {
    let values = (0..<shape.reduce(1, *)).map { _ in Int8(random.int(-7...7)) }
    return graph.addConstant(Constant(name(), shape, values, bits: 4))
  }
  private mutating func activation() -> Activation {
    random.pick([.none, .relu, .clip(minimum: -1.5, maximum: 6), .clip(minimum: -.infinity, maximum: 0.1)])
  }
  private mutating func output() -> QuantizedType {
    .activation(bits: 8, scale: abs(random.float()) + 1e-3, zeroPoint: Int32(random.int(0...255)))
  }
  private func channels(_ value: ValueID) -> Int { graph[value].type.shape.size(1) ?? 1 }

  private mutating func grow() {
    switch random.int(0...3) {
    case 0: growFloat()
    case 1: growShape()
    case 2: growInteger()
    default: growElementwise()
    }
  }

  private mutating func growFloat() {
    let x = random.pick(images), c = channels(x), m = random.pick(matrices), depth = channels(m)
    switch random.int(0...12) {
    case 0:
      var op = Conv2D()
      op.pads = [1, 0, 1, 2]
      op.strides = [random.int(1...2), 1]
      op.activation = activation()
      add(.conv2d(op), [x, floats([4, c, random.int(1...2), 1]), floats([4])])
    case 1:
      var op = ConvTranspose2D()
      op.groups = random.pick([1, c])
      op.activation = activation()
      add(.convTranspose2d(op), [x, floats([c, 2, 2, 2])])
    case 2:
      var op = Gemm()
      op.transposeB = random.bool()
      op.alpha = random.float()
      add(.gemm(op), [m, floats(op.transposeB ? [5, depth] : [depth, 5])])
    case 3: add(.matMul(MatMul()), [m, floats([depth, 3])])
    case 4: add(.batchNorm(BatchNorm()), [x, floats([c]), floats([c]), floats([c]), floats([c])])
    case 5: add(.layerNorm(LayerNorm()), [x, floats([c])])
    case 6:
      var op = MaxPool()
      op.kernel = [2, 2]
      op.ceilMode = random.bool()
      add(.maxPool(op), [x])
    case 7:
      var op = AveragePool()
      op.kernel = [2, 1]
      op.countPads = random.bool()
      add(.averagePool(op), [x])
    case 8: add(.globalAveragePool(GlobalAveragePool()), [x])
    case 9:
      var op = Reduce(random.pick(Reduce.Function.allCases))
      op.axes = [-1]
      op.keepDimensions = random.bool()
      add(.reduce(op), [x])
    case 10:
      var op = Softmax()
      op.isLogarithmic = random.bool()
      add(.softmax(op), [m])
    case 11:
      var op = Resize()
      op.size = [random.int(1...9), 7]
      op.mode = random.pick([.nearest, .linear])
      op.coordinates = random.pick(Resize.Coordinates.allCases)
      add(.resize(op), [x])
    default:
      var op = Quantize()
      op.site = random.pick(["conv1.w", "a site, {odd}", "//site", ""])
      op.role = random.pick([.weight, .activation])
      op.axis = 1
      let isGroupable = graph[x].type.shape.isStatic
      op.forms = FormSet(
        [
          QuantizationForm(.bits(8), .tensor, .asymmetric), QuantizationForm(.ternary, .channel, .symmetric),
          QuantizationForm(.bits(2), isGroupable ? .group(size: 3) : .tensor, .symmetric),
        ], current: random.int(0...2))
      let groups = graph[x].type.shape.elementCount.map { c * (($0 / c + 2) / 3) } ?? 1
      let parameters = [1, c, groups].flatMap { [floats([$0]), int32s($0)] }
      add(.quantize(op), random.bool() ? [x] : [x] + parameters)
    }
  }

  private mutating func growElementwise() {
    let x = random.pick(images), c = channels(x)
    switch random.int(0...4) {
    case 0, 1:
      add(.unary(Unary(random.pick(Unary.Function.allCases), alpha: random.float(), beta: .infinity)), [x])
    case 2, 3:
      var op = Binary(random.pick(Binary.Function.allCases))
      if op.function == .add { op.activation = activation() }
      add(.binary(op), [x, random.bool() ? x : floats([c, 1, 1])])
    default: add(.select(Select()), [floats([1]), x, x])
    }
  }

  private mutating func growShape() {
    let x = random.pick(images + matrices), type = graph[x].type, rank = type.shape.rank
    switch random.int(0...14) {
    case 0: add(.identity(Identity()), [x])
    case 1:
      var op = Reshape()
      op.shape = Shape([type.shape[0], .known(-1)])
      add(.reshape(op), [x])
    case 2: add(.flatten(Flatten()), [x])
    case 3:
      var op = Transpose()
      op.permutation = Array((0..<rank).reversed())
      add(.transpose(op), [x])
    case 4: add(.squeeze(Squeeze()), [x])
    case 5:
      var op = Unsqueeze()
      op.axes = [random.int(-2...2)]
      add(.unsqueeze(op), [x])
    case 6: add(.concat(Concat(axis: 1)), [x, x])
    case 7:
      guard let size = type.shape.size(1), size > 1 else { return }
      var op = Split()
      op.axis = 1
      op.sizes = [1, size - 1]
      add(.split(op), [x])
    case 8:
      var op = Slice()
      op.starts = [0]
      op.ends = [Int.max]
      op.axes = [1]
      op.steps = [random.int(1...2)]
      add(.slice(op), [x])
    case 9:
      var op = Pad()
      op.pads = Array(repeating: 0, count: 2 * rank - 1) + [1]
      op.value = random.float()
      op.mode = random.pick([.constant, .reflect, .edge])
      add(.pad(op), [x])
    case 10:
      var op = Gather()
      op.axis = 1
      add(.gather(op), [x, integers([0, -1])])
    case 11:
      var op = Expand()
      op.shape = [1]
      add(.expand(op), [x])
    case 12: add(.shapeOf(ShapeOf()), [x])
    case 13:
      var op = Cast()
      op.to = random.pick(Cast.Target.allCases)
      add(.cast(op), [random.bool() ? x : random.pick(vectors)])
    default:
      var op = ConstantOfShape()
      op.value = 2
      op.type = random.pick(Cast.Target.allCases)
      add(.constantOfShape(op), [random.pick([random.pick(vectors), integers([2, 3, 5])])])
    }
  }

  private mutating func growInteger() {
    let q = random.pick(activations), c = channels(q)
    switch random.int(0...8) {
    case 0:
      var op = QuantizeLinear()
      op.output = output()
      add(.quantizeLinear(op), [random.pick(images + matrices)])
    case 1: add(.dequantizeLinear(DequantizeLinear()), [q])
    case 2:
      var op = IntegerConv2D()
      op.weightBits = 4
      op.maximum = random.int(0...255)
      op.output = output()
      add(.integerConv2d(op), [q, weights([3, c, 1, 1]), int32s(3), int32s(3), int32s(3)])
    case 3:
      var op = IntegerGemm()
      op.output = output()
      add(.integerGemm(op), [q, weights([3, c]), int32s(3), int32s(3), int32s(3)])
    case 4: add(.integerGemmFloat(IntegerGemmFloat()), [q, weights([20, c]), int32s(20), floats([20])])
    case 5:
      var op = IntegerAdd()
      op.multiplierA = random.int(-99...99)
      op.output = output()
      add(.integerAdd(op), [q, q])
    case 6:
      var op = IntegerMultiply()
      op.output = output()
      add(.integerMultiply(op), [q, q])
    case 7:
      var op = IntegerAveragePool()
      op.kernel = [2, 1]
      op.output = output()
      add(.integerAveragePool(op), [q, int32s(2), int32s(2)])
    default:
      var op = Lookup()
      op.function = random.pick(["hard-swish", "x => x, 1", ""])
      op.output = output()
      add(.lookup(op), [q, graph.addConstant(Constant(name(), [256], (0..<256).map { UInt8($0) }))])
    }
  }
}

extension Graph {
  fileprivate mutating func append(_ name: String, _ op: Op, _ operands: [ValueID]) -> ValueID {
    guard let id = try? append(op, operands, name: name) else {
      preconditionFailure("the first operations are valid")
    }
    return self[id].results[0]
  }
}
extension Concat {
  fileprivate init(axis: Int) {
    self.init()
    self.axis = axis
  }
}
