import Support

extension SeededRandom {
  /// - Requires: count > 0.
  mutating func index(_ count: Int) -> Int { Int(below(UInt64(count))) }

  /// - Requires: there is an element.
  mutating func element<T>(_ elements: [T]) -> T { elements[index(elements.count)] }

  /// An index by its probability; they add up to 1.
  mutating func index(probabilities: [Double]) -> Int {
    var rest = unit()
    for (index, probability) in probabilities.dropLast().enumerated() {
      if rest < probability { return index }
      rest -= probability
    }
    return probabilities.count - 1
  }
}
