import IR

/// How much work goes into numbers that lose little: a pipeline between the choice of widths and the lowering.
package enum Recipe: Int, CaseIterable, Sendable {
  case fastest, seconds, rounding, learning

  /// `O0` … `O3`, under which other pipelines may name it.
  package var name: String { "O\(rawValue)" }
  /// The range method of activations, unless the user says another.
  package var rangeMethod: String { self == .fastest ? "min-max" : "l2.4" }

  fileprivate var text: String {
    switch self {
    case .fastest: passText(PackageResources.O0_pipeline)
    case .seconds: passText(PackageResources.O1_pipeline)
    case .rounding: passText(PackageResources.O2_pipeline)
    case .learning: passText(PackageResources.O3_pipeline)
    }
  }
  fileprivate func text(calibration: String) -> String { text.replacing("CALIBRATION", with: calibration) }
}

/// Pipelines that other pipelines may name (`passes/pipelines`).
package let namedPipelines: [(name: String, text: String)] =
  [("canonical", String(decoding: PackageResources.canonical_pipeline, as: UTF8.self))]
  + Recipe.allCases.map { ($0.name, $0.text(calibration: "activations = \($0.rangeMethod)")) }

/// The text of the default pipeline (`passes/pipelines/default.pipeline`) with its choices filled in, from the first pass
/// that a graph of `stage` still needs; a calibrated graph keeps its parameters, so the recipe is left out.
/// - Parameters:
///   - isTrained: batch normalizations stand apart, as training leaves them.
///   - distillation: options of distill; nil: samples are given, or nothing is made in their place.
package func compilePipeline(
  from stage: Stage, isCalibrated: Bool, target: String, assignment: String, recipe: Recipe = .rounding,
  calibration: String, distillation: String? = nil, isTrained: Bool = false
) -> String {
  var passes = splitOutsideBrackets(passText(PackageResources.default_pipeline))
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
  if isCalibrated { passes.removeAll { $0 == "RECIPE" } }
  if isTrained {
    passes.insert("estimate-batch-norm, fold-batch-norm", at: passes.firstIndex(of: "lower-integer") ?? 0)
  }
  return passes.joined(separator: ", ").replacing("RECIPE", with: recipe.text(calibration: calibration))
    .replacing("TARGET", with: target).replacing("ASSIGNMENT", with: assignment)
    .replacing("DISTILLATION", with: distillation ?? "")
}

/// A pipeline file without its comments.
private func passText(_ file: [UInt8]) -> String {
  String(decoding: file, as: UTF8.self).split(separator: "\n").filter { !$0.hasPrefix("#") }
    .joined(separator: "\n")
}

extension Graph {
  /// Whether batch normalizations stand apart from their convolutions, as training leaves them.
  package var hasSeparateBatchNorms: Bool { metadata(batchNormKey) == "separate" }

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
