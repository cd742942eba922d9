import Evaluator
import IR
import PassKit
import Support
import Synchronization

/// The largest magnitude of every channel of some values.
struct ChannelMaxima: Sendable {
  private var maxima: [ValueID: [Float]] = [:]

  /// Of the float network on all calibration samples. A maximum depends neither on threads nor on order.
  init(
    _ values: [ValueID], in graph: Graph, _ data: any CalibrationData, _ context: PassContext
  ) throws {
    var shared: [SharedMaxima?] = Array(repeating: nil, count: graph.values.count)
    for value in values {
      guard let count = graph.channelAxisSize(value) else { continue }
      shared[value.index] = SharedMaxima(count)
    }
    let targets = shared
    let evaluator = try Evaluator(graph, mode: .float, threads: context.threads)
    try runOnSamples(
      evaluator, graph, data, 0..<data.count, of: data.count, "gathering channel maxima", context
    ) { observation in
      guard let target = targets[observation.value.index] else { return }
      let found = magnitudes(observation.tensor)
      target.state.withLock { state in
        for (index, value) in zip(state.indices, found) { state[index] = max(state[index], value) }
      }
    }
    for value in values { maxima[value] = targets[value.index]?.state.withLock { $0 } }
  }

  /// Without data: of values with statistics, `spread` deviations beyond the mean of each channel.
  init(statistics values: [ValueID], in graph: Graph, spread: Float) {
    for value in values {
      guard let statistics = graph[value].statistics else { continue }
      maxima[value] = zip(statistics.means, statistics.deviations).map { abs($0) + spread * $1 }
    }
  }

  /// Nil where nothing is known.
  subscript(value: ValueID) -> [Float]? { maxima[value] }
}

private final class SharedMaxima: Sendable {
  let state: Mutex<[Float]>
  init(_ count: Int) { state = Mutex(Array(repeating: 0, count: count)) }
}

private func magnitudes(_ tensor: Tensor) -> [Float] {
  guard tensor.shape.count == 3 else {
    var result = [Float](repeating: 0, count: tensor.shape[1])
    tensor.forEachChannelPiece { channel, base, count, stride in
      var largest = result[channel]
      for index in 0..<count { largest = max(largest, abs(base[index * stride])) }
      result[channel] = largest
    }
    return result
  }
  let channels = tensor.shape[2]
  var result = [Float](repeating: 0, count: channels)
  tensor.withFloats { floats in
    for index in floats.indices {
      result[index % channels] = max(result[index % channels], abs(floats[index]))
    }
  }
  return result
}
