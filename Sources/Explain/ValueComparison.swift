import Evaluator
import Glibc
import IR
import Numerics
import Passes
import Support

/// One value of a model for one sample.
package struct NamedValue: Sendable {
  package var name: String
  package var values: [Float]
  /// Stored integers whose scale is not known: it is fitted.
  package var isStored: Bool

  package init(_ name: String, _ values: [Float], isStored: Bool) {
    self.name = name
    self.values = values
    self.isStored = isStored
  }
}

/// How far a value of one model is from the value of the same name of another.
package struct ValueReport: Sendable {
  package let name: String
  /// The other's name for it, where that differs.
  package let otherName: String
  package let elements: Int
  package let energies: Energies
  /// Whether stored integers were compared under the scale and zero point that fit best.
  package let isFitted: Bool
}

/// Pairs of values by name, in the order of the model: by the value's name, its name without the `.q` of quantizers, or
/// the name of the operation that makes it, which is what integer operations' results are called.
package struct ValueComparison: Sendable {
  /// Sums over elements of a model's values y and the reference's x.
  private struct Sums {
    var elements = 0
    var isStored = false
    var count = 0.0
    var x = 0.0
    var y = 0.0
    var xx = 0.0
    var yy = 0.0
    var xy = 0.0
    var noise = 0.0

    mutating func add(_ reference: [Float], _ own: [Float]) {
      for (a, b) in zip(reference, own) {
        let a = Double(a), b = Double(b)
        x += a
        y += b
        xx += a * a
        yy += b * b
        xy += a * b
        noise += (a - b) * (a - b)
      }
      count += Double(reference.count)
      elements = reference.count
    }
    var energies: Energies {
      guard isStored else { return Energies(signal: xx, noise: noise) }
      // What least squares of x on y leave.
      let vx = xx - x * x / count, vy = yy - y * y / count, c = xy - x * y / count
      return Energies(signal: xx, noise: max(vy > 0 ? vx - c * c / vy : vx, 0))
    }
  }
  private var order: [(own: String, other: String)] = []
  private var sums: [String: Sums] = [:]
  private let makers: [String: String]
  /// Names of the model that the other does not know.
  package private(set) var unmatched = 0

  /// - Parameter reference: whose values are the signal.
  package init(reference: Graph) {
    var makers: [String: String] = [:]
    for id in reference.order {
      let node = reference[id]
      if node.results.count == 1 { makers[node.name] = reference[node.results[0]].name }
    }
    self.makers = makers
  }

  /// Adds the values of one sample. Those of unlike sizes are taken as unmatched.
  package mutating func add(_ own: [NamedValue], reference: [String: [Float]]) {
    var missing = 0
    for value in own {
      guard let other = partner(value.name, value.values.count, reference), let values = reference[other]
      else {
        missing += 1
        continue
      }
      if sums[value.name] == nil { order.append((value.name, other)) }
      sums[value.name, default: Sums()].isStored = value.isStored
      sums[value.name, default: Sums()].add(values, value.values)
    }
    unmatched = missing
  }
  private func partner(_ name: String, _ count: Int, _ reference: [String: [Float]]) -> String? {
    let plain = name.hasSuffix(".q") ? String(name.dropLast(2)) : name
    return [name, plain, makers[plain]].compactMap { $0 }.first { reference[$0]?.count == count }
  }

  package var reports: [ValueReport] {
    order.compactMap { own, other in
      sums[own].map {
        ValueReport(
          name: own, otherName: other, elements: $0.elements, energies: $0.energies, isFitted: $0.isStored)
      }
    }
  }
}

/// Every float or quantized value that depends on the input, for one sample, by a graph of any stage.
package struct ValueTracer: Sendable {
  private let evaluator: Evaluator
  private let shape: [Int]

  package init(_ graph: Graph, mode: Evaluator.Mode) throws(CompilerError) {
    guard graph.inputs.count == 1, let input = graph.inputs.first else {
      throw CompilerError("models with one input can be compared; this one has \(graph.inputs.count)")
    }
    evaluator = try Evaluator(graph, mode: mode, threads: 1)
    shape = graph[input].type.shape.bound(batch: 1)
  }

  package func values(_ sample: [Float]) throws(CompilerError) -> [NamedValue] {
    var found: [NamedValue] = []
    let graph = evaluator.graph
    _ = try evaluator.run([Tensor(shape, sample)]) { value, tensor in
      switch tensor.element {
      case .f32: found.append(NamedValue(graph[value].name, tensor.floats, isStored: false))
      case .quantized(let type):
        let values = tensor.integers.map { type.parameters.dequantize(Int32(truncatingIfNeeded: $0)) }
        found.append(NamedValue(graph[value].name, values, isStored: type.scale == nil))
      case .i64, .i32, .u8, .i8, .bool: break
      }
    }
    return found
  }
}
