import IR
import PassKit

/// `y = factor * x + shift` with one factor and one shift per channel (axis 1), in double precision.
struct ChannelAffine {
  var factors: [Double]
  var shifts: [Double]

  static func scaling(_ factors: [Float]) -> ChannelAffine {
    ChannelAffine(factors: factors.map(Double.init), shifts: factors.map { _ in 0 })
  }
  static func shifting(_ shifts: [Float]) -> ChannelAffine {
    ChannelAffine(factors: shifts.map { _ in 1 }, shifts: shifts.map(Double.init))
  }
  var channels: Int { factors.count }
  /// Whether all numbers survive as f32.
  var isFinite: Bool { (factors + shifts).allSatisfy { Float($0).isFinite } }
  var hasShift: Bool { shifts.contains { $0 != 0 } }

  /// `self(inner(x))`.
  func composed(with inner: ChannelAffine) -> ChannelAffine {
    ChannelAffine(
      factors: zip(factors, inner.factors).map { $0 * $1 },
      shifts: factors.indices.map { factors[$0] * inner.shifts[$0] + shifts[$0] })
  }

  /// The distribution of `y` where `x` has `statistics`.
  func applied(to statistics: ChannelStatistics) -> ChannelStatistics? {
    guard statistics.means.count == channels else { return nil }
    return ChannelStatistics(
      means: statistics.means.indices.map { Float(Double(statistics.means[$0]) * factors[$0] + shifts[$0]) },
      deviations: statistics.deviations.indices.map {
        Float(Double(statistics.deviations[$0]) * abs(factors[$0]))
      })
  }
}

extension ChannelAffine {
  /// What a batch normalization with constant parameters computes; nil when they are not constant or not
  /// finite.
  init?(_ batchNorm: BatchNorm, _ operands: [ValueID], in graph: Graph) {
    let parameters = operands.dropFirst().compactMap { graph.floats($0) }
    guard parameters.count == 4 else { return nil }
    let (scale, bias, mean, variance) = (parameters[0], parameters[1], parameters[2], parameters[3])
    factors = scale.indices.map {
      Double(scale[$0]) / (Double(variance[$0]) + Double(batchNorm.epsilon)).squareRoot()
    }
    shifts = []
    for channel in scale.indices {
      shifts.append(Double(bias[channel]) - Double(mean[channel]) * factors[channel])
    }
    guard isFinite else { return nil }
  }
}

extension ChannelStatistics {
  /// What a batch normalization leaves: mean bias and deviation |scale|, less where epsilon outweighs the
  /// variance.
  init?(_ batchNorm: BatchNorm, _ operands: [ValueID], in graph: Graph) {
    let parameters = operands.dropFirst().compactMap { graph.floats($0) }
    guard parameters.count == 4 else { return nil }
    let (scale, variance) = (parameters[0], parameters[3])
    self.init(
      means: parameters[1],
      deviations: scale.indices.map { channel in
        let spread = Double(variance[channel]) / (Double(variance[channel]) + Double(batchNorm.epsilon))
        return Float(abs(Double(scale[channel])) * max(spread, 0).squareRoot())
      })
  }
}

/// A linear operation that has absorbed a channel affine, with the constants that are new.
struct FoldedLinear {
  var op: Op
  var weights: Constant?
  var bias: Constant?
}

extension Graph {
  /// One number per output channel of the constant bias (operand 2) of a convolution or gemm.
  func biasFloats(of node: Node) -> [Float]? {
    if case .gemm = node.op { return channelFloats(node.operands[2], alongside: node.results[0]) }
    return floats(node.operands[2])
  }

  /// The linear operation that computes `affine(op(x))`: scaled weights and a new bias.
  ///
  ///     conv2d(x, w, b) then f·y + s  ->  conv2d(x, f·w, f·b + s)
  ///
  /// For conv2d, conv-transpose2d and gemm with constant weights and bias and no activation; nil otherwise.
  /// Exact but for one rounding to f32 per weight.
  func absorbing(_ affine: ChannelAffine, behind op: OpID) -> FoldedLinear? {
    let node = self[op]
    guard affine.isFinite, node.operands.count >= 2, let weights = floats(node.operands[1]),
      let sizes = shape(node.operands[1]).sizes
    else { return nil }
    var fused = node.op, biasFactor = 1.0
    // Elements of one channel lie in runs of `run`; `channelOfRun` numbers the channel of each run.
    let run: Int, channelOfRun: (Int) -> Int
    if case .conv2d(let conv) = node.op {
      guard conv.activation == .none, sizes[0] == affine.channels else { return nil }
      run = sizes[1] * sizes[2] * sizes[3]
      channelOfRun = { $0 }
    } else if case .convTranspose2d(let conv) = node.op {
      let perGroup = sizes[1], inputsPerGroup = sizes[0] / conv.groups
      guard conv.activation == .none, perGroup * conv.groups == affine.channels, inputsPerGroup > 0 else {
        return nil
      }
      run = sizes[2] * sizes[3]
      channelOfRun = { $0 / perGroup / inputsPerGroup * perGroup + $0 % perGroup }
    } else if case .gemm(var gemm) = node.op {
      guard gemm.activation == .none, sizes[gemm.transposeB ? 0 : 1] == affine.channels else { return nil }
      run = gemm.transposeB ? sizes[1] : 1
      channelOfRun = gemm.transposeB ? { $0 } : { $0 % sizes[1] }
      biasFactor = Double(gemm.beta)
      gemm.beta = 1
      fused = .gemm(gemm)
    } else {
      return nil
    }

    var bias = [Double](repeating: 0, count: affine.channels), biasName = node.name + ".bias"
    if node.operands.count == 3 {
      guard let old = biasFloats(of: node) else { return nil }
      bias = old.map { Double($0) * biasFactor }
      biasName = self[node.operands[2]].name
    }
    let newBias = bias.indices.map { Float(bias[$0] * affine.factors[$0] + affine.shifts[$0]) }
    var folded = FoldedLinear(op: fused)
    if node.operands.count == 3 || newBias.contains(where: { $0 != 0 }) {
      guard newBias.allSatisfy(\.isFinite) else { return nil }
      folded.bias = Constant(biasName, [affine.channels], newBias)
    }
    if affine.factors.contains(where: { $0 != 1 }) {
      var scaled = weights
      for start in stride(from: 0, to: scaled.count, by: max(run, 1)) {
        let factor = affine.factors[channelOfRun(start / run)]
        for i in start..<start + run { scaled[i] = Float(Double(scaled[i]) * factor) }
      }
      folded.weights = Constant(self[node.operands[1]].name, sizes, scaled)
    }
    return folded
  }
}

extension Rewriter {
  /// Puts `affine` into the sole producer of `value`, whose result then takes the place of the result of
  /// `op`.
  mutating func fold(
    _ affine: ChannelAffine, behind value: ValueID, insteadOf op: OpID, statistics: ChannelStatistics? = nil
  ) throws(VerificationError) -> Bool {
    guard let producer = graph.soleProducer(of: value),
      let folded = graph.absorbing(affine, behind: producer), takeStep()
    else { return false }
    let inherited = graph[value].statistics.flatMap { affine.applied(to: $0) }
    let node = graph[producer]
    var operands = Array(node.operands.prefix(2))
    if let weights = folded.weights { operands[1] = constant(weights, replacing: operands[1], of: producer) }
    if let bias = folded.bias {
      operands.append(
        node.operands.count == 3 ? constant(bias, replacing: node.operands[2], of: producer) : constant(bias))
    }
    let result = try replace(op, with: folded.op, operands, name: node.name)[0]
    setStatistics(result, statistics ?? inherited)
    return true
  }
}
