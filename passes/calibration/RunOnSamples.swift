import Evaluator
import IR
import PassKit
import Support
import Synchronization

/// Runs the network on a range of the samples under an observer, loading chunk by chunk; `phase` names the work in
/// progress messages, of `total` samples. The observer counts samples from the first of the range.
func runOnSamples(
  _ evaluator: Evaluator, _ graph: Graph, _ data: any CalibrationData, _ samples: Range<Int>, of total: Int,
  _ phase: String, _ context: PassContext, _ observe: @escaping Evaluator.Observer
) throws {
  guard graph.inputs.count == 1, let input = graph.inputs.first, graph[input].type.element == .f32 else {
    throw CompilerError("calibration needs a network with one f32 input; this one has \(graph.inputs.count)")
  }
  let shape = graph[input].type.shape.extents.dropFirst().compactMap(\.value), expected = shape.reduce(1, *)
  let done = Atomic(0), progress = context.progress
  try evaluator.observe(
    sampleCount: samples.count,
    inputs: { range throws(CompilerError) in
      var values: [Float] = []
      values.reserveCapacity(range.count * expected)
      for index in range.lowerBound + samples.lowerBound..<range.upperBound + samples.lowerBound {
        let sample: [Float]
        do { sample = try data.sample(index) } catch let error as CompilerError { throw error } catch {
          throw CompilerError("calibration sample \(index): \(error)", status: .malformedInput)
        }
        guard sample.count == expected else {
          throw CompilerError(
            "calibration sample \(index) has \(sample.count) values, the input takes \(shape)")
        }
        values += sample
      }
      let finished = done.wrappingAdd(range.count, ordering: .relaxed).newValue
      progress(phase, samples.lowerBound + finished, total)
      return [Tensor([range.count] + shape, values)]
    }, concurrently: observe)
}
