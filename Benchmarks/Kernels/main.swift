// Measures every kernel of the list on layers of real networks and compares it with the ceiling of its
// instructions, measured in the same process and in turns with the kernels:
//
//     swift run -c release qcc-kernel-bench [--json] [--runs N] [name filter…]
import KernelInterface
import Runtime

var json = false
var runs = 60
var filters: [String] = []
var expectsRuns = false
for argument in CommandLine.arguments.dropFirst() {
  if expectsRuns {
    guard let number = Int(argument), number > 0 else { fatalError("--runs needs a positive number") }
    runs = number
    expectsRuns = false
  } else if argument == "--json" {
    json = true
  } else if argument == "--runs" {
    expectsRuns = true
  } else {
    filters.append(argument)
  }
}

let report = measureAll(runs: runs) { name in filters.isEmpty || filters.contains { name.contains($0) } }
print(json ? report.json : report.text)
