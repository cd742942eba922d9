import Training

/// How parameters move: by momentum or by Adam; quantizers' parameters always by Adam, since their gradients are sums over
/// whatever number of elements shares them.
package enum Optimizer: Sendable {
  case momentum(MomentumOptimizer)
  case adam(AdamOptimizer, scale: Float)

  package enum Algorithm: String, CaseIterable, Sendable { case sgd, adam, adamw }
  package struct Settings: Hashable, Sendable {
    package var algorithm = Algorithm.adam
    package var momentum: Float = 0.9
    package var weightDecay: Float = 0
    /// The rate of steps, as a share of their logarithms, where Adam moves weights at `rate`; zero points move by ten times
    /// as much, in levels.
    package var quantizerRate: Float = 1e-3
    package var rate: Float = 1e-3
    package init() {}
  }

  init(_ settings: Settings, _ kind: Parameter.Kind, count: Int) {
    let decay = kind == .weights ? settings.weightDecay : 0
    switch kind {
    case .scale: self = .adam(AdamOptimizer(count: count), scale: settings.quantizerRate / settings.rate)
    case .zeroPoint:
      self = .adam(AdamOptimizer(count: count), scale: 10 * settings.quantizerRate / settings.rate)
    case .weights, .gain, .shift:
      switch settings.algorithm {
      case .sgd:
        self = .momentum(MomentumOptimizer(count: count, momentum: settings.momentum, weightDecay: decay))
      case .adam:
        self = .adam(AdamOptimizer(count: count, decay: decay > 0 ? .coupled(decay) : .none), scale: 1)
      case .adamw:
        self = .adam(AdamOptimizer(count: count, decay: decay > 0 ? .decoupled(decay) : .none), scale: 1)
      }
    }
  }

  mutating func update(_ position: inout [Float], _ gradient: [Float], rate: Float) {
    gradient.withUnsafeBufferPointer { gradient in
      switch self {
      case .momentum(var optimizer):
        optimizer.update(&position, gradient, learningRate: rate)
        self = .momentum(optimizer)
      case .adam(var optimizer, let scale):
        optimizer.update(&position, gradient, learningRate: rate * scale)
        self = .adam(optimizer, scale: scale)
      }
    }
  }

  /// What a checkpoint keeps: velocities, or first and second moments, and the number of updates.
  var state: (arrays: [[Float]], updates: Int) {
    switch self {
    case .momentum(let optimizer): ([optimizer.velocities], 0)
    case .adam(let optimizer, _): ([optimizer.firstMoments, optimizer.secondMoments], optimizer.updates)
    }
  }
  mutating func restore(_ arrays: [[Float]], updates: Int) {
    switch self {
    case .momentum(var optimizer):
      optimizer.velocities = arrays[0]
      self = .momentum(optimizer)
    case .adam(var optimizer, let scale):
      (optimizer.firstMoments, optimizer.secondMoments) = (arrays[0], arrays[1])
      optimizer.updates = updates
      self = .adam(optimizer, scale: scale)
    }
  }
}
