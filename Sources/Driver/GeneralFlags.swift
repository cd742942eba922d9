import ArgumentParser
import Glibc
import IR
import Importer

/// Flags that every command with real work takes.
struct GeneralFlags: ParsableArguments {
  @Option(help: "Worker threads; results do not depend on them. 0: one per processor (of a rank's share).")
  var threads: Int = 0
  @Flag(name: .shortAndLong, help: "Print errors only.") var quiet = false
  @Option(name: .customLong("onnx-check"), help: "libonnx's opinion of the model: auto, on or off.")
  var onnxCheck: OnnxCheck = .auto
  @Option(
    name: .customLong("input-shape"),
    help: ArgumentHelp(
      "The shape of an ONNX input whose sizes are open: 'x=[N, 3, 224, 224]'.", valueName: "name=shape"))
  var inputShapes: [InputShape] = []

  func validate() throws {
    if threads < 0 || threads > 1024 { throw ValidationError("--threads must be 0 to 1024") }
  }
  func apply() { Console.setQuiet(quiet || !Ranks.isFirst) }
  var threadCount: Int { threads > 0 ? threads : Ranks.processorCount }
}

extension OnnxCheck: ExpressibleByArgument {}

/// An environment variable's value; nil when it is unset or empty.
func environment(_ name: String) -> String? {
  guard let value = getenv(name), value[0] != 0 else { return nil }
  return String(cString: value)
}
