import Evaluator
import IR
import KernelInterface
import Program
import Runtime
import Support

/// A model of any stage as a function from input samples to output rows: programs by the interpreter, graphs by the
/// evaluator.
final class Predictor {
  private enum Engine {
    case evaluator(Evaluator)
    case interpreter(Interpreter)
  }
  private let engine: Engine
  /// Extents of the input; nil for the batch.
  let inputShape: [Int?]
  /// Extents of the first output without the batch, as far as they are known.
  private let outputShape: [Int?]
  /// The preprocessing that a program brings along.
  let preprocessing: String?

  /// - Parameters:
  ///   - mode: how graphs with quantizers are evaluated.
  ///   - features: what the interpreter may use.
  ///   - tuning: which kernels it prefers.
  init(
    _ model: LoadedModel, mode: Evaluator.Mode, features: CPUFeatures, threads: Int,
    tuning: (Program, CPUFeatures) -> Tuning = { _, _ in .none }
  ) throws(CompilerError) {
    switch model {
    case .graph(let graph):
      guard graph.inputs.count == 1, let input = graph.inputs.first, graph[input].type.element == .f32,
        graph.outputs.count >= 1
      else {
        throw CompilerError(
          "models with one f32 input can be run on data; this one has \(graph.inputs.count) inputs")
      }
      inputShape = graph[input].type.shape.extents.map(\.value)
      outputShape = graph[graph.outputs[0]].type.shape.extents.dropFirst().map(\.value)
      preprocessing = nil
      engine = .evaluator(try Evaluator(graph, mode: mode, threads: threads))
    case .program(let program):
      guard program.inputs.count == 1 else {
        throw CompilerError(
          "programs with one input can be run on data; this one has \(program.inputs.count)")
      }
      inputShape = [nil] + program.tensors[program.inputs[0]].shape.map { Optional($0) }
      outputShape = program.outputs.first.map { program.tensors[$0].shape.map { Optional($0) } } ?? []
      preprocessing = Metadata(json: program.metadata)?["preprocessing"]
      engine = .interpreter(
        Interpreter(
          program, features: features, threads: threads, tuning: tuning(program, features)))
    }
  }

  /// The elements of one input sample.
  var sampleCount: Int { inputShape.dropFirst().compactMap { $0 }.reduce(1, *) }

  /// The shape of a row of `predict`, which has `count` elements.
  func rowShape(_ count: Int) -> [Int] {
    let known = outputShape.compactMap { $0 }
    return known.count == outputShape.count && known.reduce(1, *) == count ? known : [count]
  }

  /// The first output's row for every sample.
  func predict(_ samples: [[Float]]) throws(CompilerError) -> [[Float]] {
    guard !samples.isEmpty else { return [] }
    for sample in samples where sample.count != sampleCount {
      throw CompilerError(
        "a sample has \(sample.count) values; the network takes \(inputShape.dropFirst().compactMap { $0 })")
    }
    let joined = Array(samples.joined()), values: [Float]
    switch engine {
    case .interpreter(let interpreter):
      do { values = try interpreter.run([joined], samples: samples.count)[0] } catch {
        throw CompilerError("\(error)")
      }
    case .evaluator(let evaluator):
      // A fixed batch takes that many samples at once; the evaluator splits multiples of it.
      if let batch = inputShape[0], samples.count % batch != 0 {
        throw CompilerError(
          "the network takes batches of \(batch); \(samples.count) samples are no multiple of it")
      }
      values = try evaluator.run([Tensor([samples.count] + inputShape.dropFirst().compactMap { $0 }, joined)]
      )[0].floats
    }
    let width = values.count / samples.count
    return samples.indices.map { Array(values[$0 * width..<($0 + 1) * width]) }
  }
}
