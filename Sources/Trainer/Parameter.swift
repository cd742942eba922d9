import Evaluator
import Glibc
import IR
import Training

/// A constant of the graph that training moves.
package struct Parameter: Sendable {
  package enum Kind: Hashable, Sendable {
    /// Of convolutions and products: decays where decay is asked for.
    case weights
    /// Factors of batch normalizations, which stay positive: folding them must not turn the signs of weights.
    case gain
    /// Biases and everything else that is added.
    case shift
    /// Steps of a quantizer's form, moved as their logarithms: one rate fits all sizes, and they stay positive.
    case scale(form: Int)
    /// Zero points of a quantizer's form, rounded in the forward pass, so that what is trained is what is deployed; inside
    /// `range`.
    case zeroPoint(form: Int, range: ClosedRange<Int32>)
  }
  package let kind: Kind
  package let value: ValueID
  package let name: String
  package let shape: [Int]
  /// The quantizer that a step or zero point belongs to.
  package let quantizer: OpID?
  /// What the optimizer moves: logarithms of steps, real zero points, the numbers themselves else.
  package internal(set) var position: [Float]
  package internal(set) var optimizer: Optimizer

  init(
    _ kind: Kind, _ value: ValueID, _ constant: Constant, quantizer: OpID? = nil,
    _ settings: Optimizer.Settings
  ) {
    self.kind = kind
    self.value = value
    self.quantizer = quantizer
    name = constant.name
    shape = constant.type.shape.sizes ?? [constant.elementCount]
    switch kind {
    case .weights, .gain, .shift: position = constant.floats
    case .scale: position = constant.floats.map { log($0) }
    case .zeroPoint: position = constant.elements(as: Int32.self).map { Float($0) }
    }
    optimizer = Optimizer(settings, kind, count: position.count)
  }

  /// The form of `quantizer` that it belongs to; nil: it takes part in every sub-network.
  package var form: Int? {
    switch kind {
    case .weights, .gain, .shift: nil
    case .scale(let form), .zeroPoint(let form, _): form
    }
  }

  /// The constant as the forward pass takes it.
  package var tensor: Tensor {
    switch kind {
    case .weights, .gain, .shift: Tensor(shape, position)
    case .scale: Tensor(shape, position.map { exp($0) })
    case .zeroPoint: Tensor(shape, position.map { Int32($0.rounded(.toNearestOrEven)) })
    }
  }
  package var constant: Constant {
    let tensor = tensor
    switch kind {
    case .weights, .gain, .shift, .scale: return Constant(name, shape, tensor.floats)
    case .zeroPoint: return Constant(name, shape, tensor.integers.map { Int32($0) })
    }
  }

  /// One step of the optimizer.
  /// - Parameters:
  ///   - gradient: of the loss by the constant.
  ///   - clipping: the largest magnitude of a gradient's element.
  mutating func update(_ gradient: [Float], rate: Float, clipping: Float) {
    var slopes = gradient
    if case .scale = kind { for index in slopes.indices { slopes[index] *= exp(position[index]) } }
    for index in slopes.indices { slopes[index] = min(max(slopes[index], -clipping), clipping) }
    optimizer.update(&position, slopes, rate: rate)
    switch kind {
    case .gain: for index in position.indices { position[index] = max(position[index], 1e-4) }
    case .zeroPoint(_, let range):
      for index in position.indices {
        position[index] = min(max(position[index], Float(range.lowerBound)), Float(range.upperBound))
      }
    case .weights, .shift, .scale: break
    }
  }
}
