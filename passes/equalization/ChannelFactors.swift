import IR
import PassKit

/// What every class of channels is divided by.
struct ChannelFactors {
  let classes: ChannelClasses
  /// By the representative of a class.
  private var factors: [Double]

  init(_ classes: ChannelClasses) {
    self.classes = classes
    factors = Array(repeating: 1, count: classes.elementCount)
  }

  subscript(root: Int) -> Double {
    get { factors[root] }
    set { factors[root] = newValue }
  }
  /// Classes whose factor is not 1.
  var scaledCount: Int { factors.count { $0 != 1 } }
  /// What the channels of `value` are divided by; nil when all of it is 1.
  func of(_ value: ValueID) -> [Double]? {
    let result = classes.elements(of: value).map { factors[classes.root($0)] }
    return result.contains { $0 != 1 } ? result : nil
  }
}

extension Rewriter {
  /// Divides channels by their factors: rows of the layers that compute them, columns of those that read them, statistics.
  mutating func scale(by factors: ChannelFactors) {
    for layer in factors.classes.layers {
      let node = graph[layer.op]
      let rowFactors = factors.of(node.results[0])
      let columnFactors = layer.columns == 0 ? nil : factors.of(node.operands[0])
      let rows = rowFactors ?? Array(repeating: 1, count: layer.rows)
      if let operand = layer.weightOperand, rowFactors != nil || columnFactors != nil {
        let columns = columnFactors ?? Array(repeating: 1, count: layer.columns)
        replace(
          operand, of: layer.op, by: layer.scaledWeights(rowFactors: rows, columnFactors: columns))
      }
      if let operand = layer.biasOperand, rowFactors != nil {
        replace(operand, of: layer.op, by: layer.scaledBias(rowFactors: rows))
      }
    }
    for id in ops {
      for value in graph[id].results {
        guard let statistics = graph[value].statistics, let own = factors.of(value),
          own.count == statistics.means.count
        else { continue }
        let inverse = ChannelAffine(factors: own.map { 1 / $0 }, shifts: own.map { _ in 0 })
        setStatistics(value, inverse.applied(to: statistics))
      }
    }
  }

  private mutating func replace(_ operand: Int, of op: OpID, by floats: [Float]) {
    let old = graph[op].operands[operand]
    let new = Constant(graph[old].name, graph.shape(old).sizes ?? [floats.count], floats)
    setOperand(op, operand, to: constant(new, replacing: old, of: op))
  }
}
