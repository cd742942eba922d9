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
  var count: Int { floats.count / max(shape.reduce(1, *), 1) }

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
  func first(_ samples: Int) -> SampleBank {
    samples < count
      ? SampleBank(shape: shape, floats: Array(floats.prefix(samples * shape.reduce(1, *)))) : self
  }

  func batch(_ samples: [Int]) -> Tensor {
    let length = shape.reduce(1, *)
    var values: [Float] = []
    values.reserveCapacity(samples.count * length)
    for sample in samples { values += floats[sample * length..<(sample + 1) * length] }
    return Tensor([samples.count] + shape, values)
  }
}
