/// The mean of a network's parameters behind many steps (stochastic weight averaging, Izmailov et al., arXiv 1803.05407): while
/// the rate stays up, training walks around a flat region whose middle answers new samples better than any place on its rim.
package struct WeightAverage: Sendable {
  /// Of positions, for each parameter; empty before the first step that counts.
  package private(set) var sums: [[Double]] = []
  package private(set) var count = 0

  package init() {}
  package init(sums: [[Double]], count: Int) { (self.sums, self.count) = (sums, count) }

  mutating func add(_ parameters: [Parameter]) {
    if sums.isEmpty { sums = parameters.map { $0.position.map { _ in 0 } } }
    for index in parameters.indices {
      parameters[index].position.withUnsafeBufferPointer { position in
        sums[index].withUnsafeMutableBufferPointer { sums in
          for element in position.indices { sums[element] += Double(position[element]) }
        }
      }
    }
    count += 1
  }

  /// `parameters` at their means, which are those of logarithms for steps of quantizers.
  func applied(to parameters: [Parameter]) -> [Parameter] {
    guard count > 0 else { return parameters }
    var result = parameters
    for index in result.indices { result[index].position = sums[index].map { Float($0 / Double(count)) } }
    return result
  }
}
