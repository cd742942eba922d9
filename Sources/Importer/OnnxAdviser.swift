import COnnxCheck
import Glibc
import Support

/// Whether libonnx's checker is asked for its opinion.
package enum OnnxCheck: String, CaseIterable, Sendable {
  /// Where it knows the model's versions; objections are warnings.
  case auto
  /// Always; what keeps it from judging is a warning too.
  case on
  case off
}

/// libonnx's checker as an adviser, never as a gate: it knows no operator set and no IR version that came after it,
/// and objects to some models that run everywhere.
enum OnnxAdviser {
  static func opinions(
    on model: OnnxModel, _ bytes: UnsafeRawBufferPointer, mode: OnnxCheck, location: String
  ) -> [Diagnostic] {
    switch mode {
    case .off: return []
    case .auto: guard obstacle(model) == nil else { return [] }
    case .on:
      if let obstacle = obstacle(model) {
        return [.warning("libonnx cannot check this model: \(obstacle)", at: location)]
      }
    }
    var text: UnsafeMutablePointer<CChar>?
    let result = onnx_check_model(bytes.baseAddress, bytes.count, &text)
    defer { free(text) }
    let message = text.map { String(cString: $0) } ?? "no reason given"
    switch result {
    case ONNX_CHECK_OK: return []
    case ONNX_CHECK_OBJECTION:
      let lines = message.split(separator: "\n").map(String.init)
      return [
        .warning("libonnx objects: \(lines.first ?? message)", at: location, notes: Array(lines.dropFirst()))
      ]
    default: return [.warning("libonnx could not check the model: \(message)", at: location)]
    }
  }

  /// Why libonnx's answer would mean nothing.
  private static func obstacle(_ model: OnnxModel) -> String? {
    let newestOpset = Int(onnx_check_newest_opset()), newestIR = Int(onnx_check_newest_ir_version())
    if model.irVersion > newestIR { return "IR version \(model.irVersion) is newer than its \(newestIR)" }
    for set in model.operatorSets where set.domain.isEmpty && set.version > newestOpset {
      return "operator set \(set.version) is newer than its \(newestOpset)"
    }
    if let set = model.operatorSets.first(where: { !$0.domain.isEmpty && $0.domain != "ai.onnx.ml" }) {
      return "it does not know the domain '\(set.domain)'"
    }
    return model.hasExternalData ? "it has external data" : nil
  }
}
