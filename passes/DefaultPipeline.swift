import IR

/// Pipelines that other pipelines may name (`passes/pipelines`).
package let namedPipelines: [(name: String, text: String)] = [
  ("canonical", String(decoding: PackageResources.canonical_pipeline, as: UTF8.self))
]

/// The text of the default pipeline (`passes/pipelines/default.pipeline`) with its choices filled in, from the first pass
/// that a graph of `stage` still needs; a calibrated graph keeps its parameters.
/// - Parameter distillation: options of distill; nil: samples are given, or nothing is made in their place.
package func compilePipeline(
  from stage: Stage, isCalibrated: Bool, target: String, assignment: String, calibration: String,
  distillation: String? = nil
) -> String {
  let text = String(decoding: PackageResources.default_pipeline, as: UTF8.self)
  var passes = splitOutsideBrackets(
    text.split(separator: "\n").filter { !$0.hasPrefix("#") }.joined(separator: "\n"))
  let first =
    switch stage {
    case .imported: passes.first ?? ""
    case .canonical: "insert-quantizers"
    case .elastic: "assign"
    case .assigned: "distill"
    case .lowered: "choose-layouts"
    }
  passes = Array(passes.drop { !$0.hasPrefix(first) })
  if distillation == nil || isCalibrated { passes.removeAll { $0.hasPrefix("distill") } }
  if isCalibrated { passes.removeAll { $0.hasPrefix("calibrate") || $0 == "gptq" || $0 == "correct-bias" } }
  return passes.joined(separator: ", ").replacing("TARGET", with: target).replacing(
    "ASSIGNMENT", with: assignment
  )
  .replacing("CALIBRATION", with: calibration).replacing("DISTILLATION", with: distillation ?? "")
}

extension Graph {
  /// Whether there are quantizers and all of them have parameters.
  package var isCalibrated: Bool {
    var count = 0
    for id in order {
      guard case .quantize(let quantizer) = self[id].op else { continue }
      guard quantizer.isCalibrated(operandCount: self[id].operands.count) else { return false }
      count += 1
    }
    return count > 0
  }
}

extension String {
  fileprivate func replacing(_ word: String, with text: String) -> String {
    var result = "", rest = Substring(self)
    while let range = rest.firstRange(of: word) {
      result += rest[..<range.lowerBound] + text
      rest = rest[range.upperBound...]
    }
    return result + rest
  }
}
