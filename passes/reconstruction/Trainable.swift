import Evaluator
import Glibc
import IR
import Numerics
import Training

/// A constant that reconstruction learns, as steps from where it starts, so that one learning rate fits all.
struct Trainable: Sendable {
  enum Kind: Sendable {
    /// Weights in steps of their quantizer; rounded in the forward pass, straight through backward.
    case weights
    /// The step of a quantizer, as the logarithm of its ratio to the first one.
    case scale
    /// A bias in units of its layer's largest.
    case bias
  }
  let kind: Kind
  let value: ValueID
  /// Where the result goes.
  let op: OpID
  let operand: Int
  let shape: [Int]
  private let start: [Float]
  private let unit: [Float]
  private var position: [Float]
  private var optimizer: AdamOptimizer

  /// Scales stay within a factor of two.
  private static let largestLogarithm: Float = 0.69

  init(_ kind: Kind, _ value: ValueID, op: OpID, operand: Int, shape: [Int], start: [Float], unit: [Float]) {
    (self.kind, self.value, self.op, self.operand, self.shape) = (kind, value, op, operand, shape)
    self.start = start
    self.unit = unit
    position = Array(repeating: 0, count: start.count)
    optimizer = AdamOptimizer(count: start.count)
  }

  var floats: [Float] {
    switch kind {
    case .weights, .bias: start.indices.map { start[$0] + unit[$0] * position[$0] }
    case .scale: start.indices.map { start[$0] * exp(position[$0]) }
    }
  }
  var tensor: Tensor { Tensor(shape, floats) }

  /// - Parameter gradient: of the loss by the constant.
  mutating func update(_ gradient: Tensor, learningRate: Float) {
    let slopes = gradient.floats
    let scaled: [Float]
    switch kind {
    case .weights, .bias: scaled = slopes.indices.map { slopes[$0] * unit[$0] }
    case .scale:
      let current = floats
      scaled = slopes.indices.map { slopes[$0] * current[$0] }
    }
    scaled.withUnsafeBufferPointer { optimizer.update(&position, $0, learningRate: learningRate) }
    guard case .scale = kind else { return }
    for index in position.indices {
      position[index] = min(max(position[index], -Trainable.largestLogarithm), Trainable.largestLogarithm)
    }
  }

  /// The same numbers as a new start, for another round of training.
  func restarted() -> Trainable {
    var result = self
    result.optimizer = AdamOptimizer(count: start.count)
    return result
  }
}

extension Graph {
  /// What can be learned in a unit: weights, biases, and the steps of all quantizers. Constants that several operations
  /// share stay. Weights begin as the teacher's, moved as little as makes them round to those of this graph.
  func trainables(in operations: [OpID], teacher: Graph, reach: Float) -> [Trainable] {
    var result: [Trainable] = []
    func isOwn(_ value: ValueID) -> Bool { uses(of: value).count == 1 && !isOutput(value) }
    func addScale(of id: OpID) {
      let node = self[id]
      guard node.operands.count == 3, isOwn(node.operands[1]), let scale = constant(node.operands[1]),
        let shape = scale.type.shape.sizes
      else { return }
      result.append(
        Trainable(.scale, node.operands[1], op: id, operand: 1, shape: shape, start: scale.floats, unit: []))
    }
    for id in operations {
      let node = self[id]
      if case .quantize = node.op { addScale(of: id) }
      guard integerRole(of: node.op) == .weighted else { continue }
      if let quantizerOp = definingOp(of: node.operands[1]),
        case .quantize(let quantizer) = self[quantizerOp].op,
        isOwn(self[quantizerOp].operands[0]), isOwn(self[quantizerOp].results[0]),
        let weights = constant(self[quantizerOp].operands[0]), let shape = weights.type.shape.sizes,
        let parameters = parameters(of: self[quantizerOp], quantizer), quantizer.axis == 0,
        parameters.count == 1 || parameters.count == shape[0]
      {
        let length = weights.elementCount / max(parameters.count, 1), range = quantizer.storedRange
        let float = teacher.constant(teacher[quantizerOp].operands[0])?.floats ?? []
        let rounded = weights.floats
        let start = rounded.indices.map { index -> Float in
          guard index < float.count else { return rounded[index] }
          let p = parameters[index / max(length, 1)], level = p.dequantize(p.quantize(rounded[index], range))
          return min(max(float[index], level - reach * p.scale), level + reach * p.scale)
        }
        result.append(
          Trainable(
            .weights, self[quantizerOp].operands[0], op: quantizerOp, operand: 0, shape: shape,
            start: start,
            unit: (0..<weights.elementCount).map { parameters[$0 / max(length, 1)].scale }))
        addScale(of: quantizerOp)
      }
      if node.operands.count > 2, isOwn(node.operands[2]), let bias = constant(node.operands[2]),
        let shape = bias.type.shape.sizes
      {
        let largest = bias.floats.reduce(Float(0.01)) { max($0, abs($1)) }
        result.append(
          Trainable(
            .bias, node.operands[2], op: id, operand: 2, shape: shape, start: bias.floats,
            unit: Array(repeating: 0.1 * largest, count: bias.elementCount)))
      }
    }
    return result
  }
}
