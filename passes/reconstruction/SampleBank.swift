import Evaluator
import IR
import PassKit
import Support
import Training

/// One value's tensor for all samples, row-major.
struct SampleBank: Sendable {
  /// Of one sample.
  let shape: [Int]
  let floats: [Float]
  /// Whether every sample is followed by its mirror image, left and right exchanged; not stored.
  private var hasMirrors = false
  private var stored: Int { floats.count / max(shape.reduce(1, *), 1) }
  var count: Int { hasMirrors ? 2 * stored : stored }

  /// The network's inputs, loaded once.
  init(_ data: any CalibrationData, _ graph: Graph, samples: Int) throws {
    shape = graph[graph.inputs[0]].type.shape.extents.dropFirst().compactMap(\.value)
    let length = shape.reduce(1, *)
    var floats: [Float] = []
    floats.reserveCapacity(samples * length)
    for index in 0..<samples {
      let sample = try data.sample(index)
      guard sample.count == length else {
        throw CompilerError(
          "calibration sample \(index) has \(sample.count) values, the input takes \(shape)")
      }
      floats += sample
    }
    self.floats = floats
  }

  /// What a plan makes of every sample.
  init(
    _ plan: GradientPlan, _ inputs: SampleBank, overriding values: [ValueID: Tensor]
  ) throws(CompilerError) {
    var floats: [Float] = [], shape: [Int] = []
    for first in stride(from: 0, to: inputs.count, by: 64) {
      let range = first..<min(first + 64, inputs.count)
      let outputs = try plan.outputs([inputs.batch(Array(range))], overriding: values)
      shape = Array(outputs[0].shape.dropFirst())
      if floats.isEmpty { floats.reserveCapacity(inputs.count * shape.reduce(1, *)) }
      floats += outputs[0].floats
    }
    self.shape = shape
    self.floats = floats
  }

  private init(shape: [Int], floats: [Float]) {
    self.shape = shape
    self.floats = floats
  }
  /// - Requires: no mirror images.
  func first(_ samples: Int) -> SampleBank {
    samples < count
      ? SampleBank(shape: shape, floats: Array(floats.prefix(samples * shape.reduce(1, *)))) : self
  }

  /// The same with mirror images, of images [channels, height, width]; of anything else as it is.
  var withMirrors: SampleBank {
    var result = self
    result.hasMirrors = shape.count == 3 && shape[2] > 1
    return result
  }

  func batch(_ samples: [Int]) -> Tensor {
    let length = shape.reduce(1, *)
    var values: [Float] = []
    values.reserveCapacity(samples.count * length)
    for sample in samples {
      let index = hasMirrors ? sample / 2 : sample, part = floats[index * length..<(index + 1) * length]
      guard hasMirrors, sample % 2 == 1 else {
        values += part
        continue
      }
      for row in stride(from: part.startIndex, to: part.endIndex, by: shape[2]) {
        values += part[row..<row + shape[2]].reversed()
      }
    }
    return Tensor([samples.count] + shape, values)
  }
}
