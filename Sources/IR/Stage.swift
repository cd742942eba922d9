/// How far along compilation a graph is. Passes state the stages they accept; the verifier checks each stage's rules.
package enum Stage: String, TextEnumeration, Comparable, Hashable {
  /// As the exporter wrote it.
  case imported
  /// Float, few kinds of operations, no batch normalization behind a foldable producer.
  case canonical
  /// Every weight and activation edge carries a quantizer with its legal forms.
  case elastic
  /// One form per quantizer, calibrated.
  case assigned
  /// Integer operations only (and a float tail after a dequantize-linear).
  case lowered

  private var order: Int { Stage.allCases.firstIndex(of: self) ?? 0 }
  package static func < (left: Stage, right: Stage) -> Bool { left.order < right.order }
}
