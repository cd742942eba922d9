/// Reduction over `axes` (empty: all of them).
package struct Reduce: Operation {
  package enum Function: String, TextEnumeration, Hashable {
    case mean = "reduce-mean"
    case sum = "reduce-sum"
    case maximum = "reduce-max"
    case minimum = "reduce-min"
    case product = "reduce-prod"
    case l2 = "reduce-l2"
  }
  package static var mnemonics: [String] { Function.allCases.map(\.rawValue) }
  package var mnemonic: String { function.rawValue }
  package var attributes: [Attribute<Self>] {
    [Attribute("axes", \.axes), Attribute("keep", \.keepDimensions)]
  }
  package var function: Function
  package var axes: [Int] = []
  package var keepDimensions = true

  package init(_ function: Function) { self.function = function }
  package init?(mnemonic: String) {
    guard let function = Function(rawValue: mnemonic) else { return nil }
    self.init(function)
  }

  /// The reduced axes, resolved and sorted; nil when one is out of range.
  package func resolvedAxes(rank: Int) -> [Int]? {
    if axes.isEmpty { return Array(0..<rank) }
    let resolved = axes.compactMap { resolvedAxis($0, rank: rank) }
    return resolved.count == axes.count ? resolved.sorted() : nil
  }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    guard let reduced = resolvedAxes(rank: x.rank) else {
      throw VerificationError("\(mnemonic): axes \(axes) are out of range for \(x)")
    }
    let extents = x.extents.enumerated().compactMap { axis, extent -> Extent? in
      reduced.contains(axis) ? (keepDimensions ? .known(1) : nil) : extent
    }
    return [TensorType(Shape(extents), operands[0].type.element)]
  }

  /// Element counts and ranks: a known vector reduced to one number.
  package func resultFacts(of operands: [Operand]) -> [[Extent]?] {
    guard operands[0].shape.rank == 1, let values = operands[0].integers, !values.isEmpty else {
      return [nil]
    }
    var result = values[0]
    for value in values.dropFirst() {
      let step: (partialValue: Int, overflow: Bool)
      switch function {
      case .sum: step = result.addingReportingOverflow(value)
      case .product: step = result.multipliedReportingOverflow(by: value)
      case .maximum: step = (max(result, value), false)
      case .minimum: step = (min(result, value), false)
      case .mean, .l2: return [nil]
      }
      if step.overflow { return [nil] }
      result = step.partialValue
    }
    return [function == .mean || function == .l2 ? nil : [.known(result)]]
  }
}

/// Softmax along `axis`; with `flatten` (ONNX before opset 13) along all axes from `axis` on together.
package struct Softmax: Operation {
  package static let mnemonics = ["softmax", "log-softmax"]
  package var mnemonic: String { isLogarithmic ? "log-softmax" : "softmax" }
  package var attributes: [Attribute<Self>] { [Attribute("axis", \.axis), Attribute("flatten", \.flatten)] }
  package var axis = -1
  package var flatten = false
  package var isLogarithmic = false
  package init() {}
  package init?(mnemonic: String) { isLogarithmic = mnemonic == "log-softmax" }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try requireOperands(operands, 1...1)
    let x = operands[0].shape
    try require(resolvedAxis(axis, rank: x.rank) != nil, "axis \(axis) is out of range for \(x)")
    return [operands[0].type.with(layoutOf: .rowMajor)]
  }
}
