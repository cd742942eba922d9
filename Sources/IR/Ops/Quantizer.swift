import Numerics

/// An elastic fake-quantizer: `x` rounded to the current form's levels, still f32.
///
/// `forms` lists what the target allows at this site, `current` the one in force (`*` in the text). Operands: x, and
/// once calibrated, for every form in order a scale (f32) and an integer zero point (i32), each of shape [1] or, per
/// channel, [channels of `axis`] (per group: [channels * groups]). An un-assigned site, an assigned one (one form left)
/// and a frozen one share this syntax.
package struct Quantize: SimpleOperation {
  package static let name = "quantize"
  package var attributes: [Attribute<Self>] {
    [
      Attribute("site", \.site), Attribute("role", \.role), Attribute("axis", \.axis),
      Attribute("forms", \.forms),
    ]
  }
  /// A stable name for reports, pins and searches.
  package var site = ""
  package var role = Role.activation
  package var axis = 0
  package var forms = FormSet([QuantizationForm(.bits(8), .tensor, .asymmetric)])
  package init() {}

  package enum Role: String, TextEnumeration, Hashable {
    case weight, activation
    package var numerics: QuantizerRole { self == .weight ? .weight : .activation }
  }
  package var form: QuantizationForm { forms.current }
  package var storedRange: ClosedRange<Int32> { form.storedRange(role.numerics) }
  /// Whether `operandCount` operands include the parameters of every form.
  package func isCalibrated(operandCount: Int) -> Bool { operandCount == 1 + 2 * forms.all.count }

  package func resultTypes(of operands: [Operand]) throws(VerificationError) -> [TensorType] {
    try require(
      operands.count == 1 || isCalibrated(operandCount: operands.count),
      "takes x alone or x with a scale and a zero point for each of \(forms.all.count) forms, has \(operands.count) operands"
    )
    let x = operands[0].type
    try require(x.element == .f32, "x must be f32, is \(x.element)")
    for (index, form) in forms.all.enumerated() where operands.count > 1 {
      let expected: Int
      switch form.granularity {
      case .tensor: expected = 1
      case .channel:
        guard let channels = x.shape.size(axis) else {
          throw VerificationError("quantize: axis \(axis) is out of range")
        }
        expected = channels
      case .group(let size):
        guard let channels = x.shape.size(axis), let count = x.shape.elementCount, size > 0, channels > 0
        else {
          throw VerificationError("quantize: groups need a static shape and a positive size")
        }
        expected = channels * ((count / channels + size - 1) / size)
      }
      for (operand, element) in [(operands[1 + 2 * index], ElementType.f32), (operands[2 + 2 * index], .i32)]
      {
        try require(
          operand.type.element == element && operand.shape == [expected],
          "parameters of form \(form.text) must be \(element)[\(expected)], are \(operand.type)")
      }
    }
    return [x]
  }
}

/// The forms a site may take and the one in force.
package struct FormSet: Hashable, Sendable, TextCodable {
  package var all: [QuantizationForm]
  package var currentIndex: Int
  package var current: QuantizationForm { all[currentIndex] }

  /// - Requires: `all` is not empty and holds `currentIndex`.
  package init(_ all: [QuantizationForm], current: Int = 0) {
    self.all = all
    currentIndex = current
  }

  package static var expectation: String {
    "forms such as [8:channel:symmetric*, 4:channel:symmetric], one starred"
  }
  package var text: String {
    "[" + all.enumerated().map { $1.text + ($0 == currentIndex ? "*" : "") }.joined(separator: ", ") + "]"
  }
  package init?(text: String) {
    guard text.hasPrefix("["), text.hasSuffix("]") else { return nil }
    var forms: [QuantizationForm] = [], current: Int?
    for part in splitOutsideBrackets(String(text.dropFirst().dropLast())) {
      if part.hasSuffix("*") {
        guard current == nil else { return nil }
        current = forms.count
      }
      guard let form = QuantizationForm(text: part.hasSuffix("*") ? String(part.dropLast()) : part) else {
        return nil
      }
      forms.append(form)
    }
    guard let current, Set(forms).count == forms.count else { return nil }
    self.init(forms, current: current)
  }
}

extension QuantizationForm: TextCodable {
  package static var expectation: String {
    "bits:granularity:symmetry, such as 4:channel:symmetric or ternary:group32:symmetric"
  }
  package var text: String {
    let width =
      switch width {
      case .bits(let bits): "\(bits)"
      case .ternary: "ternary"
      }
    let granularity =
      switch granularity {
      case .tensor: "tensor"
      case .channel: "channel"
      case .group(let size): "group\(size)"
      }
    return "\(width):\(granularity):\(symmetry == .symmetric ? "symmetric" : "asymmetric")"
  }
  package init?(text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 3 else { return nil }
    let width: BitWidth, granularity: Granularity, symmetry: Symmetry
    if parts[0] == "ternary" {
      width = .ternary
    } else if let bits = Int(parts[0]), (1...8).contains(bits) {
      width = .bits(bits)
    } else {
      return nil
    }
    switch parts[1] {
    case "tensor": granularity = .tensor
    case "channel": granularity = .channel
    default:
      guard parts[1].hasPrefix("group"), let size = Int(parts[1].dropFirst(5)), (1...65_536).contains(size)
      else { return nil }
      granularity = .group(size: size)
    }
    switch parts[2] {
    case "symmetric": symmetry = .symmetric
    case "asymmetric": symmetry = .asymmetric
    default: return nil
    }
    self.init(width, granularity, symmetry)
  }
}
