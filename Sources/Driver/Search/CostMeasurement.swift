import KernelInterface
import Passes
import Program
import Runtime
import Support

/// A cost table of one network's own layers, timed on this processor as `qcc kernels --shape … --time` does.
struct CostMeasurement {
  private var shapes: [(shape: String, times: [(kind: String, nanoseconds: Double)])] = []

  init(_ layers: [SearchLayer], bits: [Int], runs: Int = 50) throws {
    let features = try chosenFeatures(nil)
    var seen: Set<String> = []
    for (index, layer) in layers.enumerated() {
      Console.progress("timing layers", index + 1, layers.count)
      guard seen.insert(layer.shape).inserted else { continue }
      var times: [(kind: String, nanoseconds: Double)] = []
      for width in [8, 4, 2, 1] where width == 8 || bits.contains(where: { $0 <= width }) {
        let kind = CostTable.name(of: layer.kind(weightBits: width, activationBits: width <= 2 ? 1 : 8))
        let suffix = kind == "ternary" ? "ternary" : "\(width)"
        guard !times.contains(where: { $0.kind == kind }) else { continue }
        let program = try LayerShape("\(layer.shape),bits=\(suffix)").program()
        let interpreter = Interpreter(program, features: features)
        let profile = try Profile(interpreter, benchInputs(interpreter))
        profile.run(runs)
        times.append((kind, Double(profile.timings[LayerShape.instruction].nanoseconds)))
      }
      shapes.append((layer.shape, times))
    }
  }

  var yaml: String {
    var lines = [
      "# Nanoseconds of single layers on one core, the least of 50 runs: `qcc search --measure-costs`.",
      "name: measured", "activations: bytes", "shapes:",
    ]
    for (shape, times) in shapes {
      let entries = times.map { "\($0.kind): \(fixed($0.nanoseconds, 0))" }
      lines.append("  \"\(shape)\": {\(entries.joined(separator: ", "))}")
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
