import Foundation
import IR
import Importer
import PassKit
import Passes

/// The passes that turn an imported graph into a canonical one, in the order of the default pipeline.
let canonicalPasses = [
  foldConstants, canonicalize, generalizeBatch, foldBatchNorm, convolveAffine, canonicalize, fuseActivations,
  eliminateDeadCode,
]

/// The graph behind `passes`, and what they counted.
func run(_ passes: [Pass], on graph: Graph) throws -> (graph: Graph, statistics: [String]) {
  var graph = graph, statistics: [String] = [], context = PassContext()
  for pass in passes {
    var rewriter = Rewriter(graph)
    try pass.run(&rewriter, &context, [])
    graph = rewriter.graph
    if let stage = pass.produces { graph.stage = stage }
    statistics += rewriter.statistics.map { "\(pass.name): \($0.name) \($0.count)" }
  }
  return (graph, statistics)
}

/// How often each operation occurs, in alphabetical order: `add 9, conv2d 19`.
func census(_ graph: Graph) -> String {
  var counts: [String: Int] = [:]
  for op in graph.order { counts[graph[op].op.mnemonic, default: 0] += 1 }
  return counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
}

/// Where the real models lie: `$QCC_DATA` or `../shared/data` beside the package; nil when absent.
let modelFolder: String? = {
  let package = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  let candidates: [String?] = [
    ProcessInfo.processInfo.environment["QCC_DATA"],
    package.appending(path: "../shared/data").standardized.path,
  ]
  for case let folder? in candidates
  where FileManager.default.fileExists(atPath: folder + "/models/resnet20.onnx") {
    return folder + "/models"
  }
  print(
    "skipped: tests of real models, since neither $QCC_DATA nor ../shared/data holds models/resnet20.onnx")
  return nil
}()
