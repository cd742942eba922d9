// Measures what the runtime does besides convolutions: operations on shapes of real networks, loading, threads.
//
//     swift run -c release qcc-runtime-bench [--cpu NAME] [filter…]     operations, by part of kind or name
//     swift run -c release qcc-runtime-bench PROGRAM.qpk…               loading, threads and batches of programs
import KernelInterface
import Program
import Runtime

var arguments = Array(CommandLine.arguments.dropFirst())
var features = CPUFeatures.host
if let option = arguments.firstIndex(of: "--cpu"), option + 1 < arguments.count {
  guard let chosen = CPUFeatures(name: arguments[option + 1].utf8) else {
    fatalError("--cpu knows no such name")
  }
  features = chosen.intersection(.host)
  arguments.removeSubrange(option...option + 1)
}
let paths = arguments.filter { $0.hasSuffix(".qpk") }
if paths.isEmpty {
  let lines = try operationReport(features) { name in
    arguments.isEmpty || arguments.contains { name.contains($0) }
  }
  print(lines.joined(separator: "\n"))
} else {
  for path in paths { print(try programReport(path).joined(separator: "\n")) }
}
