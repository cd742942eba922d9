// Times a training step of networks: the loss and the gradients of all weights and scales.
//
//     swift run -c release qcc-training-bench MODEL… [--batch 64] [--shard 32] [--threads 2] [--runs 20]
import Evaluator
import Foundation
import IR
import Importer
import Support
import Training

var paths: [String] = []
var options = ["--batch": 64, "--shard": 32, "--threads": 2, "--runs": 20]
var arguments = CommandLine.arguments.dropFirst().makeIterator()
while let argument = arguments.next() {
  if options[argument] != nil, let value = arguments.next().flatMap({ Int($0) }), value > 0 {
    options[argument] = value
  } else if argument.hasSuffix(".onnx") || argument.hasSuffix(".qir") {
    paths.append(argument)
  } else {
    fatalError("usage: qcc-training-bench MODEL… [--batch N] [--shard N] [--threads N] [--runs N]")
  }
}
for path in paths {
  let report = try stepReport(
    path: path, batch: options["--batch"] ?? 64, shard: options["--shard"] ?? 32,
    threads: options["--threads"] ?? 2, runs: options["--runs"] ?? 20)
  print(report)
}
