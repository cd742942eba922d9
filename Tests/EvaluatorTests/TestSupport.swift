import Foundation
import IR
import Support

@testable import Evaluator

/// SplitMix64: small, seeded, the same on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
  mutating func floats(_ count: Int, _ range: ClosedRange<Float> = -2...2) -> [Float] {
    (0..<count).map { _ in Float.random(in: range, using: &self) }
  }
  mutating func tensor(_ shape: [Int], _ range: ClosedRange<Float> = -2...2) -> Tensor {
    Tensor(shape, floats(shape.reduce(1, *), range))
  }
  mutating func bytes(_ count: Int, _ range: ClosedRange<UInt8> = 0...255) -> [UInt8] {
    (0..<count).map { _ in UInt8.random(in: range, using: &self) }
  }
}

extension Graph {
  /// Appends an operation of one result.
  mutating func result(_ op: Op, _ operands: [ValueID], _ name: String) throws -> ValueID {
    let id = try append(op, operands, name: name)
    return self[id].results[0]
  }
}

/// A graph of one operation on `operands`: those whose index is in `constants` as constants, the others as inputs.
func singleOperation(_ op: Op, _ operands: [Tensor], constants: Set<Int> = []) throws -> Graph {
  var graph = Graph()
  let values = operands.enumerated().map { index, tensor in
    let type = TensorType(Shape(tensor.shape), tensor.element)
    guard constants.contains(index) else { return graph.addInput("x\(index)", type) }
    return graph.addConstant(
      Constant(name: "c\(index)", type: type, storage: TensorStorage(copying: tensor.bytes)))
  }
  let id = try graph.append(op, values, name: "y")
  for result in graph[id].results { graph.addOutput(result) }
  return graph
}

/// The results of one operation. Operands of rank 4 also go through the operation channels last, behind a pooling that
/// changes nothing; both ways must agree in every bit.
func evaluate(_ op: Op, _ operands: [Tensor], constants: Set<Int> = []) throws -> [Tensor] {
  let graph = try singleOperation(op, operands, constants: constants)
  let inputs = operands.indices.filter { !constants.contains($0) }.map { operands[$0] }
  let results = try Evaluator(graph, threads: 1).run(inputs)
  if operands.contains(where: { $0.shape.count == 4 && $0.element != .bool }) {
    var reordered = Graph()
    var values: [ValueID] = []
    for (index, tensor) in operands.enumerated() {
      let type = TensorType(Shape(tensor.shape), tensor.element)
      if constants.contains(index) {
        values.append(
          reordered.addConstant(
            Constant(name: "c\(index)", type: type, storage: TensorStorage(copying: tensor.bytes))))
        continue
      }
      var value = reordered.addInput("x\(index)", type)
      if tensor.shape.count == 4, tensor.element != .bool {
        value = try reordered.result(.maxPool(MaxPool()), [value], "p\(index)")
      }
      values.append(value)
    }
    let id = try reordered.append(op, values, name: "y")
    for result in reordered[id].results { reordered.addOutput(result) }
    let others = try Evaluator(reordered, threads: 1).run(inputs)
    for (a, b) in zip(results, others) where a.bytes != b.bytes {
      let difference = zip(a.floats, b.floats).map { abs($0 - $1) }.max() ?? 0
      guard difference < 1e-5 else {
        throw Disagreement(description: "\(op.mnemonic) depends on the memory order")
      }
    }
  }
  return results
}

struct Disagreement: Error, CustomStringConvertible { let description: String }

/// The largest difference, relative to the largest magnitude expected.
func relativeError(_ actual: [Float], _ expected: [Float]) -> Float {
  guard actual.count == expected.count else { return .infinity }
  let magnitude = expected.map(\.magnitude).max() ?? 0
  let difference = zip(actual, expected).map { ($0 - $1).magnitude }.max() ?? 0
  return difference / max(magnitude, 1e-6)
}

/// All index vectors of a shape, row-major.
func indices(_ shape: [Int]) -> [[Int]] {
  shape.reduce([[]]) { prefixes, extent in prefixes.flatMap { prefix in (0..<extent).map { prefix + [$0] } } }
}
/// The row-major position of an index vector.
func position(_ index: [Int], _ shape: [Int]) -> Int { zip(index, shape).reduce(0) { $0 * $1.1 + $1.0 } }

/// The folder of real models and data: `$QCC_DATA`, or `../shared/data` beside the package.
let sharedData: String? = {
  let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  let candidates = [ProcessInfo.processInfo.environment["QCC_DATA"], package.path + "/../shared/data"]
    .compactMap { $0 }
  let found = candidates.first { FileManager.default.fileExists(atPath: $0 + "/models") }
  if found == nil { print("skipped: tests on real models, since there is no shared/data (set QCC_DATA)") }
  return found
}()
