import IR
import Support

/// What a search may limit.
package enum BudgetKind: String, CaseIterable, Hashable, Sendable {
  /// Bytes of the program file.
  case size
  /// Σ multiply-accumulates · weight bits · activation bits (AQT, arXiv 2105.03536).
  case bitOperations = "bitops"
  /// Seconds of the layers with weights, by the target's cost table.
  case latency
  /// Bytes of activations that are alive at once.
  case memory = "ram"
  /// Mean width of all weights.
  case averageBits = "avg-bits"

  package var unit: Quantity.Unit {
    switch self {
    case .size, .memory: .bytes
    case .bitOperations, .averageBits: .none
    case .latency: .seconds
    }
  }
  /// A cost of this kind for people.
  package func text(_ cost: Double) -> String {
    switch self {
    case .size, .memory: "\(Int(cost.rounded(.up))) bytes"
    case .bitOperations: Self.rounded(cost)
    case .latency: "\(Self.rounded(cost * 1e6)) us"
    case .averageBits: "\(Self.rounded(cost)) bits"
    }
  }
  /// Four digits.
  private static func rounded(_ value: Double) -> String {
    var scale = 1.0
    while abs(value) * scale < 1000, scale < 1e9, value != 0 { scale *= 10 }
    let result = (value * scale).rounded() / scale
    return result == result.rounded() && abs(result) < 1e15 ? "\(Int(result))" : "\(result)"
  }
}

/// Upper limits, each at most once.
package struct Budgets: Hashable, Sendable {
  package private(set) var limits: [(kind: BudgetKind, limit: Double)] = []

  package init() {}
  package static func == (a: Budgets, b: Budgets) -> Bool { a.limits.elementsEqual(b.limits, by: ==) }
  package func hash(into hasher: inout Hasher) { for limit in limits { hasher.combine(limit.kind) } }

  package subscript(kind: BudgetKind) -> Double? {
    get { limits.first { $0.kind == kind }?.limit }
    set {
      limits.removeAll { $0.kind == kind }
      if let newValue { limits.append((kind, newValue)) }
      limits.sort {
        BudgetKind.allCases.firstIndex(of: $0.kind)! < BudgetKind.allCases.firstIndex(of: $1.kind)!
      }
    }
  }
  /// Reads `100K` and the like; an empty text is no limit.
  /// - Throws: `usage` when the text is no quantity of this kind.
  package mutating func set(_ kind: BudgetKind, _ text: String) throws(CompilerError) {
    guard !text.isEmpty else { return }
    guard let quantity = Quantity(text: text), quantity.suits(kind.unit) else {
      let example =
        switch kind {
        case .size, .memory: "100K or 64KiB"
        case .bitOperations: "1.5G"
        case .latency: "80us or 1.2ms"
        case .averageBits: "4 or 3.5"
        }
      throw CompilerError(
        "\(kind.rawValue) takes a positive number such as \(example), not '\(text)'", status: .usage)
    }
    self[kind] = quantity.value
  }
  /// Whether a budget depends on the widths of activations.
  package var countsActivations: Bool { self[.bitOperations] != nil || self[.memory] != nil }
}
