import Evaluator
import IR
import PassKit
import Support

/// Means and second moments of what one layer reads, for every group of its channels: all that least squares needs to
/// know of the calibration samples. Rows are inputs as the weights meet them (`LayerGeometry.gather`).
struct InputMoments: Sendable {
  /// Per group, in the float network and behind the layers that are rounded already.
  var floatMeans: [[Double]]
  var seenMeans: [[Double]]
  /// Σ (x̂ - E x̂)ᵀ (x̂ - E x̂) per group, rowLength x rowLength.
  var second: [[Float]]
  /// Σ (x - E x)ᵀ (x̂ - E x̂) per group; empty where both are the same.
  var cross: [[Float]]
}

/// Sums of one layer's rows. Rows are taken relative to the first block's means, so that little cancels at the end.
private final class MomentSums: @unchecked Sendable {  // one thread at a time
  let geometry: LayerGeometry
  private let length: Int
  private let stride: Int
  private var count = 0
  private var pivots: (float: [Float], seen: [Float]) = ([], [])
  private var sums: (float: [Double], seen: [Double])
  private var second: [[Float]]
  private var cross: [[Float]]
  private let differ: Bool

  init(_ geometry: LayerGeometry, differ: Bool) {
    self.geometry = geometry
    self.differ = differ
    length = geometry.rowLength
    stride = length * geometry.groups
    sums = (Array(repeating: 0, count: stride), Array(repeating: 0, count: differ ? stride : 0))
    second = Array(repeating: Array(repeating: 0, count: length * length), count: geometry.groups)
    cross = differ ? second : []
  }

  /// Adds a block of rows, which it changes; `seen` are the same rows behind rounded layers.
  func add(
    _ float: UnsafeMutablePointer<Float>, _ seen: UnsafeMutablePointer<Float>?, rows: Int
  ) throws(CompilerError) {
    if count == 0 {
      pivots.float = means(float, rows)
      if let seen { pivots.seen = means(seen, rows) }
    }
    count += rows
    shift(float, rows, pivots.float, &sums.float)
    if let seen { shift(seen, rows, pivots.seen, &sums.seen) }
    let input = seen ?? float
    for group in 0..<geometry.groups {
      let first = group * length
      try add(input + first, input + first, rows, to: &second[group])
      if differ { try add(float + first, input + first, rows, to: &cross[group]) }
    }
  }

  private func add(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ rows: Int, to sum: inout [Float]
  ) throws(CompilerError) {
    let columns = length, stride = stride
    try sum.withUnsafeMutableBufferPointer { buffer throws(CompilerError) in
      guard let sum = buffer.baseAddress else { return }
      try addTransposedProduct(a, b, rows: rows, columns: columns, stride: stride, to: sum)
    }
  }

  private func means(_ x: UnsafePointer<Float>, _ rows: Int) -> [Float] {
    (0..<stride).map { column in
      (0..<rows).reduce(Float(0)) { $0 + x[$1 * stride + column] } / Float(max(rows, 1))
    }
  }

  private func shift(_ x: UnsafeMutablePointer<Float>, _ rows: Int, _ pivot: [Float], _ sums: inout [Double])
  {
    for row in 0..<rows {
      for column in 0..<stride {
        x[row * stride + column] -= pivot[column]
        sums[column] += Double(x[row * stride + column])
      }
    }
  }

  func finish() -> InputMoments {
    let n = Double(max(count, 1))
    func parts(_ values: [Double]) -> [[Double]] {
      (0..<geometry.groups).map { Array(values[$0 * length..<($0 + 1) * length]) }
    }
    let float = parts(sums.float), seen = differ ? parts(sums.seen) : float
    func centered(_ sum: [Float], _ a: [Double], _ b: [Double]) -> [Float] {
      var result = sum
      for row in 0..<length {
        let factor = a[row] / n
        for column in 0..<length {
          result[row * length + column] = Float(Double(sum[row * length + column]) - factor * b[column])
        }
      }
      return result
    }
    func means(_ sums: [Double], _ pivot: [Float]) -> [[Double]] {
      parts(zip(sums, pivot).map { $0 / n + Double($1) })
    }
    let floatMeans = means(sums.float, pivots.float)
    return InputMoments(
      floatMeans: floatMeans, seenMeans: differ ? means(sums.seen, pivots.seen) : floatMeans,
      second: second.indices.map { centered(second[$0], seen[$0], seen[$0]) },
      cross: cross.indices.map { centered(cross[$0], float[$0], seen[$0]) })
  }
}

/// So many samples at a time that their rows take about 64 MiB. Part of the result: sums of other blocks round differently.
private func blockSize(_ layers: [LayerGeometry], _ perSample: [Int]) -> Int {
  let bytes = zip(layers, perSample).reduce(0) { $0 + 4 * $1.0.rowLength * $1.0.groups * $1.1 }
  return min(max((64 << 20) / max(bytes, 1), 4), 64)
}

/// The moments of every layer's inputs over the first `samples` calibration samples: about `rowsWanted` rows of each
/// layer, positions spread evenly and shifted from sample to sample. Memory does not grow with the number of samples,
/// and the result does not depend on the number of threads.
/// - Parameter rounded: the network behind whose rounded layers inputs are seen; nil: none is rounded.
func inputMoments(
  _ layers: [LayerGeometry], float: Graph, rounded: Graph?, _ data: any CalibrationData, samples: Int,
  rowsWanted: Int, _ context: PassContext
) throws -> [InputMoments] {
  let count = min(samples, data.count)
  let perSample = layers.map { max(min((rowsWanted + count - 1) / count, $0.positions), 1) }
  let blockSamples = blockSize(layers, perSample)
  let sums = layers.map { MomentSums($0, differ: rounded != nil) }
  let floatRows = RowGatherer(layers, perSample, float, blockSamples)
  let seenRows = rounded.map { RowGatherer(layers, perSample, $0, blockSamples) }
  let evaluators = try [float, rounded].compactMap { $0 }.map {
    try Evaluator($0, mode: .float, threads: context.threads)
  }
  for first in stride(from: 0, to: count, by: blockSamples) {
    let block = first..<min(first + blockSamples, count)
    for (gatherer, evaluator) in zip([floatRows, seenRows].compactMap { $0 }, evaluators) {
      try runOnSamples(
        evaluator, evaluator.graph, data, block, of: count, "gathering layer inputs", context
      ) { gatherer.gather($0, firstSample: block.lowerBound) }
    }
    let failures = parallelMap(Array(layers.indices), threads: context.threads) { index in
      Result<Void, CompilerError> { () throws(CompilerError) in
        try sums[index].add(
          floatRows.rows[index], seenRows?.rows[index], rows: block.count * perSample[index])
      }
    }
    for result in failures { try result.get() }
  }
  return parallelMap(sums, threads: context.threads) { $0.finish() }
}

/// Rows of all layers' inputs for one block of samples.
private final class RowGatherer: @unchecked Sendable {  // every sample writes rows of its own
  let rows: [UnsafeMutablePointer<Float>]
  private let layers: [LayerGeometry]
  private let perSample: [Int]
  private let lengths: [Int]
  /// By value: the layers that read it.
  private let readers: [[Int]]

  init(_ layers: [LayerGeometry], _ perSample: [Int], _ graph: Graph, _ blockSamples: Int) {
    self.layers = layers
    self.perSample = perSample
    lengths = layers.map { $0.rowLength * $0.groups }
    rows = zip(lengths, perSample).map { .allocate(capacity: max(blockSamples * $0 * $1, 1)) }
    var readers = [[Int]](repeating: [], count: graph.values.count)
    for (index, layer) in layers.enumerated() { readers[layer.input.index].append(index) }
    self.readers = readers
  }
  deinit { for block in rows { block.deallocate() } }

  /// - Parameter firstSample: the number of the block's first sample.
  func gather(_ observation: Evaluator.Observation, firstSample: Int) {
    let interested = readers[observation.value.index]
    guard !interested.isEmpty else { return }
    observation.tensor.withFloats { floats in
      guard let base = floats.baseAddress, !observation.samples.isEmpty else { return }
      let stride = floats.count / observation.samples.count
      for (offset, sample) in observation.samples.enumerated() {
        for index in interested {
          let layer = layers[index], step = max(layer.positions / perSample[index], 1)
          for row in 0..<perSample[index] {
            let position = (row * step + (firstSample + sample) * 7919) % layer.positions
            layer.gather(
              base + offset * stride, position,
              into: rows[index] + (sample * perSample[index] + row) * lengths[index])
          }
        }
      }
    }
  }
}
